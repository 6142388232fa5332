/** A message on its way: shown at once, and kept until the server has it. */
export interface Outgoing {
  clientMessageId: string;
  partnerId: string;
  content: string;
  writtenAt: string;
  /** The server's sentence where it refused the message for good. */
  refused: string | null;
}

/** Kept in sessionStorage, so that a reload of the page loses nothing of it either. */
export class Outbox {
  readonly #key: string;

  constructor(owner: string) {
    this.#key = `directmessages:chat:outbox:${owner}`;
  }

  load(): Outgoing[] {
    try {
      return JSON.parse(window.sessionStorage.getItem(this.#key) ?? "[]") as Outgoing[];
    } catch {
      return [];
    }
  }

  /** Whether they could be kept. */
  keep(outgoing: readonly Outgoing[]): boolean {
    try {
      window.sessionStorage.setItem(this.#key, JSON.stringify(outgoing));
      return true;
    } catch {
      return false;
    }
  }
}

/** A new message, under an id that makes it safe to send it again. */
export function outgoing(partnerId: string, content: string): Outgoing {
  // Not randomUUID(), which browsers have over TLS and on this machine only.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const clientMessageId = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return { clientMessageId, partnerId, content, writtenAt: new Date().toISOString(), refused: null };
}
