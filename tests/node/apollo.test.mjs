// Apollo Client over graphql-ws, as its documentation sets it up: signals arrive and keep its cache right, refusals are
// errors, and queries and mutations go over the same link.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApolloClient, CombinedGraphQLErrors, InMemoryCache, gql } from '@apollo/client/core';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { setting, someone } from './support.mjs';

// Apollo's link knows a broken connection by the browser's WebSocket, which Node 20 lacks.
globalThis.WebSocket ??= WebSocket;

const patience = { timeout: 20_000 };

const sent = gql`subscription ($after: String) {
  messageSent(after: $after) { cursor message { id content } inbox { id unreadCount } }
}`;
const badge = gql`{ inbox { id unreadCount } }`;

test('a signal arrives, and the badge in the cache follows it', patience, async (t) => {
  const [ann, ben] = [await someone('ann'), await someone('ben')];
  const apollo = client(t, ann);
  const counts = new Inbox(t, apollo.watchQuery({ query: badge }));
  assert.equal((await counts.next(({ data }) => data?.inbox)).data.inbox.unreadCount, 0);

  const { data } = await apollo.query({ query: gql`{ signalCursor }` });
  const signals = new Inbox(t, apollo.subscribe({ query: sent, variables: { after: data.signalCursor } }));
  await ben.send(ann, 'one');
  await ben.send(ann, 'two');
  for (const content of ['one', 'two']) {
    const signal = await signals.next();
    assert.equal(signal.error, undefined);
    assert.equal(signal.data.messageSent.message.content, content);
  }
  // The events' inbox is the node that the query holds: nothing is fetched again.
  const count = await counts.next(({ data }) => data.inbox.unreadCount === 2);
  assert.equal(count.data.inbox.unreadCount, 2);
});

test('a subscription that is refused is one error, and the end', patience, async (t) => {
  const apollo = client(t, await someone('ann'));
  const signals = new Inbox(t, apollo.subscribe({ query: sent, variables: { after: 'not a cursor' } }));
  const { error } = await signals.next();
  assert.ok(CombinedGraphQLErrors.is(error), String(error));
  assert.deepEqual(error.errors.map(({ extensions }) => extensions.code), ['BAD_USER_INPUT']);
  await signals.completed;
});

test('queries and mutations go over the link as well', patience, async (t) => {
  const [ann, ben] = [await someone('ann'), await someone('ben')];
  const apollo = client(t, ann);
  const say = gql`mutation ($to: ID!) {
    sendMessage(input: { recipientId: $to, content: "hi" }) { message { id formatted } }
  }`;
  const { data } = await apollo.mutate({ mutation: say, variables: { to: ben.id } });
  assert.equal(data.sendMessage.message.formatted, 'ann: hi');
  const failed = apollo.mutate({ mutation: say, variables: { to: ann.id } });
  await assert.rejects(failed, (error) => error.errors[0].extensions.code === 'CANNOT_MESSAGE_SELF');
});

/** What an observable emits, one after the other. */
class Inbox {
  #results = [];
  #arrived = () => {};

  constructor(t, observable) {
    this.completed = new Promise((resolve, reject) => {
      const subscription = observable.subscribe({
        next: (result) => {
          this.#results.push(result);
          this.#arrived();
        },
        error: reject,
        complete: resolve,
      });
      t.after(() => subscription.unsubscribe());
    });
  }

  /** The next result that fits. */
  async next(fits = () => true) {
    for (;;) {
      while (this.#results.length > 0) {
        const result = this.#results.shift();
        if (fits(result)) return result;
      }
      await new Promise((resolve) => (this.#arrived = resolve));
    }
  }
}

function client(t, person) {
  const socket = createClient({
    url: `${setting('SERVER_URL').replace(/^http/, 'ws')}/graphql`,
    webSocketImpl: WebSocket,
    connectionParams: () => ({ authorization: `Bearer ${person.token}` }),
    retryAttempts: 0,
  });
  const apollo = new ApolloClient({ link: new GraphQLWsLink(socket), cache: new InMemoryCache() });
  t.after(() => apollo.stop());
  t.after(() => socket.dispose());
  return apollo;
}
