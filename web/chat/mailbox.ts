// What a client knows of one user's messages, and how it changes. Everything here is pure: the same events give the same mailbox,
// in whatever order the two subscriptions and the answers to queries arrive.
import type { MessagePartsFragment, PartnerPartsFragment, StartQuery } from "./operations.ts";

export type Message = MessagePartsFragment;

/** A count, and the cursor with which it came. Two subscriptions have no order between them, so the greatest cursor's count stands. */
interface Count {
  count: number;
  cursor: string;
}

export interface Partner {
  id: string;
  name: string;
  lastMessage: Message;
}

export interface Conversation {
  /** By sequence number. Holds what events told, too, of messages that no page has shown yet. */
  messages: ReadonlyMap<number, Message>;
  /** From here on, all messages are there; those before are not shown. Infinity until the first page has come. */
  from: number;
  /** Where older messages go on; null where there are none. */
  older: string | null;
}

export interface Mailbox {
  unread: Count;
  /** The latest first. */
  partners: readonly Partner[];
  /** How much of each partner's is unread, as far as it is known: of those, too, who are not listed yet. */
  counts: ReadonlyMap<string, Count>;
  /** Where further partners go on; null where there are none. */
  morePartners: string | null;
  conversations: ReadonlyMap<string, Conversation>;
}

/** The lists, as `Start` brought them; nothing is known of any conversation's messages. */
export function started(data: StartQuery): Mailbox {
  const cursor = data.signalCursor ?? "";
  const partners = data.conversationPartners;
  return {
    unread: { count: data.inbox?.unreadCount ?? 0, cursor },
    partners: (partners?.nodes ?? []).map(partnerOf),
    counts: counted(new Map(), partners?.nodes ?? [], cursor),
    morePartners: nextOf(partners?.pageInfo),
    conversations: new Map(),
  };
}

interface Page<Node> {
  nodes: Node[];
  pageInfo: { hasNextPage: boolean; endCursor: string | null };
}

/** A further page of partners. Who became active meanwhile has moved to the front already. */
export function withMorePartners(mailbox: Mailbox, page: Page<PartnerPartsFragment>, cursor: string): Mailbox {
  const known = new Set(mailbox.partners.map((partner) => partner.id));
  const further = page.nodes.filter((node) => !known.has(node.user.id)).map(partnerOf);
  return {
    ...mailbox,
    partners: [...mailbox.partners, ...further],
    counts: counted(mailbox.counts, page.nodes, cursor),
    morePartners: nextOf(page.pageInfo),
  };
}

/** From now on, events about this conversation are kept. To be called before its first page is asked for. */
export function opened(mailbox: Mailbox, partnerId: string): Mailbox {
  if (mailbox.conversations.has(partnerId)) {
    return mailbox;
  }
  return withConversation(mailbox, partnerId, { messages: new Map(), from: Infinity, older: null });
}

/** A page, newest first: the first one, or the one that follows at `older`. */
export function withPage(mailbox: Mailbox, partnerId: string, page: Page<Message>): Mailbox {
  const known = mailbox.conversations.get(partnerId);
  if (!known) {
    return mailbox;
  }
  const messages = merged(known.messages, page.nodes);
  const older = nextOf(page.pageInfo);
  const from = older === null ? 0 : Math.min(known.from, ...page.nodes.map((message) => message.sequence));
  return withConversation(mailbox, partnerId, { messages, from, older });
}

/** What both subscriptions tell. */
export interface Event {
  cursor: string;
  message: Message;
  conversationPartner: PartnerPartsFragment;
  inbox: { unreadCount: number };
}

/** A message was sent, by this user or to this user. */
export function withSent(mailbox: Mailbox, event: Event): Mailbox {
  const told = withMessage(withCounts(mailbox, event), event.conversationPartner.user.id, event.message);
  const partner = partnerOf(event.conversationPartner);
  const known = told.partners.find(({ id }) => id === partner.id);
  if (known && known.lastMessage.sequence >= event.message.sequence) {
    return told;
  }
  const moved = { ...(known ?? partner), lastMessage: event.message };
  return { ...told, partners: [moved, ...told.partners.filter(({ id }) => id !== partner.id)] };
}

/** A message was read for the first time. */
export function withRead(mailbox: Mailbox, event: Event): Mailbox {
  return withMessage(withCounts(mailbox, event), event.conversationPartner.user.id, event.message);
}

/** A message as an event or the answer to a send has it. Only events, which have an order, move a partner to the front. */
export function withMessage(mailbox: Mailbox, partnerId: string, message: Message): Mailbox {
  const partners = mailbox.partners.map((partner) =>
    partner.lastMessage.id === message.id ? { ...partner, lastMessage: later(partner.lastMessage, message) } : partner,
  );
  const known = mailbox.conversations.get(partnerId);
  const told = { ...mailbox, partners };
  return known ? withConversation(told, partnerId, { ...known, messages: merged(known.messages, [message]) }) : told;
}

/**
 * The messages to show, oldest first, and how many of them follow on each other without a gap. What stands behind a gap came by
 * another way than the events, which will fill it.
 */
export function shown({ messages, from }: Conversation): { messages: Message[]; gapless: number } {
  const all = [...messages.values()].filter(({ sequence }) => sequence >= from).sort((one, other) => one.sequence - other.sequence);
  // Sequence numbers count from 1, each one more than the one before.
  const first = Math.max(from, 1);
  const gap = all.findIndex(({ sequence }, index) => sequence !== first + index);
  return { messages: all, gapless: gap === -1 ? all.length : gap };
}

function withCounts(mailbox: Mailbox, { cursor, conversationPartner, inbox }: Event): Mailbox {
  return {
    ...mailbox,
    unread: latest(mailbox.unread, { count: inbox.unreadCount, cursor }),
    counts: counted(mailbox.counts, [conversationPartner], cursor),
  };
}

function counted(counts: Mailbox["counts"], partners: PartnerPartsFragment[], cursor: string): Mailbox["counts"] {
  const told = partners.map(({ user, unreadCount }) => [user.id, latest(counts.get(user.id), { count: unreadCount, cursor })] as const);
  return new Map([...counts, ...told]);
}

// Cursors of one user compare as text, in the order of what happened.
const latest = (one: Count | undefined, other: Count) => (one && one.cursor >= other.cursor ? one : other);

function merged(known: ReadonlyMap<number, Message>, messages: Message[]): ReadonlyMap<number, Message> {
  const all = new Map(known);
  for (const message of messages) {
    const before = all.get(message.sequence);
    all.set(message.sequence, before ? later(before, message) : message);
  }
  return all;
}

// Being read is all that ever happens to a message, and it happens once.
const later = (one: Message, other: Message): Message => ({ ...other, readAt: one.readAt ?? other.readAt });

function withConversation(mailbox: Mailbox, partnerId: string, conversation: Conversation): Mailbox {
  return { ...mailbox, conversations: new Map(mailbox.conversations).set(partnerId, conversation) };
}

const partnerOf = ({ user, lastMessage }: PartnerPartsFragment): Partner => ({ id: user.id, name: user.username, lastMessage });

const nextOf = (info: Page<unknown>["pageInfo"] | undefined) => (info?.hasNextPage ? info.endCursor : null);
