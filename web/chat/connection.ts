// The way to the server while a user is online: urql for queries and mutations, graphql-ws below it for subscriptions.
import { Client, fetchExchange, subscriptionExchange, type CombinedError, type TypedDocumentNode } from "@urql/core";
import { createClient } from "graphql-ws";
import { pause } from "./pause.ts";

/** Where a subscription goes on: its last event's cursor. */
export interface Place {
  after: string;
}

/** Why something was refused: one of the server's error codes, and its sentence. */
export interface Refusal {
  code: string;
  message: string;
}

export type Answer<Data> = { data: Data } | { refusal: Refusal };

interface Hooks {
  /** The socket stands. */
  connected(): void;
  /** The socket broke; it is tried again. */
  lost(): void;
  /** The token is not believed, or no longer. */
  signedOut(): void;
  /** Why an answer is waited for: it was asked for in vain, and is asked for again. Null where one came. */
  waiting(refusal: Refusal | null): void;
}

/** After so many milliseconds an answer is not waited for any longer, but asked for again. */
const patience = 15_000;

export class Connection {
  readonly #stopped = new AbortController();
  readonly #client: Client;
  readonly #socket;
  readonly #hooks: Hooks;
  /** The variables of each subscription by its id on the socket: what graphql-ws sends when it comes back by itself. */
  readonly #places = new Map<string, Place>();
  #woken = new AbortController();
  /** Runs from a ping to its pong. */
  #unanswered: ReturnType<typeof setTimeout> | undefined;

