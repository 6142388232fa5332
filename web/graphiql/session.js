import { claimsOf, decoded, notAToken, textOf } from "../shared/token.ts";

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

// Who the token says that the user is. Only the server can tell whether that is true.
export function currentSession() {
  const token = window.sessionStorage.getItem(key);
  const claims = token && claimsOf(token);
  if (!claims) {
    return null;
  }
  const id = textOf(claims.sub);
  return {
    token,
    id,
    name: textOf(claims.preferred_username) ?? textOf(claims.name) ?? id ?? "an unnamed user",
    isService: claims.role === "service",
    expiresAt: typeof claims.exp === "number" ? claims.exp * 1000 : null,
  };
}

function storeToken(text) {
  const token = text.trim().replace(/^(authorization:\s*)?bearer\s+/i, "").replace(/^(["'])(.*)\1$/, "$2");
  if (!claimsOf(token)) {
    return notAToken;
  }
  window.sessionStorage.setItem(key, token);
  return null;
}
