import { Connection, type Place, type Refusal } from "./connection.ts";
import * as mailboxes from "./mailbox.ts";
import type { Mailbox, Message } from "./mailbox.ts";
import {
  ConversationDocument,
  MessageReadDocument,
  MessageSentDocument,
  MorePartnersDocument,
  ReadConversationDocument,
  SendMessageDocument,
  StartDocument,
} from "./operations.ts";
import { Outbox, outgoing, type Outgoing } from "./outbox.ts";
import { pause } from "./pause.ts";
import type { Identity } from "./tokens.ts";

/** What the page shows of a user. */
export interface AccountState {
  /** How it stands with the server: `away` by the switch, `lost` while the server does not answer, `ended` with the token. */
  link: "connecting" | "live" | "lost" | "away" | "ended";
  mailbox: Mailbox | null;
  outbox: readonly Outgoing[];
  /** The partner whose conversation is open. */
  open: string | null;
  /** What was refused for good, and why, for people. */
  problem: { what: string; message: string } | null;
  /** Why an answer of the server is still waited for, for people. */
  waiting: string | null;
  /** What came in last, for screen readers. */
  heard: readonly { id: string; text: string }[];
}

/** One user on this page: their mailbox, kept up to date while they are online, and what they wrote, until it is sent. */
export class Account {
  readonly identity: Identity;
  /** What is being written to each partner. It outlives the pane, which goes while another user is looked at. */
  readonly drafts = new Map<string, string>();
  #state: AccountState;
  readonly #watchers = new Set<() => void>();
  readonly #outbox: Outbox;
  #connection: Connection | null = null;
  /** One for each subscription; null until the lists were fetched. They outlive a connection. */
  #places: { sent: Place; read: Place } | null = null;
  /** Up to which sequence number each conversation has been reported as read. */
  readonly #reported = new Map<string, number>();
  /** Conversations of which a page is on its way. */
  readonly #loading = new Map<string, Connection>();
  /** Of which conversations a page was refused, and where that page goes on. */
  readonly #refused = new Map<string, string | null>();
  /** The connection by which the outbox is being sent. */
  #sending: Connection | null = null;

  constructor(identity: Identity, place: number) {
    this.identity = identity;
    this.#outbox = new Outbox(`${identity.id}:${place}`);
    const outbox = this.#outbox.load();
    this.#state = { link: "away", mailbox: null, outbox, open: null, problem: null, waiting: null, heard: [] };
  }

  get state(): AccountState {
    return this.#state;
  }

