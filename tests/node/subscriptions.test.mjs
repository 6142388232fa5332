// The real graphql-ws client against the server's WebSocket: signals in order, resumed after a cut, read receipts,
// refusals, and queries and mutations over the same socket.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { mint, setting, someone } from './support.mjs';

const patience = { timeout: 20_000 };

const sent = `subscription ($after: String, $partnerId: ID) {
  messageSent(after: $after, partnerId: $partnerId) {
    cursor
    message { id content sequence unread }
    sender { id username }
    recipient { id }
    conversationPartner { user { id } unreadCount }
    inbox { unreadCount }
  }
}`;

const read = `subscription ($after: String, $partnerId: ID) {
  messageRead(after: $after, partnerId: $partnerId) {
    cursor
    message { id content unread readAt }
    sender { id }
    recipient { id username }
  }
}`;

test('ann hears what ben sends, in order, with cursors that ascend as text', patience, async (t) => {
  const [ann, ben] = [await someone('ann'), await someone('ben')];
  const signals = listen(client(t, ann), sent, { after: await cursorOf(ann) });
  const contents = ['one', 'two', 'three'];
  for (const content of contents) await ben.send(ann, content);

  const heard = await take(signals, 3, 'messageSent');
  assert.deepEqual(heard.map(({ message }) => message.content), contents);
  assert.deepEqual(heard.map(({ message }) => message.sequence), [1, 2, 3]);
  assert.deepEqual(heard.map(({ cursor }) => cursor), heard.map(({ cursor }) => cursor).sort());
  assert.equal(new Set(heard.map(({ cursor }) => cursor)).size, 3);
  for (const { sender, recipient, conversationPartner } of heard) {
    assert.deepEqual(sender, { id: ben.id, username: 'ben' });
    assert.deepEqual(recipient, { id: ann.id });
    assert.deepEqual(conversationPartner.user, { id: ben.id });
  }
  const last = heard.at(-1);
  assert.deepEqual([last.inbox.unreadCount, last.conversationPartner.unreadCount], [3, 3]);
});

test('ann hears her own messages too, as her other devices do', patience, async (t) => {
  const [ann, ben] = [await someone('ann'), await someone('ben')];
  const signals = listen(client(t, ann), sent, { after: await cursorOf(ann) });
  await ann.send(ben, 'from my phone');
  const [{ message, sender }] = await take(signals, 1, 'messageSent');
  assert.deepEqual([message.content, sender.id], ['from my phone', ann.id]);
});

test('after a cut connection ann goes on from her last cursor and gets exactly what came meanwhile', patience, async (t) => {
  const [ann, ben] = [await someone('ann'), await someone('ben')];
  const first = client(t, ann);
  const socket = new Promise((resolve) => first.on('opened', resolve));
  const before = listen(first, sent, { after: await cursorOf(ann) });
  await ben.send(ann, 'before one');
  await ben.send(ann, 'before two');
  const [, { cursor }] = await take(before, 2, 'messageSent');

  (await socket).terminate();
  await assert.rejects(before.next(), { code: 1006 });
  await ben.send(ann, 'meanwhile one');
  await ann.send(ben, 'meanwhile two');

  const resumed = listen(client(t, ann), sent, { after: cursor });
  const missed = await take(resumed, 2, 'messageSent');
  assert.deepEqual(missed.map(({ message }) => message.content), ['meanwhile one', 'meanwhile two']);
  assert.ok(missed[0].cursor > cursor);
  await ben.send(ann, 'marker');
  const [next] = await take(resumed, 1, 'messageSent');
  assert.equal(next.message.content, 'marker');
});

test("the client's own reconnect misses nothing when its variables carry the newest cursor", patience, async (t) => {
  const [ann, ben] = [await someone('ann'), await someone('ben')];
  const sockets = [];
  const reconnecting = client(t, ann, {
    retryAttempts: 1,
    // The client waits here before it connects again: ben writes while ann is away.
    retryWait: () => ben.send(ann, 'meanwhile'),
    on: { opened: (socket) => sockets.push(socket) },
  });
  const variables = { after: await cursorOf(ann) };
  const signals = listen(reconnecting, sent, variables);
  await ben.send(ann, 'before');
  const [before] = await take(signals, 1, 'messageSent');
  variables.after = before.cursor;

  sockets[0].terminate();
  const [meanwhile] = await take(signals, 1, 'messageSent');
  assert.deepEqual([before, meanwhile].map(({ message }) => message.content), ['before', 'meanwhile']);
  assert.equal(sockets.length, 2);
});

