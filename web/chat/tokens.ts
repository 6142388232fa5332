import { claimsOf, decoded, textOf } from "../shared/token.ts";

/** Somebody who is signed in here, as their token says. */
export interface Identity {
  token: string;
  id: string;
  name: string;
  expiresAt: number | null;
}

// The tokens live in sessionStorage: they survive a reload, and end with the tab.
const key = "directmessages:chat:tokens";

/**
 * Who is signed in: by `/#token=…&token=…`, which is taken out of the address bar, where it could be copied or kept in the history
 * by accident; else by what an earlier load of this tab was given.
 */
export function signedIn(): Identity[] {
  const given = tokensIn(window.location.hash);
  if (given.length > 0) {
    window.sessionStorage.setItem(key, JSON.stringify(given));
    window.history.replaceState(null, "", window.location.pathname + window.location.search);
  }
  return stored().flatMap((token) => identityOf(token) ?? []);
}

export function tokensIn(hash: string): string[] {
  const pairs = hash.replace(/^#/, "").split("&");
  return pairs.filter((pair) => pair.startsWith("token=")).map((pair) => decoded(pair.slice("token=".length)));
}

function stored(): string[] {
  try {
    const tokens: unknown = JSON.parse(window.sessionStorage.getItem(key) ?? "[]");
    return Array.isArray(tokens) ? tokens.filter((token) => typeof token === "string") : [];
  } catch {
    return [];
  }
}

function identityOf(token: string): Identity | null {
  const claims = claimsOf(token);
  const id = textOf(claims?.sub);
  if (!claims || !id) {
    return null;
  }
  const name = textOf(claims.preferred_username) ?? textOf(claims.name) ?? id;
  return { token, id, name, expiresAt: typeof claims.exp === "number" ? claims.exp * 1000 : null };
}
