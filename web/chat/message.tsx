import { timeOf } from "./format.ts";
import type { Message } from "./mailbox.ts";
import type { Outgoing } from "./outbox.ts";
import { Tick } from "./parts.tsx";

export function Arrived({ message, isOwn }: { message: Message; isOwn: boolean }) {
  const { content, sender, sentAt, readAt } = message;
  return (
    <li class={isOwn ? "message own" : "message"}>
      <span class="unseen">{isOwn ? "You" : sender.username}: </span>
      <p dir="auto">{content}</p>
      <footer>
        <time dateTime={sentAt}>{timeOf(sentAt)}</time>
        {isOwn && <Tick state={readAt ? "read" : "sent"} title={readAt ? `Read ${timeOf(readAt)}` : "Sent"} />}
      </footer>
    </li>
  );
}

/** One that the server does not have yet, or would not have. */
export function Waiting({ message, discard }: { message: Outgoing; discard: () => void }) {
  const { content, writtenAt, refused } = message;
  return (
    <li class={refused === null ? "message own waiting" : "message own refused"}>
      <span class="unseen">You: </span>
      <p dir="auto">{content}</p>
      {refused !== null && (
        <p class="reason" role="alert">
          Not sent: {refused}
        </p>
      )}
      <footer>
        {refused !== null && (
          <button type="button" onClick={discard}>
            Remove
          </button>
        )}
        <time dateTime={writtenAt}>{timeOf(writtenAt)}</time>
        {refused === null && <Tick state="waiting" title="Not sent yet" />}
      </footer>
    </li>
  );
}
