// The programs of docs/client.md, as they stand there: each asks, listens, marks as read and sends, is refused for a token that
// has ended, loses its connection and then its token, and tells of every message once. They are silent about no refusal, start
// again where a cursor has expired, and send no message twice.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { cacheExchange, Client, fetchExchange, gql } from '@urql/core';
import { blocks, folderOf, here } from './blocks.mjs';
import { mint, post, setting, someone } from './support.mjs';

const patience = { timeout: 150_000 };
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

describe('every client of the page', { concurrency: 3 }, () => {
for (const [name, command] of Object.entries(programs)) {
  test(`${name} tells of every message once, over a cut connection and an ended token`, patience, async (t) => {
    const [ann, ben] = [await someone('ann'), await someone('ben')];
    for (const content of ['before one', 'before two']) await ben.send(ann, content);
    const { network, tokens, client } = await start(t, name, ann, ben);

    await client.says('2 unread, 2 messages');
    await client.says('2 read');
    await client.says('ann: Hello');
    assert.ok(tokens.asked >= 2, 'the first token, which had ended, was refused, and another asked for');

    await ben.send(ann, 'one');
    await client.says('ben: one');
    tokens.failing = 1;
    network.cut();
    await ben.send(ann, 'two');
    await ben.send(ann, 'three');
    await network.refused(2);
    network.mend();
    await client.says('ben: three');

    assert.equal(tokens.failing, 0, 'a token that could not be fetched was asked for again');

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
    assert.match(hello[0].clientMessageId, /^[0-9a-f-]{32,36}$/);
  });

  test(`${name} tells of a send that is refused`, patience, async (t) => {
    const [ann, ben] = [await someone('ann'), await someone('ben')];
    const { client } = await start(t, name, ann, ben, { change: [[/(['"])Hello\1/, '$1 $1']] });
    await client.complains(/content is empty/);
  });

  test(`${name} starts again where its cursor has expired`, patience, async (t) => {
    const [ann, ben] = [await someone('ann'), await someone('ben')];
    await ben.send(ann, 'before');
    const { client } = await start(t, name, ann, ben, { restored: true });
    await client.says('2 read', '1 read', '0 read');
    await client.saysTwice(/unread, \d+ messages/);
    await ben.send(ann, 'after');
    await client.says('ben: after');
  });

  test(`${name} sends a message once, whose answer is lost`, patience, async (t) => {
    const [ann, ben] = [await someone('ann'), await someone('ben')];
    const { client, network } = await start(t, name, ann, ben, { swallow: '"Hello"' });
    await network.swallowed;
    await client.says('ann: Hello');
    await ben.send(ann, 'marker');
    await client.says('ben: marker');
    await network.answered;
    const { conversation } = await ann.ask('query ($id: ID!) { conversation(partnerId: $id) { nodes { content } } }', { id: ben.id });
    assert.deepEqual(conversation.nodes.map(({ content }) => content).toSorted(), ['Hello', 'marker']);
  });
}

for (const [name, change] of [['urql.mjs', [/45_000/, '5_000']], ['curl.sh', [/-t 45/, '-t 5']]]) {
  test(`${name} comes back from a connection that died without a word`, patience, async (t) => {
    const [ann, ben] = [await someone('ann'), await someone('ben')];
    const { client, network } = await start(t, name, ann, ben, { change: [change] });
    await client.says('ann: Hello');
    network.freeze();
    await ben.send(ann, 'meanwhile');
    await client.says('ben: meanwhile');
  });
}

test('relay.mjs shows a message once that is in the page and comes as an event too', patience, async (t) => {
  const [ann, ben] = [await someone('ann'), await someone('ben')];
  const { signalCursor } = await ann.ask('{ signalCursor }');
  await ben.send(ann, 'one');
  const change = [
    ['after: signalCursor', `after: '${signalCursor}'`],
    ['console.log(conversation().edges[0]', 'console.log(conversation().edges.length, conversation().edges[0]'],
  ];
  const { client } = await start(t, 'relay.mjs', ann, ben, { change });
  await client.says('2 ann: Hello');
  assert.deepEqual(client.lines.filter((line) => line.endsWith('ben: one')), ['1 ben: one']);
});
});

test('from nothing to a client that runs, by the commands of the page', patience, async (t) => {
  const folder = await folderOf(t, 'client.md');
  const client = join(folder, 'its-own');
  await mkdir(client);
  const parts = ['tokens.mjs', 'session.mjs', 'socket.mjs', 'urql.mjs', 'node_modules'];
  for (const part of parts) await rename(join(folder, part), join(client, part));
  const [server, tokens] = [await freePort(), await freePort()];
  const commands = Object.fromEntries(
    (await blocks('client.md')).filter(({ language }) => language === 'sh').map(({ name, source }) => [name, source]),
  );
  for (const needed of ['graphql', 'graphql-ws', 'ws', '@urql/core']) assert.ok(commands.install.split(/\s/).includes(needed));
  const shell = (cwd, name) => {
    const source = commands[name].replaceAll('8000', String(server)).replaceAll('9000', String(tokens));
    const cargo = `cargo() { [ "$*" = "run -- dev" ] && "$PROGRAM" dev --port ${server}; }`;
    return run(t, cwd, ['bash', '-c', `${cargo}\n${source}`], { PROGRAM: setting('PROGRAM'), PORT: String(tokens) });
  };
  shell(folder, 'demo');
  await until(async () => assert.ok((await fetch(`http://127.0.0.1:${server}/health/ready`)).ok));
  shell(client, 'tokens');
  await until(() => fetch(`http://127.0.0.1:${tokens}/?user=ann`));
  await shell(client, 'client').says('Ann: Hello');
});

test('every program of the page is run, or is part of one that is', async () => {
  const named = (await blocks('client.md')).flatMap(({ name }) => name ?? []);
  const parts = ['tokens.mjs', 'session.mjs', 'socket.mjs', 'relay.config.json', 'relay.sh', 'documents.js', 'client.graphql', 'client.rs'];
  parts.push('demo', 'tokens', 'install', 'client', 'codegen', 'codegen.json');
  assert.deepEqual(named.toSorted(), [...Object.keys(programs), ...parts].toSorted());
});

test('tokens.mjs gives tokens that the server believes', patience, async (t) => {
  const port = await freePort();
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

/**
 * A program of the page behind a connection of its own. `change` puts other text in the place of some, `restored` makes the first
 * cursor one from before a restored backup, and `swallow` loses the answer to what has this text.
 */
async function start(t, name, ann, ben, { change = [], restored, swallow } = {}) {
  const [network, tokens] = [await wire(t, { restored, swallow }), await tokensOf(t, ann)];
  const folder = await folderOf(t, 'client.md');
  for (const [from, to] of change) {
    const files = [name, 'socket.mjs'].map((file) => join(folder, file));
    const texts = await Promise.all(files.map((file) => readFile(file, 'utf8')));
    const changed = texts.map((text) => text.replace(from, to));
    assert.notDeepEqual(changed, texts, `${from} stands nowhere`);
    await Promise.all(files.map((file, place) => writeFile(file, changed[place])));
  }
  if (name === 'relay.mjs') await compileRelay(folder);
  const environment = { SERVER_URL: network.url, TOKEN_URL: tokens.url, PARTNER: ben.id };
  return { network, tokens, client: run(t, folder, [...programs[name], name], environment) };
}

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
  child.stderr.on('data', (text) => {
    complaints += text;
    for (const listener of listeners) listener();
  });
  const said = (what, isSo) =>
    new Promise((resolve, reject) => {
      const listener = () => isSo() && resolve();
      listeners.add(listener);
      listener();
      const told = () => new Error(`${command.at(-1)} did not say ${what}, but\n${lines.join('\n')}\n${complaints}`);
      child.on('close', () => reject(told()));
      t.signal.addEventListener('abort', () => reject(told()));
    });
  return {
    lines,
    /** Waits until one of these lines was printed. */
    says: (...wanted) => said(wanted.join(' or '), () => wanted.some((line) => lines.includes(line))),
    saysTwice: (pattern) => said(`${pattern} twice`, () => lines.filter((line) => pattern.test(line)).length >= 2),
    complains: (pattern) => said(`${pattern} as an error`, () => pattern.test(complaints)),
  };
}

/** The server behind a connection that can be cut, and frozen. */
async function wire(t, { restored, swallow } = {}) {
  const { hostname, port } = new URL(setting('SERVER_URL'));
  const open = new Set();
  let whole = true;
  let refusals = 0;
  let noticed = () => {};
  let [swallowed, answered] = [() => {}, () => {}];
  const network = {
    cut() {
      whole = false;
      refusals = 0;
      for (const socket of open) socket.destroy();
    },
    mend: () => (whole = true),
    /** Waits until so many connections were refused since the cut. */
    refused: (count) =>
      new Promise((resolve) => {
        noticed = () => refusals >= count && resolve();
        noticed();
      }),
    /** What is open now stays so, and carries nothing any more. */
    freeze() {
      for (const socket of open) socket.frozen = true;
    },
    /** The answer to what was to be swallowed was lost; and then it came, at another try. */
    swallowed: new Promise((resolve) => (swallowed = resolve)),
    answered: new Promise((resolve) => (answered = resolve)),
  };
  const server = createServer((near) => {
    if (!whole) {
      refusals += 1;
      noticed();
      return near.destroy();
    }
    const far = connect(port, hostname);
    let asked = false;
    near.on('data', (bytes) => {
      if (near.frozen) return;
      asked ||= Boolean(swallow) && bytes.includes(swallow);
      far.write(bytes);
    });
    far.on('data', (bytes) => {
      if (far.frozen) return;
      if (asked && swallow) {
        swallow = undefined;
        swallowed();
        near.destroy();
        return far.destroy();
      }
      const text = bytes.toString('latin1');
      if (text.includes('"sendMessage"')) answered();
      const other = text.replace(/("signalCursor":"dm_s..)(.)/, (_, start, next) => start + (next === '0' ? '1' : '0'));
      if (restored && other !== text) {
        restored = false;
        near.write(other, 'latin1');
      } else {
        near.write(bytes);
      }
    });
    for (const [one, other] of [[near, far], [far, near]]) {
      open.add(one);
      one.on('end', () => other.end());
      one.on('error', () => other.destroy());
      one.on('close', () => open.delete(one) && other.destroy());
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    network.cut();
    server.close();
  });
  return { ...network, url: `http://127.0.0.1:${server.address().port}` };
}

/** The application's address for tokens: the first one has ended, and those after it live for a few seconds. */
async function tokensOf(t, { id, username }) {
  const listeners = new Set();
  const server = createHttpServer((request, response) => {
    if (tokens.failing > 0) {
      tokens.failing -= 1;
      response.statusCode = 500;
      return response.end('away');
    }
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
    failing: 0,
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

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
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
