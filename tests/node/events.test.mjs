// The real graphql-sse client, in its distinct connections mode: signals in order, resumed with a fresh token, refusals
// without a retry, and comments that it does not stumble over.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient } from 'graphql-sse';
import { mint, setting, someone } from './support.mjs';

const patience = { timeout: 20_000 };

const sent = `subscription ($after: String, $partnerId: ID) {
  messageSent(after: $after, partnerId: $partnerId) { cursor message { content } inbox { unreadCount } }
}`;
const read = 'subscription ($after: String) { messageRead(after: $after) { message { content } } }';

test('ann hears what ben sends, in order', patience, async (t) => {
  const [ann, ben] = [await someone('ann'), await someone('ben')];
  const signals = client(t, ann).iterate({ query: sent, variables: { after: await cursorOf(ann) } });
  for (const content of ['one', 'two', 'three']) await ben.send(ann, content);
  const heard = await take(signals, 3, 'messageSent');
  assert.deepEqual(heard.map(({ message }) => message.content), ['one', 'two', 'three']);
  assert.equal(heard.at(-1).inbox.unreadCount, 3);
});

test('when the token ends, the client brings a fresh one and goes on from its cursor', patience, async (t) => {
  const [ann, ben] = [await someone('ann'), await someone('ben')];
  const tokens = [mint(ann.id, { validFor: 2 }), ann.token];
  const renewing = client(t, ann, {
    headers: async () => ({ authorization: `Bearer ${tokens.shift()}` }),
    retryAttempts: 1,
    // Ann is away: what comes now is told when she is back.
    retry: () => ben.send(ann, 'meanwhile'),
  });
  const variables = { after: await cursorOf(ann) };
  const signals = renewing.iterate({ query: sent, variables });
  await ben.send(ann, 'before');
  const [before] = await take(signals, 1, 'messageSent');
  variables.after = before.cursor;
  const [meanwhile] = await take(signals, 1, 'messageSent');
  assert.deepEqual([before, meanwhile].map(({ message }) => message.content), ['before', 'meanwhile']);
  assert.deepEqual(tokens, [], 'headers is asked again');
});

test('Last-Event-ID wins over after', patience, async (t) => {
  const [ann, ben] = [await someone('ann'), await someone('ben')];
  const after = await cursorOf(ann);
  await ben.send(ann, 'one');
  const last = await cursorOf(ann);
  await ben.send(ann, 'two');
  const headers = { authorization: `Bearer ${ann.token}`, 'last-event-id': last };
  const [heard] = await take(client(t, ann, { headers }).iterate({ query: sent, variables: { after } }), 1, 'messageSent');
  assert.equal(heard.message.content, 'two');
});

test('a subscription that is refused is over, and is not tried again', patience, async (t) => {
  const ann = await someone('ann');
  let connections = 0;
  const eager = client(t, ann, { retryAttempts: 5, retry: async () => {}, on: { connecting: () => connections++ } });
  const all = async (query, variables) => {
    const results = [];
    for await (const result of eager.iterate({ query, variables })) results.push(result);
    return results;
  };
  for (const [variables, code] of [
    [{ after: 'not a cursor' }, 'BAD_USER_INPUT'],
    [{ partnerId: 'nobody' }, 'USER_NOT_FOUND'],
  ]) {
    connections = 0;
    const results = await all(sent, variables);
    assert.deepEqual(results.map(({ errors }) => errors.map(codeOf)), [[code]]);
    assert.equal(connections, 1);
  }
  connections = 0;
  const [{ errors }] = await all('{ nothing }');
  assert.deepEqual(errors.map(codeOf), ['GRAPHQL_VALIDATION_FAILED']);
  assert.equal(connections, 1);
});

test('queries and mutations come as one result', patience, async (t) => {
  const [ann, ben] = [await someone('ann'), await someone('ben')];
  const through = client(t, ann);
  const say = 'mutation ($to: ID!) { sendMessage(input: { recipientId: $to, content: "hi" }) { message { formatted } } }';
  const signals = through.iterate({ query: say, variables: { to: ben.id } });
  assert.deepEqual((await signals.next()).value, { data: { sendMessage: { message: { formatted: 'ann: hi' } } } });
  assert.equal((await signals.next()).done, true);
});

test('a token that is not believed is a status of its own', patience, async (t) => {
  const forged = client(t, { token: `${mint('ann').slice(0, -6)}AAAAAA` });
  await assert.rejects(forged.iterate({ query: sent }).next(), ({ response }) => response.status === 401);
});

test('comments that carry progress are no events', patience, async (t) => {
  const [ann, ben] = [await someone('ann'), await someone('ben')];
  let raw = '';
  let heard = () => {};
  const quiet = client(t, ann, {
    fetchFn: async (...request) => {
      const response = await fetch(...request);
      const [own, spied] = response.body.tee();
      (async () => {
        for await (const chunk of spied) {
          raw += Buffer.from(chunk);
          heard();
        }
      })().catch(() => {});
      return new Response(own, response);
    },
  });
  const receipts = quiet.iterate({ query: read, variables: { after: await cursorOf(ann) } });
  const first = take(receipts, 1, 'messageRead');
  const message = await ben.send(ann, 'hello');
  const progress = await cursorOf(ann);
  // The position stands before what tells the streams apart.
  while (!raw.includes(`:\nid: ${progress.slice(0, 50)}`)) await new Promise((resolve) => (heard = resolve));
  await ann.read(message);
  assert.deepEqual(await first, [{ message: { content: 'hello' } }]);
});

/** A graphql-sse client that never retries unless told to, closed when its test ends. */
function client(t, person, options) {
  const opened = createClient({
    url: `${setting('SERVER_URL')}/graphql`,
    headers: { authorization: `Bearer ${person.token}` },
    retryAttempts: 0,
    ...options,
  });
  t.after(() => opened.dispose());
  return opened;
}

const codeOf = ({ extensions }) => extensions?.code;

const cursorOf = async (person) => (await person.ask('{ signalCursor }')).signalCursor;

/** The next `count` events of a field. */
async function take(stream, count, field) {
  const events = [];
  while (events.length < count) {
    const { value, done } = await stream.next();
    assert.ok(!done, `the stream ended after ${events.length} of ${count} events`);
    assert.equal(value.errors, undefined);
    events.push(value.data[field]);
  }
  return events;
}
