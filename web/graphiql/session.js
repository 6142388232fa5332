import { decoded, identityOf, notAToken } from "../shared/token.ts";

// The token lives in sessionStorage: it survives a reload, ends with the tab, and two users in two tabs do not meet.
const key = "directmessages:token";

// Takes the token out of `/graphiql#token=…` and out of the address bar, where it could be copied or kept in the history by accident.
// Answers with a sentence if it is none.
export function takeTokenFromAddress() {
  const { hash, pathname, search } = window.location;
  if (!hash.startsWith("#token=")) {
    return null;
  }
  window.history.replaceState(null, "", pathname + search);
  return storeToken(decoded(hash.slice("#token=".length)));
}

export function signIn(text) {
  const problem = storeToken(text);
  if (!problem) {
    window.location.reload();
  }
  return problem;
}

export function signOut() {
  window.sessionStorage.removeItem(key);
  window.location.reload();
}

export function currentSession() {
  const token = window.sessionStorage.getItem(key);
  const identity = token && identityOf(token);
  return identity ? { ...identity, name: identity.name ?? "an unnamed user" } : null;
}

function storeToken(text) {
  const token = text.trim().replace(/^(authorization:\s*)?bearer\s+/i, "").replace(/^(["'])(.*)\1$/, "$2");
  if (!identityOf(token)) {
    return notAToken;
  }
  window.sessionStorage.setItem(key, token);
  return null;
}