  constructor(token: string, hooks: Hooks) {
    this.#hooks = hooks;
    const authorization = `Bearer ${token}`;
    const url = new URL("/graphql", window.location.href);
    this.#socket = createClient({
      url: Object.assign(new URL(url), { protocol: url.protocol === "https:" ? "wss:" : "ws:" }).href,
      // Asked at every connection. An application gives a fresh token here; this page has none but the one in its link.
      connectionParams: () => ({ authorization }),
      retryAttempts: Infinity,
      retryWait: (retries) => this.#pause(waitingTime(retries)),
      // A machine that slept, or changed its network, is not told that its sockets are dead.
      keepAlive: 10_000,
      // 4403: the token is not believed, and this page has no other.
      shouldRetry: (event) => !(event instanceof CloseEvent && event.code === 4403),
      generateID: ({ variables }) => {
        const id = String(this.#places.size + 1);
        this.#places.set(id, variables as unknown as Place);
        return id;
      },
      on: {
        connected: () => {
          this.#wake();
          this.#whileOpen(hooks.connected);
        },
        closed: (event) => {
          clearTimeout(this.#unanswered);
          this.#whileOpen(event instanceof CloseEvent && event.code === 4403 ? hooks.signedOut : hooks.lost);
        },
        ping: (received, payload) => {
          if (received) {
            // A quiet subscription that moved over what it does not tell says so in the ping, so that its cursor stays young.
            this.#move((payload as { cursors?: Record<string, string> } | undefined)?.cursors ?? {});
          } else {
            this.#unanswered = setTimeout(() => this.#socket.terminate(), 5_000);
          }
        },
        pong: (received) => received && clearTimeout(this.#unanswered),
      },
    });
    this.#client = new Client({
      url: url.href,
      // urql would send short queries by GET. Nothing here is cached on the way, and the server refuses what marks as read by GET.
      preferGetMethod: false,
      fetchOptions: () => ({ headers: { authorization }, credentials: "omit" }),
      // Not in the options above, whose signal urql replaces by its own.
      fetch: (input, init) => {
        const signals = [this.#stopped.signal, AbortSignal.timeout(patience)];
        return fetch(input, { ...init, signal: AbortSignal.any(init?.signal ? [init.signal, ...signals] : signals) });
      },
      exchanges: [
        subscriptionExchange({
          forwardSubscription: ({ query }, operation) => ({
            subscribe: (sink) => ({
              unsubscribe: this.#socket.subscribe({ query: query ?? "", variables: operation.context["place"] }, sink),
            }),
          }),
        }),
        fetchExchange,
      ],
    });
    const isBack = () => {
      // What stood before was on another network.
      this.#socket.terminate();
      this.#wake();
    };
    window.addEventListener("online", isBack, { signal: this.#stopped.signal });
  }

  get isOpen(): boolean {
    return !this.#stopped.signal.aborted;
  }

  /** Breaks off everything that is under way. */
  stop(): void {
    this.#stopped.abort();
    clearTimeout(this.#unanswered);
    // It fails where no socket could be opened, which needs no closing.
    Promise.resolve(this.#socket.dispose()).catch(() => {});
  }

  /** Calls at once where the browser says that the network is back, or the server stands again. */
  #wake(): void {
    this.#woken.abort();
    this.#woken = new AbortController();
  }

  #pause(milliseconds: number): Promise<void> {
    return pause(milliseconds, AbortSignal.any([this.#stopped.signal, this.#woken.signal]));
  }

  /**
   * Asks until there is an answer: a server that is away, or busy, is asked again. Everything that this page asks may be repeated:
   * a send has its clientMessageId. Null where the connection was stopped before.
   */
  async ask<Data, Variables extends object>(
    document: TypedDocumentNode<Data, Variables>,
    variables: Variables,
  ): Promise<Answer<Data> | null> {
    for (let tries = 0; this.isOpen; tries++) {
      const isQuery = document.definitions.some((part) => "operation" in part && part.operation === "query");
      const asked = isQuery ? this.#client.query(document, variables as never) : this.#client.mutation(document, variables as never);
      const { data, error } = await asked.toPromise();
      if (!this.isOpen) {
        break;
      }
      if (data && !error) {
        this.#hooks.waiting(null);
        return { data };
      }
      const refusal = refusalOf(error);
      if (refusal.code === "UNAUTHENTICATED") {
        this.#hooks.signedOut();
        break;
      }
      this.#hooks.waiting(refusal.again ? refusal : null);
      if (!refusal.again) {
        return { refusal };
      }
      await this.#pause(refusal.wait ?? waitingTime(tries));
    }
    return null;
  }

  /**
   * Listens from `place` on, and moves it with every event, which is also where graphql-ws goes on when it comes back by itself:
   * nothing is missed and nothing comes twice.
   */
  listen<Data, Event extends { cursor: string }>(
    document: TypedDocumentNode<Data, { after?: string | null | undefined }>,
    place: Place,
    { event, refused }: { event: (data: Data) => Event; refused: (refusal: Refusal) => void },
  ): void {
    const listening = this.#client.subscription(document, { after: place.after }, { place }).subscribe(({ data, error }) => {
      if (!this.isOpen) {
        return;
      }
      // First the error: beside it, urql gives the data of the event before once more.
      if (error) {
        const isSignedOut = error.networkError instanceof CloseEvent && error.networkError.code === 4403;
        if (!isSignedOut) {
          refused(refusalOf(error));
        }
      } else if (data) {
        place.after = event(data).cursor;
      }
    });
    this.#stopped.signal.addEventListener("abort", () => listening.unsubscribe());
  }

  #move(cursors: Record<string, string>): void {
    for (const [id, cursor] of Object.entries(cursors)) {
      const place = this.#places.get(id);
      if (place && cursor > place.after) {
        place.after = cursor;
      }
    }
  }

  #whileOpen(call: () => void): void {
    if (this.isOpen) {
      call();
    }
  }
}

// Between half and all of 0.5, 1, 2, 4 s, so that not every client comes back at one moment.
function waitingTime(tries: number): number {
  return Math.min(500 * 2 ** tries, 4_000) * (0.5 + Math.random() / 2);
}

/** `again`: whether it may go better later, and after how many milliseconds, where the server says so. */
function refusalOf(error: CombinedError | undefined): Refusal & { again: boolean; wait?: number } {
  const told = error?.graphQLErrors[0];
  if (!told) {
    const closed: unknown = error?.networkError;
    const message = closed instanceof CloseEvent ? `The socket was closed: ${closed.code} ${closed.reason}`.trim() : "The server does not answer.";
    return { code: "UNAVAILABLE", message, again: true };
  }
  const { code, retryAfter } = told.extensions as { code?: string; retryAfter?: number };
  const again = code === "UNAVAILABLE" || code === "RATE_LIMITED";
  return { code: code ?? "INTERNAL", message: told.message, again, ...(retryAfter && { wait: retryAfter * 1000 }) };
}
