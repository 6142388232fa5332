import { useState } from "preact/hooks";
import type { Account } from "./account.ts";
import { useAccount, useMedia } from "./hooks.ts";
import { Logo, Unread } from "./parts.tsx";
import { Pane } from "./pane.tsx";

export function App({ accounts }: { accounts: Account[] }) {
  const isNarrow = useMedia("(max-width: 760px)");
  const [chosen, setChosen] = useState(0);
  const nameOf = (id: string) => accounts.find(({ identity }) => identity.id === id)?.identity.name ?? id;
  const paned = isNarrow ? accounts.slice(chosen, chosen + 1) : accounts;
  return (
    <>
      <header class="top">
        <h1>
          <Logo />
          directmessages
        </h1>
        {accounts.length > 1 && <p class="hint">Take one user offline, write from both sides, and come back: nothing gets lost.</p>}
        {isNarrow && accounts.length > 1 && (
          <div class="users" role="group" aria-label="Whose messages to show">
            {accounts.map((account, place) => (
              <UserTab key={place} account={account} isChosen={place === chosen} choose={() => setChosen(place)} />
            ))}
          </div>
        )}
      </header>
      <main class={accounts.length > 1 ? "panes" : "panes single"}>
        {accounts.length === 0 && <NobodySignedIn />}
        {paned.map((account) => (
          <Pane key={accounts.indexOf(account)} place={accounts.indexOf(account)} account={account} nameOf={nameOf} />
        ))}
      </main>
    </>
  );
}

function UserTab({ account, isChosen, choose }: { account: Account; isChosen: boolean; choose: () => void }) {
  const { mailbox } = useAccount(account);
  return (
    <button type="button" aria-pressed={isChosen} onClick={choose}>
      {account.identity.name} <Unread count={mailbox?.unread.count ?? 0} />
    </button>
  );
}

function NobodySignedIn() {
  return (
    <div class="nobody">
      <h2>Nobody is signed in here</h2>
      <p>
        Run <code>directmessages dev</code> (in a clone of the project, <code>cargo run -- dev</code>) and open the first link that
        it prints: it signs two users in.
      </p>
    </div>
  );
}
