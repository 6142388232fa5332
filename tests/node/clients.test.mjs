// The programs of docs/client.md, as they stand there: each asks, listens, marks as read and sends, is refused for a token that
// has ended, loses its connection and then its token, and tells of every message once.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { cacheExchange, Client, fetchExchange, gql } from '@urql/core';
import { blocks, folderOf, here } from './blocks.mjs';
import { mint, post, setting, someone } from './support.mjs';

const patience = { timeout: 60_000 };
/** Seconds: enough for what a client does between two of them, and little to wait for. */
const SHORT = 4;

const programs = {
  'apollo.mjs': [process.execPath],
  'urql.mjs': [process.execPath],
  'graphql-request.mjs': [process.execPath],
  'relay.mjs': [process.execPath],
  'client.py': [here('../python/.venv/bin/python')],
  'curl.sh': ['bash'],
};

for (const [name, command] of Object.entries(programs)) {
  test(`${name} tells of every message once, over a cut connection and an ended token`, patience, async (t) => {
    const [ann, ben] = [await someone('ann'), await someone('ben')];
    for (const content of ['before one', 'before two']) await ben.send(ann, content);
    const [network, tokens] = [await wire(t), await tokensOf(t, ann)];
    const folder = await folderOf(t, 'client.md');
    if (name === 'relay.mjs') await compileRelay(folder);
    const environment = { SERVER_URL: network.url, TOKEN_URL: tokens.url, PARTNER: ben.id };
    const client = run(t, folder, [...command, name], environment);

    await client.says('2 unread, 2 messages');
    await client.says('2 read');
    await client.says('ann: Hello');
    assert.ok(tokens.asked >= 2, 'the first token, which had ended, was refused, and another asked for');

    await ben.send(ann, 'one');
    await client.says('ben: one');
    network.cut();
    await ben.send(ann, 'two');
    await ben.send(ann, 'three');
    network.mend();
    await client.says('ben: three');

    // Nothing else asks for tokens now: the socket's own has ended.
    await tokens.askedFor(tokens.asked + 1);
    tokens.validFor = 3600;
    await ben.send(ann, 'four');
    await client.says('ben: four');
    await ben.send(ann, 'marker');
    await client.says('ben: marker');
    const heard = client.lines.filter((line) => line.includes(':'));
    const contents = ['ann: Hello', ...['one', 'two', 'three', 'four', 'marker'].map((content) => `ben: ${content}`)];
    assert.deepEqual(heard, contents);
    const { conversation } = await ann.ask(
      'query ($id: ID!) { conversation(partnerId: $id) { nodes { content clientMessageId } } }',
      { id: ben.id },
    );
    const hello = conversation.nodes.filter(({ content }) => content === 'Hello');
    assert.equal(hello.length, 1);
    assert.match(hello[0].clientMessageId, /^[0-9a-f-]{36}$/);
  });
}

test('every program of the page is run, or is part of one that is', async () => {
  const named = (await blocks('client.md')).flatMap(({ name }) => name ?? []);
  const parts = ['tokens.mjs', 'session.mjs', 'socket.mjs', 'relay.config.json', 'relay.sh', 'documents.js', 'client.graphql', 'client.rs'];
  assert.deepEqual(named.toSorted(), [...Object.keys(programs), ...parts].toSorted());
});

test('tokens.mjs gives tokens that the server believes', patience, async (t) => {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  const environment = { JWT_SECRET: setting('JWT_SECRET'), PORT: String(port) };
  run(t, await folderOf(t, 'client.md'), [process.execPath, 'tokens.mjs'], environment);
  const token = await until(() => fetch(`http://127.0.0.1:${port}/?user=dora`).then((response) => response.text()));
  const { answer } = await post('{ viewer { id username } }', { token });
  assert.deepEqual(answer, { data: { viewer: { id: 'dora', username: 'dora' } } });
});