  watch(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Comes (back): what was missed comes by the cursors, what was written meanwhile is sent. */
  goOnline(): void {
    const { token, expiresAt } = this.identity;
    if (expiresAt !== null && expiresAt <= Date.now()) {
      this.#change({ link: "ended" });
      return;
    }
    const connection = new Connection(token, {
      connected: () => {
        this.#refused.clear();
        this.#change({ link: "live" });
        this.#loadFirstPage();
      },
      lost: () => this.#change({ link: "lost" }),
      waiting: (refusal) => this.#change({ waiting: refusal?.message ?? null }),
      signedOut: () => {
        this.#connection?.stop();
        this.#connection = null;
        this.#change({ link: "ended", waiting: null });
      },
    });
    this.#connection = connection;
    this.#change({ link: "connecting", waiting: null });
    void this.#run(connection);
  }

  /** Leaves: from now on this user asks nothing and hears nothing. */
  goAway(): void {
    this.#connection?.stop();
    this.#connection = null;
    this.#change({ link: "away", problem: null, waiting: null });
  }

  /** Opens the conversation with a partner, or closes the one that is open. */
  open(partnerId: string | null): void {
    const mailbox = this.#state.mailbox;
    this.#change({ open: partnerId, problem: null, mailbox: mailbox && partnerId ? mailboxes.opened(mailbox, partnerId) : mailbox });
    this.#loadFirstPage();
  }

  /** Writes to the partner whose conversation is open. */
  write(content: string): void {
    const { open, outbox } = this.#state;
    if (open !== null) {
      this.#queue([...outbox, outgoing(open, content)]);
    }
  }

  /** Takes a refused message off the page. */
  discard(clientMessageId: string): void {
    this.#queue(this.#state.outbox.filter((message) => message.clientMessageId !== clientMessageId));
  }

  /** Fetches the page before the oldest message that is shown. One that was refused is asked for again by the user only. */
  async loadOlder(partnerId: string, byUser: boolean): Promise<void> {
    const connection = this.#connection;
    const conversation = this.#state.mailbox?.conversations.get(partnerId);
    const complete = !conversation || (conversation.older === null && conversation.from === 0);
    if (!connection || complete || this.#loading.get(partnerId)?.isOpen) {
      return;
    }
    const { older } = conversation;
    if (!byUser && this.#refused.get(partnerId) === older) {
      return;
    }
    this.#loading.set(partnerId, connection);
    const answer = await connection.ask(ConversationDocument, { partnerId, after: older });
    if (this.#loading.get(partnerId) === connection) {
      this.#loading.delete(partnerId);
    }
    if (answer && "refusal" in answer) {
      this.#refused.set(partnerId, older);
      this.#fail(`conversation ${partnerId}`, answer.refusal);
    } else if (answer?.data.conversation) {
      const page = answer.data.conversation;
      this.#refused.delete(partnerId);
      this.#succeed(`conversation ${partnerId}`);
      this.#learn((mailbox) => mailboxes.withPage(mailbox, partnerId, page));
      page.nodes.forEach((message) => this.#settle(message));
    }
  }

  async loadMorePartners(): Promise<void> {
    const after = this.#state.mailbox?.morePartners;
    const answer = after ? await this.#connection?.ask(MorePartnersDocument, { after }) : null;
    if (answer && "refusal" in answer) {
      this.#fail("partners", answer.refusal);
    } else if (answer?.data.conversationPartners) {
      this.#succeed("partners");
      const { conversationPartners, signalCursor } = answer.data;
      this.#learn((mailbox) => mailboxes.withMorePartners(mailbox, conversationPartners, signalCursor ?? ""));
    }
  }

  /** The user has seen the conversation up to this message. The counts, and the ticks, come by the subscription. */
  async saw(partnerId: string, message: Message): Promise<void> {
    // It is not known of everybody who is not listed yet.
    const unread = this.#state.mailbox?.counts.get(partnerId)?.count;
    const reported = this.#reported.get(partnerId) ?? 0;
    if (!this.#connection || unread === 0 || message.sequence <= reported) {
      return;
    }
    this.#reported.set(partnerId, message.sequence);
    const answer = await this.#connection.ask(ReadConversationDocument, { input: { partnerId, upTo: message.id } });
    if (!answer || "refusal" in answer) {
      // Not reported after all: it is tried again when the conversation is next seen.
      this.#reported.delete(partnerId);
    }
  }

  /** Fetches the lists where there are none, listens, and sends what waits. */
  async #run(connection: Connection): Promise<void> {
    if (!this.#places && !(await this.#fetchLists(connection))) {
      return;
    }
    if (!this.#places || connection !== this.#connection) {
      return;
    }
    const refused = (refusal: Refusal) => this.#listenAgain(connection, refusal);
    const { sent, read } = this.#places;
    connection.listen(MessageSentDocument, sent, {
      event: ({ messageSent }) => {
        this.#hear(messageSent);
        return messageSent;
      },
      refused,
    });
    connection.listen(MessageReadDocument, read, {
      event: ({ messageRead }) => {
        this.#learn((mailbox) => mailboxes.withRead(mailbox, messageRead));
        return messageRead;
      },
      refused,
    });
    this.#loadFirstPage();
    void this.#send();
  }

  /** The recipe that misses nothing: the lists and `signalCursor` in one operation, then listen from that cursor. */
  async #fetchLists(connection: Connection): Promise<boolean> {
    const answer = await connection.ask(StartDocument, {});
    if (!answer || connection !== this.#connection) {
      return false;
    }
    if ("refusal" in answer || answer.data.signalCursor === null) {
      this.#fail("lists", "refusal" in answer ? answer.refusal : { message: "The server gave no cursor." });
      void this.#comeAgain(connection);
      return false;
    }
    this.#succeed("lists");
    const after = answer.data.signalCursor;
    this.#places = { sent: { after }, read: { after } };
    const mailbox = mailboxes.started(answer.data);
    const open = this.#state.open;
    this.#change({ mailbox: open ? mailboxes.opened(mailbox, open) : mailbox });
    return true;
  }

