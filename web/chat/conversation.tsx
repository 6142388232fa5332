import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Account, AccountState } from "./account.ts";
import { Composer } from "./composer.tsx";
import { dayOf } from "./format.ts";
import { useMedia } from "./hooks.ts";
import { shown, type Message } from "./mailbox.ts";
import { Arrived, Waiting } from "./message.tsx";

interface Props {
  account: Account;
  state: AccountState;
  partnerId: string;
  name: string;
  close: () => void;
  takesFocus: boolean;
}

export function Conversation({ account, state, partnerId, name, close, takesFocus }: Props) {
  const conversation = state.mailbox?.conversations.get(partnerId);
  const { messages, gapless } = useMemo(() => (conversation ? shown(conversation) : { messages: [], gapless: 0 }), [conversation]);
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
  const newest = messages[gapless - 1];
  const today = new Date().toDateString();
  const list = useMemo(() => drawn(messages, account.identity.id), [messages, today]);

  // Seen is what stands at the end of a conversation that is scrolled there, in a page that is looked at: not what is yet to come
  // in before what has come.
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

  // A control that goes while it has the focus leaves that to the messages.
  const discard = (clientMessageId: string) => {
    account.discard(clientMessageId);
    area.current?.focus();
  };

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
          {list}
          {waiting.map((message) => (
            <Waiting key={message.clientMessageId} message={message} discard={() => discard(message.clientMessageId)} />
          ))}
        </ol>
      </div>
      {!isAtEnd && (
        <div class="end">
          <button
            type="button"
            class="to-end"
            onClick={() => {
              goToEnd();
              area.current?.focus();
            }}
          >
            Latest messages ↓
          </button>
        </div>
      )}
      <Composer
        name={name}
        draft={account.drafts.get(partnerId) ?? ""}
        keep={(draft) => account.drafts.set(partnerId, draft)}
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

function drawn(messages: Message[], ownId: string) {
  return messages.flatMap((message, index) => {
    const day = dayOf(message.sentAt);
    const before = messages[index - 1];
    return [
      (!before || dayOf(before.sentAt) !== day) && (
        <li key={`day-${message.sequence}`} class="day">
          <span>{day}</span>
        </li>
      ),
      <Arrived key={message.sequence} message={message} isOwn={message.sender.id === ownId} />,
    ];
  });
}

const near = 150;

const isNearEnd = ({ scrollHeight, scrollTop, clientHeight }: HTMLElement) => scrollHeight - scrollTop - clientHeight < 40;

/** Keeps the end in sight while it is, keeps the place while older messages come in above it, and asks for these. */
function useScrolling(account: Account, partnerId: string, first: number | undefined) {
  const area = useRef<HTMLDivElement>(null);
  const [isAtEnd, setIsAtEnd] = useState(true);
  const end = useRef(true);
  const before = useRef({ height: 0, first });
  // Where it stands, as far as is known: the event of a reader's scrolling comes after it.
  const place = useRef(0);

  const onScroll = () => {
    const { scrollHeight, scrollTop } = area.current!;
    before.current.height = scrollHeight;
    place.current = scrollTop;
    end.current = isNearEnd(area.current!);
    setIsAtEnd(end.current);
    if (scrollTop < near) {
      void account.loadOlder(partnerId, true);
    }
  };
  const stay = () => {
    const element = area.current;
    if (element && end.current) {
      element.scrollTop = element.scrollHeight;
      place.current = element.scrollTop;
    }
  };
  const noticeScrolling = () => {
    const element = area.current;
    if (element && element.scrollTop < place.current && !isNearEnd(element)) {
      end.current = false;
    }
  };

  useLayoutEffect(() => {
    noticeScrolling();
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
    const observer = new ResizeObserver(() => {
      noticeScrolling();
      stay();
      before.current.height = area.current!.scrollHeight;
    });
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
