import type { RefObject } from "preact";
import { useState } from "preact/hooks";
import type { Account, AccountState } from "./account.ts";
import { whenOf } from "./format.ts";
import { Avatar, Unread } from "./parts.tsx";

interface Props {
  account: Account;
  state: AccountState;
  choose: (partnerId: string) => void;
  list: RefObject<HTMLElement | null>;
}

/** Whoever is not in the list yet is found by their id. */
function NewPartner({ choose }: { choose: (partnerId: string) => void }) {
  const [id, setId] = useState("");
  const submit = (event: Event) => {
    event.preventDefault();
    choose(id.trim());
    setId("");
  };
  return (
    <form class="new" onSubmit={submit}>
      <input
        aria-label="Write to somebody new: a user’s id"
        placeholder="Write to: a user’s id"
        autocomplete="off"
        autocapitalize="off"
        spellcheck={false}
        pattern=".*\S.*"
        required
        value={id}
        onInput={(event) => setId(event.currentTarget.value)}
      />
    </form>
  );
}

/** Everyone with whom the user has written, the latest first. */
export function Partners({ account, state: { mailbox, open, link, problem, waiting }, choose, list }: Props) {
  const showMore = async () => {
    const before = mailbox?.partners.length ?? 0;
    await account.loadMorePartners();
    requestAnimationFrame(() => {
      // The button goes with the last page, and leaves its focus to the first who came.
      if (document.activeElement === document.body) {
        list.current?.querySelectorAll<HTMLElement>("[data-partner]")[before]?.focus();
      }
    });
  };
  return (
    <nav class="partners" aria-label={`${account.identity.name}’s conversations`} ref={list}>
      {!mailbox && link === "connecting" && !problem && !waiting && <p class="empty">Loading…</p>}
      {mailbox?.partners.length === 0 && <p class="empty">No conversations yet.</p>}
      <ul>
        {mailbox?.partners.map(({ id, name, lastMessage }) => (
          <li key={id}>
            <button type="button" data-partner={id} aria-current={id === open ? "true" : undefined} onClick={() => choose(id)}>
              <Avatar id={id} name={name} />
              <span class="line">
                <span class="name">{name}</span>
                <time dateTime={lastMessage.sentAt}>{whenOf(lastMessage.sentAt)}</time>
              </span>
              <span class="line">
                <span class="last">
                  {lastMessage.sender.id === account.identity.id && "You: "}
                  <bdi>{lastMessage.content}</bdi>
                </span>
                <Unread count={mailbox.counts.get(id)?.count ?? 0} />
              </span>
            </button>
          </li>
        ))}
      </ul>
      {mailbox?.morePartners && (
        <button type="button" class="more" onClick={() => void showMore()}>
          Show more
        </button>
      )}
      <NewPartner choose={choose} />
    </nav>
  );
}