  /** After a refused subscription: from the start where the cursor is too old, else from where it was. */
  #listenAgain(connection: Connection, refusal: Refusal): void {
    if (connection !== this.#connection) {
      return;
    }
    if (refusal.code === "CURSOR_EXPIRED") {
      connection.stop();
      this.#places = null;
      this.#reported.clear();
      this.goOnline();
    } else {
      void this.#comeAgain(connection);
    }
  }

  /** Leaves, and comes back after a while, unless the user has done either meanwhile. */
  async #comeAgain(connection: Connection): Promise<void> {
    connection.stop();
    this.#change({ link: "lost" });
    const left = new AbortController();
    const unwatch = this.watch(() => connection !== this.#connection && left.abort());
    await pause(2_000, left.signal);
    unwatch();
    if (connection === this.#connection) {
      this.goOnline();
    }
  }

  #hear(event: mailboxes.Event): void {
    const { message } = event;
    this.#learn((mailbox) => mailboxes.withSent(mailbox, event));
    if (message.sender.id === this.identity.id) {
      this.#settle(message);
    } else {
      const heard = { id: message.id, text: `${message.sender.username}: ${message.content}` };
      this.#change({ heard: [...this.#state.heard, heard].slice(-10) });
    }
    this.#loadFirstPage();
  }

  #loadFirstPage(): void {
    const { open, mailbox } = this.#state;
    if (open !== null && mailbox?.conversations.get(open)?.from === Infinity) {
      void this.loadOlder(open, true);
    }
  }

  #queue(outbox: readonly Outgoing[]): void {
    this.#keep(outbox);
    void this.#send();
  }

  /** Sends what waits, one after the other, so that the server has it in the order in which it was written. */
  async #send(): Promise<void> {
    const connection = this.#connection;
    if (!connection || !this.#places || this.#sending === connection) {
      return;
    }
    this.#sending = connection;
    for (;;) {
      const next = this.#state.outbox.find(({ refused }) => refused === null);
      if (!next || connection !== this.#connection) {
        break;
      }
      const { partnerId: recipientId, content, clientMessageId } = next;
      const answer = await connection.ask(SendMessageDocument, { input: { recipientId, content, clientMessageId } });
      if (answer && "refusal" in answer) {
        const refused = { ...next, refused: answer.refusal.message };
        this.#queue(this.#state.outbox.map((message) => (message.clientMessageId === clientMessageId ? refused : message)));
      } else if (answer?.data.sendMessage) {
        const { message } = answer.data.sendMessage;
        this.#learn((mailbox) => mailboxes.withMessage(mailbox, recipientId, message));
        this.#settle(message);
      }
    }
    if (this.#sending === connection) {
      this.#sending = null;
    }
  }

  /** What the server has told of is no longer on its way, whether its answer or its event came first. */
  #settle(message: Message): void {
    const outbox = this.#state.outbox.filter(({ clientMessageId }) => clientMessageId !== message.clientMessageId);
    if (outbox.length < this.#state.outbox.length) {
      this.#keep(outbox);
    }
  }

  #keep(outbox: readonly Outgoing[]): void {
    this.#change({ outbox });
    if (this.#outbox.keep(outbox)) {
      this.#succeed("outbox");
    } else {
      this.#fail("outbox", { message: "This browser cannot keep what waits here: it is lost when the page is closed." });
    }
  }

  #fail(what: string, { message }: { message: string }): void {
    this.#change({ problem: { what, message } });
  }

  #succeed(what: string): void {
    if (this.#state.problem?.what === what) {
      this.#change({ problem: null });
    }
  }

  #learn(step: (mailbox: Mailbox) => Mailbox): void {
    if (this.#state.mailbox) {
      this.#change({ mailbox: step(this.#state.mailbox) });
    }
  }

  #change(changes: Partial<AccountState>): void {
    this.#state = { ...this.#state, ...changes };
    for (const watcher of this.#watchers) {
      watcher();
    }
  }
}