test('urql with its own defaults sends markRead by GET and is refused; with preferGetMethod: false it marks', async () => {
  const [ann, ben] = [await someone('ann'), await someone('ben')];
  await ben.send(ann, 'hello');
  const page = gql`query ($id: ID!) {
    conversation(partnerId: $id, markRead: true) { nodes { unread } }
  }`;
  const ask = (options) =>
    new Client({
      url: `${setting('SERVER_URL')}/graphql`,
      exchanges: [cacheExchange, fetchExchange],
      fetchOptions: { headers: { authorization: `Bearer ${ann.token}` } },
      ...options,
    }).query(page, { id: ben.id }, { requestPolicy: 'network-only' });
  const { error } = await ask({});
  assert.deepEqual(error.graphQLErrors.map(({ extensions }) => extensions.code), ['SIDE_EFFECT_REQUIRES_POST']);
  const { data } = await ask({ preferGetMethod: false });
  assert.deepEqual(data.conversation.nodes.map(({ unread }) => unread), [false]);
});

async function compileRelay(folder) {
  await copyFile(setting('SCHEMA'), join(folder, 'schema.graphql'));
  await promisify(execFile)('sh', ['-e', 'relay.sh'], { cwd: folder });
}

/** A program in a group of its own, which ends with its test, or with this process. */
function run(t, cwd, command, environment) {
  const script = 'exec 3<&0; (cat <&3 >/dev/null; kill -9 0) & exec "$@" 3<&- </dev/null';
  const child = spawn('sh', ['-c', script, 'sh', ...command], {
    cwd,
    detached: true,
    env: { PATH: process.env.PATH, PYTHONDONTWRITEBYTECODE: '1', ...environment },
  });
  const ended = once(child, 'close');
  t.after(() => {
    child.stdin.end();
    return ended;
  });
  const lines = [];
  let complaints = '';
  const listeners = new Set();
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line);
    for (const listener of listeners) listener();
  });
  child.stderr.on('data', (text) => (complaints += text));
  return {
    lines,
    /** Waits until this line was printed. */
    says: (line) =>
      new Promise((resolve, reject) => {
        const listener = () => lines.includes(line) && resolve();
        listeners.add(listener);
        listener();
        const told = () => new Error(`${command.at(-1)} did not say ${line}, but\n${lines.join('\n')}\n${complaints}`);
        child.on('exit', () => reject(told()));
        t.signal.addEventListener('abort', () => reject(told()));
      }),
  };
}

/** The server behind a connection that can be cut. */
async function wire(t) {
  const { hostname, port } = new URL(setting('SERVER_URL'));
  const open = new Set();
  let whole = true;
  const server = createServer((near) => {
    if (!whole) return near.destroy();
    const far = connect(port, hostname);
    near.pipe(far).pipe(near);
    for (const [one, other] of [[near, far], [far, near]]) {
      open.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => open.delete(one) && other.destroy());
    }
  });
  const cut = () => {
    whole = false;
    for (const socket of open) socket.destroy();
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    cut();
    server.close();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, cut, mend: () => (whole = true) };
}

/** The application's address for tokens: the first one has ended, and those after it live for a few seconds. */
async function tokensOf(t, { id, username }) {
  const listeners = new Set();
  const server = createHttpServer((request, response) => {
    tokens.asked += 1;
    response.end(mint(id, { username, validFor: tokens.asked === 1 ? -3600 : tokens.validFor }));
    for (const listener of listeners) listener();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const tokens = {
    url: `http://127.0.0.1:${server.address().port}/`,
    asked: 0,
    validFor: SHORT,
    askedFor: (count) =>
      new Promise((resolve, reject) => {
        const listener = () => tokens.asked >= count && resolve();
        listeners.add(listener);
        listener();
        t.signal.addEventListener('abort', () => reject(new Error(`no token was asked for after ${tokens.asked}`)));
      }),
  };
  return tokens;
}

/** What a thing gives that may fail at first, while it starts. */
async function until(thing) {
  for (;;) {
    try {
      return await thing();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
