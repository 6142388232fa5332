// docs/: its tables and its reference are those of schema.graphql, its links lead somewhere, and its commands run.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  buildClientSchema,
  buildSchema,
  getIntrospectionQuery,
  graphqlSync,
  lexicographicSortSchema,
  printSchema,
} from 'graphql';
import { reference } from './api.mjs';
import { blocks, here } from './blocks.mjs';
import { schemaText, setting, someone } from './support.mjs';

const docs = here('../../docs');
const page = (name) => readFile(join(docs, name), 'utf8');

/** Blocks that do not run here, by what they begin with, each with its reason. */
const notRun = {
  'change.md': {
    './test': 'runs all of these tests',
    'cargo bench': 'takes minutes, and a machine of its own',
    'npm --prefix web': 'builds into the working copy; tests/it/node.rs builds the same and compares',
    '.ci/run': 'runs all of these tests',
  },
};
/** Pages that other tests hold. */
const elsewhere = { 'client.md': 'clients.test.mjs', 'observe.md': 'tests/it/observe', 'operate.md': 'tests/it' };

test('errors.md tells of every ErrorCode once, and of no other', async () => {
  const told = [...(await page('errors.md')).matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, code]) => code);
  const codes = buildSchema(schemaText()).getType('ErrorCode').getValues().map(({ name }) => name);
  assert.deepEqual(told.toSorted(), codes.toSorted());
});

test('api.md is what api.mjs makes of the schema', async () => {
  assert.equal(await page('api.md'), reference(schemaText()), 'docs/api.md is old: node tests/node/api.mjs');
});

test('every link of the pages and of the README leads to a file, and to a heading of it', async () => {
  const files = ['../README.md', ...(await readdir(docs)).filter((name) => name.endsWith('.md'))];
  for (const name of files) {
    const text = (await page(name)).replace(/^```[\s\S]*?^```$/gm, '');
    for (const [, target] of text.matchAll(/\]\((?!https?:)([^)\s]+)\)/g)) {
      const [to, anchor] = target.split('#');
      const path = to ? join(docs, name, '..', to) : join(docs, name);
      await assert.doesNotReject(access(path), `${name} links to ${target}`);
      if (anchor) assert.ok(anchors(await readFile(path, 'utf8')).includes(anchor), `${name} links to ${target}`);
    }
  }
});

// What tools that download a schema ask for, each by its own choice of what newer servers tell.
const everything = {
  descriptions: true,
  directiveIsRepeatable: true,
  experimentalDirectiveDeprecation: true,
  inputValueDeprecation: true,
  oneOf: true,
  schemaDescription: true,
  specifiedByUrl: true,
};
const downloads = {
  "graphql-js' own": {},
  'without descriptions': { descriptions: false },
  ...Object.fromEntries(Object.keys(everything).map((option) => [`with ${option}`, { [option]: true }])),
  'with all of these': everything,
};
for (const [which, options] of Object.entries(downloads)) {
  test(`the schema can be downloaded by introspection, ${which}`, async () => {
    const ann = await someone('ann');
    const source = getIntrospectionQuery(options);
    const downloaded = buildClientSchema(await ann.ask(source));
    downloaded.description = undefined; // one sentence of async-graphql's, which is not in schema.graphql
    const contract = buildClientSchema(graphqlSync({ schema: buildSchema(schemaText()), source }).data);
    assert.ok(sorted(downloaded) === sorted(contract), sorted(downloaded));
  });
}

test('every command of the pages runs, or has a reason why not', { timeout: 120_000 }, async (t) => {
  const pages = (await readdir(docs)).filter((name) => name.endsWith('.md') && !(name in elsewhere));
  for (const name of pages) {
    const commands = (await blocks(name)).filter(({ language }) => ['sh', 'bash', 'console'].includes(language));
    const reasons = Object.keys(notRun[name] ?? {});
    const isSkipped = (line) => reasons.some((start) => line.startsWith(start));
    const skipped = ({ source }) => source.trim().split('\n').every(isSkipped);
    for (const reason of reasons) {
      assert.ok(commands.some(({ source }) => source.includes(reason)), `nothing in ${name} begins with ${reason}`);
    }
    const run = commands.filter((block) => !skipped(block));
    if (run.length > 0) await t.test(name, () => runAll(t, run));
  }
});

/**
 * The blocks of a page in one shell, in their order. Those that are servers have a terminal of their own, which knows only what the
 * blocks that set things up (`export …`) do anew in it, and run until the next server, or the end.
 */
async function runAll(t, commands) {
  const folder = await mkdtemp(join(tmpdir(), 'directmessages-docs-'));
  t.after(() => rm(folder, { recursive: true }));
  // The program that cargo has built already; the demo takes its port by a flag only.
  const cargo = `#!/bin/sh\n[ "$1" = run ] || { echo "only cargo run is known here" >&2; exit 1; }\nshift\n[ "$1" != -q ] || shift\n[ "$1" = -- ] && shift\n[ "$1" != dev ] || set -- "$@" --port "\${LISTEN#*:}"\nexec "$PROGRAM" "$@"\n`;
  await writeFile(join(folder, 'cargo'), cargo);
  await chmod(join(folder, 'cargo'), 0o755);
  const port = await freePort();
  await writeFile(join(folder, 'setup.sh'), '');
  const script = commands.map(({ name, source }) =>
    name === 'server'
      ? `stop\nenv -u JWT_SECRET bash -euc '. ./setup.sh; exec ${source.trim()}' >>served 2>&1 &\nserved=$!\nuntil curl -sf "$SERVER_URL/health/ready" >/dev/null; do kill -0 $served; sleep 0.1; done\n`
      : /^export /m.test(source)
        ? `cat >setup.sh <<'SETUP'\n${source}SETUP\n. ./setup.sh`
        : source,
  );
  const stop = 'served=\nstop() { [ -z "$served" ] || { kill $served; wait $served || true; served=; }; }\ntrap stop EXIT\n';
  await writeFile(join(folder, 'all.sh'), stop + script.join('\n'));
  const child = spawn('sh', ['-c', 'exec 3<&0; (cat <&3 >/dev/null; kill -9 0) & exec bash -euo pipefail all.sh 3<&- </dev/null'], {
    cwd: folder,
    detached: true,
    env: {
      PATH: `${folder}:${process.env.PATH}`,
      PROGRAM: setting('PROGRAM'),
      LISTEN: `127.0.0.1:${port}`,
      SERVER_URL: `http://127.0.0.1:${port}`,
      REPOSITORY: here('../..'),
    },
  });
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (printed += text));
  const closed = once(child, 'close');
  const [code] = await once(child, 'exit');
  child.stdin.end();
  await closed;
  assert.equal(code, 0, printed);
  assert.ok(!printed.includes('"errors"'), printed);
}

const sorted = (schema) => printSchema(lexicographicSortSchema(schema));

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** The anchors that GitHub gives the headings of a page. */
function anchors(text) {
  const headings = text.replace(/^```[\s\S]*?^```$/gm, '').matchAll(/^#+ (.*)$/gm);
  return [...headings].map(([, heading]) =>
    heading.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-'),
  );
}
