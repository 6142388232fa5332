import { GraphiQL } from "graphiql";
import "graphiql/style.css";
import { createRoot } from "react-dom/client";
import { examples, newTab } from "./examples.js";
import { graphqlFetcher } from "./fetcher.js";
import { currentSession, takeTokenFromAddress } from "./session.js";
import { SessionBar } from "./session-bar.jsx";
import { storageOf } from "./storage.js";
import "./style.css";

// One load of the page is one identity: signing in, out or over loads it anew, so that nothing of one user stays for the next.
const problem = takeTokenFromAddress();
window.addEventListener("hashchange", () => {
  if (window.location.hash.startsWith("#token=")) {
    window.location.reload();
  }
});

// GraphiQL 4.1.2 offers Ctrl-K to search the documentation, but listens for ⌘-K only.
window.addEventListener("keydown", (event) => {
  const search = document.querySelector(".graphiql-doc-explorer-search input");
  if (search && event.ctrlKey && event.key === "k" && !/Mac/.test(window.navigator.platform)) {
    event.preventDefault();
    search.focus();
  }
});

const session = currentSession();

createRoot(document.getElementById("root")).render(
  <>
    <SessionBar session={session} problem={problem} />
    <GraphiQL
      fetcher={graphqlFetcher(session?.token)}
      storage={storageOf(session?.id)}
      defaultTabs={examples(session?.id)}
      defaultQuery={newTab}
      defaultEditorToolsVisibility="variables"
      shouldPersistHeaders={false}
    />
  </>,
);
