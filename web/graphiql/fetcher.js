import { getOperationAST, parse } from "graphql";
import { CloseCode, createClient } from "graphql-ws";

// Queries and mutations by POST, subscriptions by graphql-transport-ws, both at /graphql of the server that gave this page.
export function graphqlFetcher(token) {
  return ({ query, variables, operationName }, { headers: typed } = {}) => {
    // What is typed in the Headers editor wins: it is how another token, or X-Act-As, is tried.
    const headers = new Headers(token ? { authorization: `Bearer ${token}` } : {});
    for (const [name, value] of Object.entries(typed ?? {})) {
      headers.set(name, value);
    }
    const operation = operationOf(query, operationName);
    const request = { query, variables, operationName: operation ? operation.name?.value : operationName };
    return operation?.operation === "subscription" ? subscribe(request, headers) : post(request, headers);
  };
}

// For a moment after another tab was chosen, GraphiQL still names the operation of the tab before.
function operationOf(query, operationName) {
  try {
    const document = parse(query);
    return getOperationAST(document, operationName) ?? getOperationAST(document);
  } catch {
    // The server says better what is wrong with the document.
    return null;
  }
}

async function post(request, headers) {
  headers.set("content-type", "application/json");
  headers.set("accept", "application/graphql-response+json, application/json");
  let response;
  let body;
  try {
    response = await fetch("/graphql", { method: "POST", headers, body: JSON.stringify(request), credentials: "omit" });
    body = await response.text();
  } catch (error) {
    throw problem(`${window.location.origin}/graphql does not answer: ${error.message}.`);
  }
  try {
    return JSON.parse(body);
  } catch {
    throw problem(`The answer is not JSON: ${response.status} ${response.statusText}`.trimEnd(), { body });
  }
}

// A socket for each subscription, opened when it starts and closed when it ends, so that it always carries the headers of now. It is not
// opened again by itself: a listener that goes on unseen after a break would look as if nothing had been missed.
function subscribe(request, headers) {
  const url = new URL("/graphql", window.location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return {
    subscribe(observer) {
      const client = createClient({ url: url.href, connectionParams: connectionParams(headers), retryAttempts: 0 });
      const stop = client.subscribe(request, {
        next: (result) => observer.next(result),
        error: (error) => observer.error(socketProblem(error, url)),
        complete: () => observer.complete(),
      });
      return {
        unsubscribe() {
          stop();
          // It fails where no socket could be opened, which needs no closing.
          Promise.resolve(client.dispose()).catch(() => {});
        },
      };
    },
  };
}

// A browser cannot set headers on a WebSocket; these are the ones that the server also takes from connection_init.
function connectionParams(headers) {
  const actAs = headers.get("x-act-as");
  return {
    ...(headers.has("authorization") && { authorization: headers.get("authorization") }),
    ...(actAs !== null && { actAs: decodeURIComponent(actAs) }),
  };
}

function socketProblem(error, url) {
  if (Array.isArray(error)) {
    return error;
  }
  if (!(error instanceof CloseEvent)) {
    return problem(error?.message ?? `${url.href} does not answer.`);
  }
  const reason = error.reason || (error.code === 1006 ? "the connection broke, or was never made" : CloseCode[error.code]);
  return problem(`The subscription's socket was closed: ${[error.code, reason].filter(Boolean).join(", ")}`);
}

// GraphiQL shows a plain object as it is, and an Error with the stack of this page, which helps nobody.
function problem(message, details) {
  return { message, ...details };
}
