import { render } from "preact";
import { Account } from "./account.ts";
import { App } from "./app.tsx";
import "./style.css";
import { signedIn, tokensIn } from "./tokens.ts";

const accounts = signedIn().map((identity, place) => new Account(identity, place));
accounts.forEach((account, place) => {
  // Two who look at the page are there to write to each other.
  const other = accounts[place === 0 ? 1 : 0];
  if (other && other.identity.id !== account.identity.id) {
    account.open(other.identity.id);
  }
  account.goOnline();
});

// One load of the page is one set of users, so that nothing of one user stays for the next.
window.addEventListener("hashchange", () => {
  if (tokensIn(window.location.hash).length > 0) {
    window.location.reload();
  }
});

render(<App accounts={accounts} />, document.getElementById("root")!);
