import { useEffect, useRef, useState } from "preact/hooks";

interface Props {
  name: string;
  draft: string;
  keep: (draft: string) => void;
  takesFocus: boolean;
  leave: () => void;
  write: (content: string) => void;
}

export function Composer({ name, draft, keep, takesFocus, leave, write }: Props) {
  const [text, setText] = useState(draft);
  const box = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    if (takesFocus) {
      box.current?.focus();
    }
  }, []);
  const change = (changed: string) => {
    setText(changed);
    keep(changed);
  };
  const send = () => {
    if (text.trim() !== "") {
      write(text);
      change("");
    }
    box.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // While letters are composed, both keys are the input method's.
    if (event.isComposing) {
      return;
    }
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      send();
    } else if (event.key === "Escape") {
      leave();
    }
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <div class="growing" data-text={`${text} `}>
        <textarea
          ref={box}
          aria-label={`Message to ${name}`}
          placeholder={`Message to ${name}`}
          dir="auto"
          rows={1}
          value={text}
          onInput={(event) => change(event.currentTarget.value)}
          onKeyDown={onKeyDown}
        />
      </div>
      <button type="submit">Send</button>
    </form>
  );
}
