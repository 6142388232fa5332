import { useEffect, useState } from "react";
import { signIn, signOut } from "./session.js";

export function SessionBar({ session, problem }) {
  const remaining = useRemainingMinutes(session?.expiresAt);
  const expired = remaining !== null && remaining <= 0;
  const [changing, setChanging] = useState(!session || Boolean(problem) || expired);
  return (
    <header className="dm-session">
      <div className="dm-bar">
        <strong className="dm-brand">
          <Logo />
          directmessages
        </strong>
        <span className="dm-who">{session ? <Who session={session} remaining={remaining} /> : "Not signed in"}</span>
        {session && (
          <span className="dm-actions">
            <button type="button" aria-expanded={changing} onClick={() => setChanging(!changing)}>
              Change token
            </button>
            <button type="button" onClick={signOut}>
              Sign out
            </button>
          </span>
        )}
      </div>
      {changing && <TokenForm reason={problem} needed={!session || expired} />}
    </header>
  );
}

function Who({ session: { id, name, isService }, remaining }) {
  return (
    <>
      Signed in as {isService ? <b>the service</b> : <b>{name}</b>}
      {isService && <span className="dm-detail"> · to act for a user, put {'{"X-Act-As": "<user id>"}'} into Headers</span>}
      {!isService && id && id !== name && <span className="dm-detail"> · {id}</span>}
      <Expiry remaining={remaining} />
    </>
  );
}

function Expiry({ remaining }) {
  if (remaining === null || remaining > 48 * 60) {
    return null;
  }
  if (remaining <= 0) {
    return <span className="dm-warning"> · token expired</span>;
  }
  const time = remaining > 120 ? `${Math.floor(remaining / 60)} h` : `${remaining} min`;
  return <span className="dm-detail"> · token valid for {time}</span>;
}

function TokenForm({ reason, needed }) {
  const [text, setText] = useState("");
  const [problem, setProblem] = useState(reason);
  const submit = (event) => {
    event.preventDefault();
    setProblem(signIn(text));
  };
  return (
    <form className="dm-banner" onSubmit={submit}>
      {problem ? (
        <p role="alert" className="dm-warning">
          {problem}
        </p>
      ) : (
        <p>
          {needed ? "Every operation needs a valid token. " : "Another token signs in another user, in this tab only. "}
          <code>directmessages dev</code> prints links that are signed in; <code>directmessages token</code> mints a token for any user.
        </p>
      )}
      <div className="dm-field">
        <input
          aria-label="Token"
          placeholder="Paste a token (JWT)"
          value={text}
          onChange={(event) => setText(event.target.value)}
          autoComplete="off"
          autoCapitalize="off"
          spellCheck={false}
          autoFocus
          required
        />
        <button type="submit" className="dm-primary">
          Sign in
        </button>
      </div>
    </form>
  );
}

function Logo() {
  return (
    <svg viewBox="0 0 32 32" aria-hidden="true">
      <path d="M3 5h26v18H15l-7 6v-6H3z" fill="currentColor" />
      <path d="M9 11h14M9 17h9" strokeWidth="2.5" />
    </svg>
  );
}

// Rounded up, so that 0 means expired; null where the token does not say.
function useRemainingMinutes(expiresAt) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 10_000);
    return () => clearInterval(timer);
  }, []);
  return typeof expiresAt === "number" ? Math.ceil((expiresAt - now) / 60_000) : null;
}
