import { useRef, useState } from "preact/hooks";
import type { Account, AccountState } from "./account.ts";
import { Conversation } from "./conversation.tsx";
import { useAccount } from "./hooks.ts";
import { Partners } from "./partners.tsx";
import { Avatar, Unread } from "./parts.tsx";

interface Props {
  account: Account;
  place: number;
  nameOf: (id: string) => string;
}

/** All of one user: who, whether online, their partners, and the open conversation. */
export function Pane({ account, place, nameOf }: Props) {
  const state = useAccount(account);
  const { identity } = account;
  const { mailbox, open, link } = state;
  // Whoever chose a partner goes on in that conversation; what is open from the start takes no focus.
  const [hasChosen, setHasChosen] = useState(false);
  const partners = useRef<HTMLElement>(null);
  const name = (id: string) => mailbox?.partners.find((partner) => partner.id === id)?.name ?? nameOf(id);
  const choose = (partnerId: string) => {
    setHasChosen(true);
    account.open(partnerId);
  };
  const close = () => {
    const before = CSS.escape(open ?? "");
    account.open(null);
    requestAnimationFrame(() => {
      const list = partners.current;
      // Whoever is not listed is left to the first who is.
      const next = list?.querySelector<HTMLElement>(`[data-partner="${before}"]`) ?? list?.querySelector<HTMLElement>("button, input");
      next?.focus();
    });
  };
  const isOnline = link !== "away" && link !== "ended";
  return (
    <section class={`pane ${open === null ? "listing" : "reading"}`} aria-labelledby={`user-${place}`}>
      <header class="who">
        <Avatar id={identity.id} name={identity.name} />
        <h2 id={`user-${place}`}>{identity.name}</h2>
        <Unread count={mailbox?.unread.count ?? 0} />
        <span class="space" />
        <a href={`/graphiql#token=${identity.token}`} target="_blank" rel="noopener" aria-label={`GraphiQL, signed in as ${identity.name}`}>
          GraphiQL
        </a>
        <button
          type="button"
          role="switch"
          class="switch"
          aria-checked={isOnline}
          disabled={link === "ended"}
          onClick={() => (isOnline ? account.goAway() : account.goOnline())}
        >
          <span class="track" />
          Online<span class="unseen"> ({identity.name})</span>
        </button>
      </header>
      <Standing state={state} name={identity.name} />
      <div class="columns">
        <Partners account={account} state={state} choose={choose} list={partners} />
        {open === null ? (
          <p class="empty aside">Choose a conversation.</p>
        ) : (
          <Conversation
            key={open}
            account={account}
            state={state}
            partnerId={open}
            name={name(open)}
            close={close}
            takesFocus={hasChosen}
          />
        )}
      </div>
      <div class="unseen" role="log" aria-live="polite" aria-label={`New messages to ${identity.name}`}>
        {state.heard.map(({ id, text }) => (
          <p key={id}>{text}</p>
        ))}
      </div>
    </section>
  );
}

/** How it stands with the server, where that is not as usual. */
function Standing({ state, name }: { state: AccountState; name: string }) {
  const waiting = state.outbox.filter(({ refused }) => refused === null).length;
  const queued = waiting === 0 ? "What is written now waits here." : `${waiting} ${waiting === 1 ? "message waits" : "messages wait"} here.`;
  if (state.link === "ended") {
    return (
      <p class="standing ended" role="alert">
        {name}’s token is not valid, or no longer. Run <code>directmessages dev</code> again and open the first link that it prints.
      </p>
    );
  }
  return (
    <div role="status">
      {state.link === "away" && (
        <p class="standing">
          <b>Offline.</b> Nothing is sent or received. {queued}
        </p>
      )}
      {state.link === "lost" && (
        <p class="standing">
          <b>The server does not answer.</b> It is tried again. {queued}
        </p>
      )}
      {state.waiting && state.link !== "lost" && (
        <p class="standing">
          <b>{state.waiting}</b> It is tried again. {queued}
        </p>
      )}
      {state.problem && <p class="standing">{state.problem.message}</p>}
    </div>
  );
}