test('a sender hears that the recipient has read, once for each message', patience, async (t) => {
  const [ann, ben] = [await someone('ann'), await someone('ben')];
  const [one, two] = [await ben.send(ann, 'one'), await ben.send(ann, 'two')];
  const receipts = listen(client(t, ben), read, { after: await cursorOf(ben) });
  await ann.read(one);
  await ann.read(one);
  await ann.read(two);

  const heard = await take(receipts, 2, 'messageRead');
  assert.deepEqual(heard.map(({ message }) => message.id), [one.id, two.id]);
  for (const { message, sender, recipient } of heard) {
    assert.equal(message.unread, false);
    assert.ok(Date.parse(message.readAt) > 0);
    assert.deepEqual([sender, recipient], [{ id: ben.id }, { id: ann.id, username: 'ann' }]);
  }
  assert.ok(heard[0].cursor < heard[1].cursor);
});

test('a listener for one partner hears nothing of the others', patience, async (t) => {
  const [ann, ben, cat] = [await someone('ann'), await someone('ben'), await someone('cat')];
  const signals = listen(client(t, ann), sent, { after: await cursorOf(ann), partnerId: cat.id });
  await ben.send(ann, 'from ben');
  await cat.send(ann, 'from cat');
  await ann.send(ben, 'to ben');
  await ann.send(cat, 'to cat');
  const heard = await take(signals, 2, 'messageSent');
  assert.deepEqual(heard.map(({ message }) => message.content), ['from cat', 'to cat']);
});

test("a subscription with a cursor that does not fit ends with one result of errors, and the socket's others go on", patience, async (t) => {
  const [ann, ben] = [await someone('ann'), await someone('ben')];
  const start = await cursorOf(ann);
  const others = await cursorOf(ben);
  const annsSocket = client(t, ann);
  const good = listen(annsSocket, sent, { after: start });
  await ben.send(ann, 'hello');
  const [{ cursor }] = await take(good, 1, 'messageSent');

  const messages = [];
  annsSocket.on('message', (message) => messages.push(message));
  const foreign = {
    'of another user': [sent, { after: others }],
    'of another field': [read, { after: cursor }],
    'of another filter': [sent, { after: cursor, partnerId: ben.id }],
    'that is none': [sent, { after: 'not a cursor' }],
  };
  for (const [what, [query, variables]] of Object.entries(foreign)) {
    messages.length = 0;
    const [{ data, errors }, ...more] = await toTheEnd(listen(annsSocket, query, variables));
    assert.deepEqual([data, errors.map(codeOf), more], [undefined, ['BAD_USER_INPUT'], []], `a cursor ${what}`);
    await ben.send(ann, what);
    const [{ message }] = await take(good, 1, 'messageSent');
    assert.equal(message.content, what);
    const { id } = messages.find(({ payload }) => payload?.errors);
    const received = messages.filter((each) => each.id === id).map(({ type }) => type);
    assert.deepEqual(received, ['next', 'complete'], `a cursor ${what}`);
  }
});

test('queries and mutations go over the socket as well', patience, async (t) => {
  const [ann, ben] = [await someone('ann'), await someone('ben')];
  const socket = client(t, ann);
  const say = 'mutation ($to: ID!) { sendMessage(input: { recipientId: $to, content: "hi" }) { message { formatted } } }';
  const all = (query, variables) => toTheEnd(listen(socket, query, variables));
  assert.deepEqual(await all('{ viewer { id username } }'), [{ data: { viewer: { id: ann.id, username: 'ann' } } }]);
  assert.deepEqual(await all(say, { to: ben.id }), [{ data: { sendMessage: { message: { formatted: 'ann: hi' } } } }]);
  await assert.rejects(all('{ nothing }'), { codes: ['GRAPHQL_VALIDATION_FAILED'] });

  const [{ data, errors }] = await all(say, { to: ann.id });
  assert.deepEqual(data, { sendMessage: null });
  assert.deepEqual(errors.map(({ path }) => path), [['sendMessage']]);
  assert.deepEqual(errors.map(codeOf), ['CANNOT_MESSAGE_SELF']);
});

test("the token may come in the upgrade's Authorization header", patience, async (t) => {
  const ann = await someone('ann');
  class WithHeader extends WebSocket {
    constructor(url, protocol) {
      super(url, protocol, { headers: { authorization: `Bearer ${ann.token}` } });
    }
  }
  const socket = client(t, ann, { webSocketImpl: WithHeader, connectionParams: undefined });
  const { value } = await listen(socket, '{ viewer { id } }').next();
  assert.deepEqual(value, { data: { viewer: { id: ann.id } } });
});

