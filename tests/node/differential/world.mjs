// The people and messages that the documents ask for. Whatever a document does as ann changes nothing of it: the messages
// of eve, the only unread ones, cannot be named, and everything else is read already. Set up twice, it is the same world.
import { someone } from '../support.mjs';

export const KNOWN_KEY = 'key-of-a-message-to-ben';
const KNOWN_CONTENT = 'Hello "Ben" \\ \u{1F44B}';
const NOBODY = 'nobody-has-this-id';

export async function world() {
  const [ann, ben, eve, stranger] = await Promise.all(
    ['ann', 'ben', 'eve', 'stranger'].map((username) => someone(username, `the-differential-${username}`)),
  );
  const toBen = await send(ann, ben, KNOWN_KEY, KNOWN_CONTENT);
  const toAnn = await send(ben, ann, '1', 'Grüße,\n\tAnn\u2028');
  await send(ann, ben, '2', 'How are you?');
  const second = await send(ben, ann, '3', '{"not": "json"}');
  await send(eve, ann, '4', 'not read');
  await send(eve, ann, '5', 'not read either');
  await ann.ask(`mutation { readConversation(input: { partnerId: "${ben.id}" }) { readCount } }`);

  const { inbox, conversationPartner, conversation, conversationPartners, unreadMessages, signalCursor } = await ann.ask(
    `query ($ben: ID!) {
      inbox { id unreadCount }
      conversationPartner(partnerId: $ben) { id unreadCount }
      conversation(partnerId: $ben, limit: 2) { pageInfo { endCursor } }
      conversationPartners(first: 1) { pageInfo { endCursor } }
      unreadMessages(first: 1) { pageInfo { endCursor } }
      signalCursor
    }`,
    { ben: ben.id },
  );
  if (inbox.unreadCount !== 2 || conversationPartner.unreadCount !== 0) throw new Error('the world is not as it should be');

  const users = [ben.id, stranger.id, ann.id, NOBODY, '', 7];
  const messages = [toBen, toAnn, second, NOBODY, ''];
  const pages = [conversation, conversationPartners, unreadMessages];
  return {
    token: ann.token,
    /** To whom the message with the known key went. */
    ben: ben.id,
    /** Whom a message would reach. */
    reachable: new Set([ben.id, stranger.id]),
    pools: {
      users,
      messages,
      nodes: [...users, ...messages, inbox.id, conversationPartner.id],
      cursors: [...pages.map(({ pageInfo }) => pageInfo.endCursor), signalCursor, 'broken', ''],
      pageSizes: [1, 2, 3, 1, 2, 3, 5, 10, 0, -1, 101],
      texts: [KNOWN_CONTENT, 'Hi', '', ' \n', 'Zoë \u{1F3C3}', 'a "quoted" \\ text\u0007', '  two\n    lines\n', '"""'],
      keys: [KNOWN_KEY, 'another-key', '', 'ü'],
      types: ['User', 'Node', 'ErrorCode', 'SendMessageInput', 'Int', 'Nothing', ''],
    },
  };
}

async function send(sender, recipient, clientMessageId, content) {
  const data = await sender.ask(
    'mutation ($input: SendMessageInput!) { sendMessage(input: $input) { message { id } } }',
    { input: { recipientId: recipient.id, content, clientMessageId } },
  );
  return data.sendMessage.message.id;
}

/** Which of the world's values fit an argument or an input field. */
export function pool(pools, owner, key) {
  switch (key) {
    case 'partnerId':
    case 'recipientId':
      return pools.users;
    case 'upTo':
      return pools.messages;
    case 'id':
      return { node: pools.nodes, user: pools.users, UserInput: pools.users }[owner] ?? pools.messages;
    case 'after':
      return pools.cursors;
    case 'first':
    case 'limit':
      return pools.pageSizes;
    case 'clientMessageId':
      return pools.keys;
    case 'name':
      return pools.types;
    default:
      return pools.texts;
  }
}
