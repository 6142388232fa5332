// What the demo's page keeps of a user's messages is what it would fetch anew, in whatever order events, pages and answers arrive.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import ts from 'typescript';
import { chance } from './differential/chance.mjs';

const source = readFileSync(new URL('../../web/chat/mailbox.ts', import.meta.url), 'utf8');
const { outputText } = ts.transpileModule(source, { compilerOptions: { module: 'ESNext', target: 'ES2022' } });
const mailboxes = await import(`data:text/javascript,${encodeURIComponent(outputText)}`);

const partnerIds = ['ben', 'cid', 'dan', 'eva', 'fay', 'gus', 'hal'];

test('events and pages, in any order, give what a refetch gives', () => {
  for (let seed = 1; seed <= 500; seed++) {
    const server = new Server();
    const told = live(chance(seed), server);
    assert.deepEqual(seen(told), seen(refetched(server, told)), `seed ${seed}`);
  }
});

test('what stands behind a gap is shown, and not counted as come in', () => {
  const messages = new Map([3, 4, 7].map((sequence) => [sequence, { sequence }]));
  const shown = (from) => {
    const { messages: all, gapless } = mailboxes.shown({ messages, from, older: null });
    return [all.map(({ sequence }) => sequence), gapless];
  };
  assert.deepEqual(shown(3), [[3, 4, 7], 2]);
  assert.deepEqual(shown(0), [[3, 4, 7], 0]);
  assert.deepEqual(shown(Infinity), [[], 0]);
});

/** A client's life: it starts at some moment, and everything that it asks for and is told of arrives later, if in order. */
function live(random, server) {
  const happen = () => server.happen(random);
  for (let events = random.below(30); events > 0; events--) happen();
  let mailbox = mailboxes.started(server.start());
  const [sent, read] = [server.listen('sent'), server.listen('read')];
  const under = { partners: null, pages: new Map(), answers: [] };
  const steps = {
    happen,
    send() {
      const partnerId = random.pick(partnerIds);
      const message = server.send(partnerId, 'me');
      under.answers.push(() => mailboxes.withMessage(mailbox, partnerId, message));
    },
    answer: () => (mailbox = under.answers.splice(random.below(under.answers.length), 1)[0]?.() ?? mailbox),
    hearSent: () => (mailbox = sent((event) => mailboxes.withSent(mailbox, event)) ?? mailbox),
    hearRead: () => (mailbox = read((event) => mailboxes.withRead(mailbox, event)) ?? mailbox),
    open: () => (mailbox = mailboxes.opened(mailbox, random.pick(partnerIds))),
    partners() {
      if (under.partners) {
        mailbox = mailboxes.withMorePartners(mailbox, under.partners.page, under.partners.cursor);
        under.partners = null;
      } else if (mailbox.morePartners) {
        under.partners = { page: server.partners(mailbox.morePartners), cursor: server.cursor };
      }
    },
    page(partnerId = random.pick(partnerIds)) {
      const conversation = mailbox.conversations.get(partnerId);
      const asked = under.pages.get(partnerId);
      if (asked) {
        under.pages.delete(partnerId);
        mailbox = mailboxes.withPage(mailbox, partnerId, asked);
      } else if (conversation && conversation.from !== 0) {
        under.pages.set(partnerId, server.conversation(partnerId, conversation.older));
      }
    },
  };
  const names = Object.keys(steps);
  for (let count = 0; count < 150; count++) steps[random.pick(names)]();

  // In the end, all arrives, and the user looks at everything.
  while (under.answers.length > 0) steps.answer();
  while (under.partners || mailbox.morePartners) steps.partners();
  for (const partnerId of partnerIds) {
    while (under.pages.has(partnerId) || (mailbox.conversations.get(partnerId)?.from ?? 0) !== 0) steps.page(partnerId);
  }
  while (sent.isBehind() || read.isBehind()) random.happens(0.5) ? steps.hearSent() : steps.hearRead();
  return mailbox;
}

