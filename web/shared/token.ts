/** Whom a token names, as it says itself. Only the server can tell whether that is true. */
export interface Identity {
  token: string;
  id: string | null;
  name: string | null;
  isService: boolean;
  /** In milliseconds, as the browser's clock counts; null where the token does not say. */
  expiresAt: number | null;
}

interface Claims {
  sub?: unknown;
  exp?: unknown;
  preferred_username?: unknown;
  name?: unknown;
  role?: unknown;
}

export const notAToken = "That is not a token: a JWT is three parts joined by dots, like eyJhbGciOi….eyJzdWIiOi….c2lnbmF0….";

/** Null where it is not a token. */
export function identityOf(token: string): Identity | null {
  const claims = claimsOf(token);
  if (!claims) {
    return null;
  }
  const id = textOf(claims.sub);
  return {
    token,
    id,
    name: textOf(claims.preferred_username) ?? textOf(claims.name) ?? id,
    isService: claims.role === "service",
    expiresAt: typeof claims.exp === "number" ? claims.exp * 1000 : null,
  };
}

function claimsOf(token: string): Claims | null {
  const parts = token.split(".");
  const [, payload] = parts;
  if (parts.length !== 3 || !payload || !parts.every((part) => /^[\w-]+$/.test(part))) {
    return null;
  }
  try {
    const bytes = Uint8Array.from(window.atob(payload.replace(/-/g, "+").replace(/_/g, "/")), (char) => char.charCodeAt(0));
    const claims: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof claims === "object" && claims !== null && !Array.isArray(claims) ? claims : null;
  } catch {
    return null;
  }
}

/** A claim that is a text with something in it. */
function textOf(claim: unknown): string | null {
  return typeof claim === "string" && claim !== "" ? claim : null;
}

export function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
