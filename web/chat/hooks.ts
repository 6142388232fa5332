import { useEffect, useLayoutEffect, useReducer, useState } from "preact/hooks";
import type { Account, AccountState } from "./account.ts";

export function useAccount(account: Account): AccountState {
  const [, redraw] = useReducer((count: number, _: void) => count + 1, 0);
  // Before anything else can happen: a change between the first drawing and an effect after it would never be shown.
  useLayoutEffect(() => account.watch(() => redraw()), [account]);
  return account.state;
}

export function useMedia(query: string): boolean {
  const [media] = useState(() => window.matchMedia(query));
  const [matches, setMatches] = useState(media.matches);
  useEffect(() => {
    const note = () => setMatches(media.matches);
    media.addEventListener("change", note);
    return () => media.removeEventListener("change", note);
  }, [media]);
  return matches;
}