function refetched(server, { conversations }) {
  let mailbox = mailboxes.started(server.start());
  while (mailbox.morePartners) mailbox = mailboxes.withMorePartners(mailbox, server.partners(mailbox.morePartners), server.cursor);
  for (const partnerId of conversations.keys()) {
    mailbox = mailboxes.opened(mailbox, partnerId);
    do {
      const { older } = mailbox.conversations.get(partnerId);
      mailbox = mailboxes.withPage(mailbox, partnerId, server.conversation(partnerId, older));
    } while (mailbox.conversations.get(partnerId).from !== 0);
  }
  return mailbox;
}

/** All that the page shows of a mailbox. */
const seen = ({ unread, partners, counts, conversations }) => ({
  unread: unread.count,
  partners: partners.map(({ id, lastMessage }) => [id, lastMessage.id, counts.get(id).count]),
  conversations: Object.fromEntries([...conversations].map(([id, conversation]) => [id, mailboxes.shown(conversation)])),
});

/** The server, as far as one user sees it: its lists, in pages of two, and the events of its two subscriptions. */
class Server {
  log = [];
  messages = [];

  get cursor() {
    return String(this.log.length).padStart(6, '0');
  }

  send(partnerId, from = partnerId) {
    const sequence = this.with(partnerId).length + 1;
    const message = { id: this.messages.length, partnerId, sequence, readAt: null, sender: { id: from, username: from } };
    this.messages.push(message);
    return this.tell('sent', message);
  }

  /** Something is sent to the user, or a message is read by whoever received it. */
  happen(random) {
    const unread = this.messages.filter(({ readAt }) => readAt === null);
    if (unread.length > 0 && random.happens(0.4)) {
      const message = random.pick(unread);
      message.readAt = this.log.length;
      this.tell('read', message);
    } else {
      this.send(random.pick(partnerIds));
    }
  }

  tell(kind, message) {
    this.log.push(null);
    const event = { kind, cursor: this.cursor, message: { ...message }, conversationPartner: this.partner(message.partnerId), inbox: this.inbox() };
    this.log[this.log.length - 1] = event;
    return event.message;
  }

  /** Hands on the next event of a kind; `isBehind` as long as there is one. */
  listen(kind) {
    let at = this.log.length;
    const next = () => this.log.findIndex((event, index) => index >= at && event.kind === kind);
    const hear = (take) => {
      const found = next();
      if (found === -1) return undefined;
      at = found + 1;
      return take(this.log[found]);
    };
    return Object.assign(hear, { isBehind: () => next() !== -1 });
  }

  start() {
    return { signalCursor: this.cursor, inbox: this.inbox(), conversationPartners: this.partners(null) };
  }

  partners(after) {
    const latest = partnerIds.filter((id) => this.with(id).length > 0).map((id) => this.partner(id));
    latest.sort((one, other) => other.lastMessage.id - one.lastMessage.id);
    return page(latest, after, ({ lastMessage }) => lastMessage.id);
  }

  conversation(partnerId, after) {
    return page(this.with(partnerId).reverse(), after, ({ sequence }) => sequence);
  }

  with(partnerId) {
    return this.messages.filter((message) => message.partnerId === partnerId);
  }

  partner(id) {
    const all = this.with(id);
    return { user: { id, username: id }, unreadCount: unreadIn(all), lastMessage: { ...all.at(-1) } };
  }

  inbox() {
    return { unreadCount: unreadIn(this.messages) };
  }
}

const unreadIn = (messages) => messages.filter(({ sender, readAt }) => sender.id !== 'me' && readAt === null).length;

/** Two of a list that falls by its key: those below `after`. */
function page(list, after, keyOf) {
  const rest = list.filter((item) => after === null || keyOf(item) < Number(after));
  const nodes = rest.slice(0, 2).map((item) => ({ ...item }));
  return { nodes, pageInfo: { hasNextPage: rest.length > 2, endCursor: nodes.length > 0 ? String(keyOf(nodes.at(-1))) : null } };
}
