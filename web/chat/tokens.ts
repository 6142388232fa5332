import { decoded, identityOf } from "../shared/token.ts";

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
    try {
      window.sessionStorage.setItem(key, JSON.stringify(given));
    } catch {
      // Where nothing can be kept, a reload of the page signs nobody in.
    }
    window.history.replaceState(null, "", window.location.pathname + window.location.search);
  }
  return (given.length > 0 ? given : stored()).flatMap((token) => {
    const { id, name, expiresAt = null } = identityOf(token) ?? {};
    return id ? [{ token, id, name: name ?? id, expiresAt }] : [];
  });
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
