import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Account, AccountState } from "./account.ts";
import { Composer } from "./composer.tsx";
import { dayOf } from "./format.ts";
import { useMedia } from "./hooks.ts";
import { shown } from "./mailbox.ts";
import { Arrived, Waiting } from "./message.tsx";

interface Props {
  account: Account;
  state: AccountState;
  partnerId: string;
  name: string;
  close: () => void;
  takesFocus: boolean;
  drafts: Map<string, string>;
}

export function Conversation({ account, state, partnerId, name, close, takesFocus, drafts }: Props) {
  const conversation = state.mailbox?.conversations.get(partnerId);
  const messages = useMemo(() => (conversation ? shown(conversation) : []), [conversation]);
  const waiting = state.outbox.filter((message) => message.partnerId === partnerId);
  const { area, isAtEnd, onScroll, goToEnd } = useScrolling(account, partnerId, messages.at(0)?.sequence);
  // On a phone, focus in the box would cover the conversation with a keyboard.
  const isTouched = useMedia("(pointer: coarse)");
  useEffect(() => {
    if (takesFocus && isTouched) {
      area.current?.focus();
    }
  }, []);
  const isLoading = (state.link === "live" || state.link === "connecting") && !state.problem && !state.waiting;
  const isComplete = conversation?.from === 0;
  const newest = messages.at(-1);

  // Seen is what stands at the end of a conversation that is scrolled there, in a page that is looked at.
  useEffect(() => {
    const report = () => {
      if (newest && isAtEnd && document.visibilityState === "visible") {
        void account.saw(partnerId, newest);
      }
    };
    report();
    document.addEventListener("visibilitychange", report);
    return () => document.removeEventListener("visibilitychange", report);
  });

  return (
    <section class="conversation" aria-label={`Conversation with ${name}`}>
      <header>
        <button type="button" class="back" onClick={close} aria-label="Back to all conversations">
          ‹
        </button>
        <h3>{name}</h3>
      </header>
      <div class="messages" ref={area} onScroll={onScroll} tabIndex={0} role="region" aria-label={`Messages with ${name}`}>
        {conversation && !isComplete && isLoading && <p class="empty">Loading…</p>}
        {isComplete && messages.length + waiting.length > 0 && <p class="empty">The conversation begins here.</p>}
        {isComplete && messages.length + waiting.length === 0 && <p class="empty">No messages yet. Write the first one.</p>}
        <ol>
          {messages.map((message, index) => {
            const day = dayOf(message.sentAt);
            const before = messages[index - 1];
            return [
              (!before || dayOf(before.sentAt) !== day) && (
                <li key={`day-${message.sequence}`} class="day">
                  <span>{day}</span>
                </li>
              ),
              <Arrived key={message.sequence} message={message} isOwn={message.sender.id === account.identity.id} />,
            ];
          })}
          {waiting.map((message) => (
            <Waiting key={message.clientMessageId} message={message} discard={() => account.discard(message.clientMessageId)} />
          ))}
        </ol>
      </div>
      {!isAtEnd && (
        <button type="button" class="to-end" onClick={goToEnd}>
          Latest messages ↓
        </button>
      )}
      <Composer
        name={name}
        draft={drafts.get(partnerId) ?? ""}
        keep={(draft) => drafts.set(partnerId, draft)}
        takesFocus={takesFocus && !isTouched}
        leave={close}
        write={(content) => {
          account.write(content);
          goToEnd();
        }}
      />
    </section>
  );
}

const near = 150;

/** Keeps the end in sight while it is, keeps the place while older messages come in above it, and asks for these. */
function useScrolling(account: Account, partnerId: string, first: number | undefined) {
  const area = useRef<HTMLDivElement>(null);
  const [isAtEnd, setIsAtEnd] = useState(true);
  const end = useRef(true);
  const before = useRef({ height: 0, first });

  const onScroll = () => {
    const { scrollHeight, scrollTop, clientHeight } = area.current!;
    end.current = scrollHeight - scrollTop - clientHeight < 40;
    setIsAtEnd(end.current);
    if (scrollTop < near) {
      void account.loadOlder(partnerId, true);
    }
  };
  const stay = () => {
    const element = area.current;
    if (element && end.current) {
      element.scrollTop = element.scrollHeight;
    }
  };

  useLayoutEffect(() => {
    const element = area.current!;
    const { height, first: firstBefore } = before.current;
    if (!end.current && first !== firstBefore) {
      element.scrollTop += element.scrollHeight - height;
    }
    stay();
    before.current = { height: element.scrollHeight, first };
    if (first !== undefined && element.scrollTop < near) {
      void account.loadOlder(partnerId, false);
    }
  });

  useEffect(() => {
    const observer = new ResizeObserver(stay);
    observer.observe(area.current!);
    return () => observer.disconnect();
  }, []);

  const goToEnd = () => {
    end.current = true;
    setIsAtEnd(true);
    stay();
  };
  return { area, isAtEnd, onScroll, goToEnd };
}