test('the name of the authorization in connection_init may be written in any case', patience, async (t) => {
  const ann = await someone('ann');
  const socket = client(t, ann, { connectionParams: { Authorization: `bearer ${ann.token}` } });
  const { value } = await listen(socket, '{ viewer { id } }').next();
  assert.deepEqual(value, { data: { viewer: { id: ann.id } } });
});

for (const [what, connectionParams] of Object.entries({
  'without a token': () => undefined,
  'with a token that has expired': () => ({ authorization: `Bearer ${mint('ann', { validFor: -3600 })}` }),
  'with a forged token': () => ({ authorization: `Bearer ${mint('ann').slice(0, -6)}AAAAAA` }),
})) {
  test(`a socket ${what} is closed with 4403`, patience, async (t) => {
    const socket = client(t, undefined, { connectionParams });
    await assert.rejects(listen(socket, '{ viewer { id } }').next(), { code: 4403 });
  });
}

test('a socket that asks before it has introduced itself is closed with 4401', patience, async (t) => {
  const socket = new WebSocket(endpoint(), 'graphql-transport-ws');
  t.after(() => socket.terminate());
  await once(socket, 'open');
  socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload: { query: '{ viewer { id } }' } }));
  const [code] = await once(socket, 'close');
  assert.equal(code, 4401);
});

test('when the token ends, the client brings a fresh one and goes on from its cursor', patience, async (t) => {
  const [ann, ben] = [await someone('ann'), await someone('ben')];
  const closed = [];
  const tokens = [mint(ann.id, { validFor: 2 }), ann.token];
  const renewing = client(t, ann, {
    connectionParams: async () => ({ authorization: `Bearer ${tokens.shift()}` }),
    retryAttempts: 1,
    // Ann is away: what comes now is told when she is back.
    retryWait: () => ben.send(ann, 'meanwhile'),
    on: { closed: ({ code, reason }) => closed.push({ code, reason }) },
  });
  const variables = { after: await cursorOf(ann) };
  const signals = listen(renewing, sent, variables);
  await ben.send(ann, 'before');
  const [before] = await take(signals, 1, 'messageSent');
  variables.after = before.cursor;
  const [meanwhile] = await take(signals, 1, 'messageSent');
  assert.deepEqual([before, meanwhile].map(({ message }) => message.content), ['before', 'meanwhile']);
  assert.deepEqual(closed, [{ code: 4403, reason: 'Forbidden: the token has expired' }]);
  assert.deepEqual(tokens, [], 'connectionParams is asked again');
});

test('who offers the legacy protocol too gets ours, and who offers only that hears why not', patience, async (t) => {
  const both = new WebSocket(endpoint(), ['graphql-ws', 'graphql-transport-ws']);
  t.after(() => both.terminate());
  await once(both, 'open');
  assert.equal(both.protocol, 'graphql-transport-ws');

  const legacy = new WebSocket(endpoint(), 'graphql-ws');
  t.after(() => legacy.terminate());
  const [code, reason] = await once(legacy, 'close');
  assert.equal(code, 4406);
  assert.match(String(reason), /graphql-transport-ws/);
});

test('a message that is too long is told so', patience, async (t) => {
  const socket = client(t, await someone('ann'));
  await assert.rejects(listen(socket, `{ viewer { id } } #${'x'.repeat(300_000)}`).next(), { code: 1009 });
});

const endpoint = () => `${setting('SERVER_URL').replace(/^http/, 'ws')}/graphql`;

/** A graphql-ws client that never retries unless told to, closed when its test ends. */
function client(t, person, options) {
  const opened = createClient({
    url: endpoint(),
    webSocketImpl: WebSocket,
    connectionParams: person && { authorization: `Bearer ${person.token}` },
    retryAttempts: 0,
    ...options,
  });
  t.after(() => opened.dispose());
  return opened;
}

/** The results of an operation, from now on. */
function listen(through, query, variables) {
  const results = through.iterate({ query, variables });
  return {
    next: () => results.next().catch(explain),
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** graphql-ws rejects with a close event or with a list of errors: makes of either an Error that a failed test can show. */
function explain(failure) {
  if (failure instanceof Error) throw failure;
  if (Array.isArray(failure)) throw Object.assign(new Error(JSON.stringify(failure)), { codes: failure.map(codeOf) });
  throw Object.assign(new Error(`closed with ${failure.code} ${failure.reason}`), { code: failure.code });
}

const codeOf = ({ extensions }) => extensions?.code;

const cursorOf = async (person) => (await person.ask('{ signalCursor }')).signalCursor;

/** All results of an operation that ends by itself. */
async function toTheEnd(stream) {
  const results = [];
  for await (const result of stream) results.push(result);
  return results;
}

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
