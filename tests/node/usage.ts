// What an application writes with the generated types. codegen.test.mjs compiles it beside them: as it stands it
// must compile, and each claim must stop compiling when the nullability of the field that it names is turned round.
import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import {
  ConversationDocument,
  LookupsDocument,
  SendDocument,
  SentDocument,
  StartDocument,
  type MessagePartsFragment,
  type SentSubscription,
} from './operations.js';
import type * as Schema from './schema.js';

declare function ask<Result, Variables>(document: TypedDocumentNode<Result, Variables>, variables: Variables): Promise<Result>;

type Same<Left, Right> =
  (<T>() => T extends Left ? 1 : 2) extends (<T>() => T extends Right ? 1 : 2) ? true : false;
declare function claim<_Field extends string, _Holds extends true>(): void;

export function typesOfTheOperations() {
  claim<'Message.readAt', Same<MessagePartsFragment['readAt'], string | null>>();
  claim<'Message.sentAt', Same<MessagePartsFragment['sentAt'], string>>();
  claim<'Message.sequence', Same<MessagePartsFragment['sequence'], number>>();
  claim<'Message.clientMessageId', Same<MessagePartsFragment['clientMessageId'], string | null>>();
  claim<'Message.sender', Same<MessagePartsFragment['sender'], { id: string; username: string }>>();
  claim<'Subscription.messageSent', Same<Extract<SentSubscription['messageSent'], null>, never>>();
  claim<'MessageSent.cursor', Same<NonNullable<SentSubscription['messageSent']>['cursor'], string>>();
}

export function typesOfTheSchema() {
  claim<'Query.viewer', Same<Schema.Query['viewer'], Schema.Maybe<Schema.User> | undefined>>();
  claim<'Query.errorCodes', Same<Schema.Query['errorCodes'], Schema.Maybe<Array<Schema.ErrorCode>> | undefined>>();
  claim<'Query.signalCursor', Same<Schema.Query['signalCursor'], string | null | undefined>>();
  claim<'Mutation.sendMessage', Same<Schema.Mutation['sendMessage'], Schema.Maybe<Schema.SendMessagePayload> | undefined>>();
  claim<'MessageConnection.nodes', Same<Schema.MessageConnection['nodes'], Array<Schema.Message>>>();
  claim<'MessageConnection.conversationPartner', Same<Extract<Schema.MessageConnection['conversationPartner'], null>, null>>();
  claim<'PageInfo.endCursor', Same<Schema.PageInfo['endCursor'], string | null | undefined>>();
  claim<'SendMessageInput.content', Same<Schema.SendMessageInput['content'], string>>();
  claim<'SendMessageInput.clientMessageId', Same<Schema.SendMessageInput['clientMessageId'], string | null | undefined>>();
  claim<'ReadConversationInput.upTo', Same<Extract<Schema.ReadConversationInput['upTo'], undefined>, undefined>>();
}

export async function start(): Promise<string> {
  const { viewer, inbox, conversationPartners } = await ask(StartDocument, {});
  // @ts-expect-error: a root field is null when it failed
  viewer.username;
  const names = conversationPartners?.nodes.length ?? 0;
  return `${viewer?.username ?? 'nobody'}: ${inbox?.unreadCount ?? 0} unread, ${names} partners`;
}

export async function pages(partnerId: string): Promise<string[]> {
  const lines: string[] = [];
  let after: string | null = null;
  do {
    const { conversation }: { conversation: Page | null } = await ask(ConversationDocument, { partnerId, after });
    for (const { node } of conversation?.edges ?? []) {
      lines.push(`${node.sentAt} ${node.formatted}`);
      // @ts-expect-error: an unread message has no readAt
      node.readAt.slice(0, 10);
    }
    after = conversation?.pageInfo.hasNextPage ? conversation.pageInfo.endCursor : null;
  } while (after);
  return lines;
}

type Page = {
  edges: { node: MessagePartsFragment }[];
  pageInfo: { hasNextPage: boolean; endCursor: string | null };
};

export async function send(recipientId: string, content: string): Promise<number> {
  // @ts-expect-error: a message needs content
  await ask(SendDocument, { input: { recipientId } });
  const { sendMessage } = await ask(SendDocument, { input: { recipientId, content } });
  return sendMessage?.conversationPartner.lastMessage.sequence ?? 0;
}

export async function contentOf(id: string): Promise<string | undefined> {
  const { node } = await ask(LookupsDocument, { id });
  return node?.__typename === 'Message' ? node.content : undefined;
}

export async function firstSignal(after: string): Promise<string> {
  const { messageSent } = await ask(SentDocument, { after });
  return messageSent.sender.username;
}
