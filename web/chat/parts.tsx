export function Logo() {
  return (
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
      <path d="M3 5h26v18H15l-7 6v-6H3z" fill="currentColor" />
      <path d="M9 11h14M9 17h9" stroke="var(--surface)" stroke-width="2.5" />
    </svg>
  );
}

export function Avatar({ id, name }: { id: string; name: string }) {
  const hue = [...id].reduce((sum, char) => (sum * 31 + char.codePointAt(0)!) % 360, 7);
  return (
    <span class="avatar" style={{ "--hue": String(hue) }} aria-hidden="true">
      {[...name][0]?.toLocaleUpperCase()}
    </span>
  );
}

export function Unread({ count }: { count: number }) {
  if (count === 0) {
    return null;
  }
  return (
    <span class="badge">
      {count}
      <span class="unseen"> unread</span>
    </span>
  );
}

/** How far a message of one's own has come. */
export function Tick({ state, title }: { state: "waiting" | "sent" | "read"; title: string }) {
  return (
    <span class={`tick ${state}`} title={title}>
      <svg viewBox="0 0 20 14" aria-hidden="true">
        {state === "waiting" ? (
          <path d="M10 1.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM10 4v3.2l2.2 1.4" />
        ) : (
          <path d={state === "sent" ? "M5 7.5l3.5 3.5L15 3" : "M1.5 7.5L5 11l6.5-8M8.5 10l1 1L16 3"} />
        )}
      </svg>
      <span class="unseen">{title}</span>
    </span>
  );
}
