// GraphiQL in a real browser, opened by the link that `dev` prints: signed in, working, and asking nobody but the server.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { chromium } from 'playwright-core';
import { mint, setting, someone } from './support.mjs';

test('the page is signed in, runs its first query and asks no other server', { timeout: 60_000 }, async (t) => {
  const [ann, ben] = [await someone('ann'), await someone('ben')];
  await ben.send(ann, 'hello from ben');
  const { page, asked, complaints } = await browse(t);

  await page.goto(link(ann.token));
  await page.getByText(ann.username, { exact: true }).first().waitFor();
  await page.getByText(ann.id).first().waitFor();
  assert.ok(!page.url().includes(ann.token), 'the token is gone from the address bar');

  await page.locator('.graphiql-execute-button').click();
  const result = page.locator('.result-window');
  await result.filter({ hasText: '"viewer"' }).filter({ hasText: `"${ann.id}"` }).waitFor();
  await result.filter({ hasText: /"unreadCount":\s*1/ }).waitFor();
  assert.ok(!(await result.innerText()).includes('"errors"'));

  assert.ok(asked.has('POST /graphql'), 'the query went by POST');
  assert.deepEqual([...asked].filter((request) => request.includes('://')), []);
  assert.deepEqual(complaints, []);
});

test('without a token the page says that nobody is signed in', { timeout: 60_000 }, async (t) => {
  const { page, asked } = await browse(t);
  await page.goto(`${setting('SERVER_URL')}/graphiql`);
  await page.getByText(/not signed in/i).first().waitFor();
  assert.deepEqual([...asked].filter((request) => request.includes('://')), []);
});

test('a token of another server is shown, but gets no data', { timeout: 60_000 }, async (t) => {
  const { page } = await browse(t);
  const forged = `${mint('mallory', { username: 'mallory' }).slice(0, -6)}AAAAAA`;
  await page.goto(link(forged));
  await page.getByText('mallory', { exact: true }).first().waitFor();
  await page.locator('.graphiql-execute-button').click();
  await page.locator('.result-window').filter({ hasText: '"UNAUTHENTICATED"' }).waitFor();
});

const link = (token) => `${setting('SERVER_URL')}/graphiql#token=${token}`;

/**
 * A new browser with a page. `asked` fills with its requests (those to the server by method and path, all others by
 * their whole address), `complaints` with what went wrong in its scripts. Nothing of it stays after the test.
 */
async function browse(t) {
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
  assert.ok(existsSync(executablePath), `${executablePath} is missing: install chromium, or say by CHROMIUM where it is.`);
  const folder = await mkdtemp(join(tmpdir(), 'directmessages-browser-'));
  let context;
  t.after(async () => {
    await context?.close();
    await rm(folder, { recursive: true });
  });
  context = await chromium.launchPersistentContext(join(folder, 'profile'), {
    executablePath,
    headless: true,
    env: { ...process.env, HOME: folder },
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
  context.setDefaultTimeout(20_000);

  const asked = new Set();
  const complaints = [];
  const own = setting('SERVER_URL');
  const note = (method, url) => {
    if (/^(data|blob):/.test(url)) return;
    const mine = new URL(url).host === new URL(own).host;
    asked.add(mine ? `${method} ${new URL(url).pathname}` : `${method} ${url}`);
  };
  context.on('request', (request) => note(request.method(), request.url()));
  context.on('weberror', (error) => complaints.push(error.error().message));
  context.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  const [page] = context.pages();
  page.on('websocket', (socket) => note('WebSocket', socket.url()));
  return { page, asked, complaints };
}
