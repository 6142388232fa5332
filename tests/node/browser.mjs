// A real browser for the suites of the embedded pages.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

/** A new browser. Nothing of it stays after the test. */
export async function browser(t) {
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
  assert.ok(existsSync(executablePath), `${executablePath} is missing: install chromium, or say by CHROMIUM where it is.`);
  const folder = await mkdtemp(join(tmpdir(), 'directmessages-browser-'));
  let launched;
  t.after(async () => {
    await launched?.close();
    await rm(folder, { recursive: true });
  });
  launched = await chromium.launch({
    executablePath,
    headless: true,
    env: { ...process.env, HOME: folder, TMPDIR: folder },
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
  return launched;
}

/**
 * A page with storage of its own. `asked` fills with its requests (those to the server `own` by method and path, all others by
 * their whole address), in order, and `complaints` with what went wrong in its scripts.
 */
export async function visit(launched, own, options = {}) {
  const context = await launched.newContext(options);
  context.setDefaultTimeout(20_000);
  const asked = [];
  const complaints = [];
  const note = (method, url) => {
    if (/^(data|blob):/.test(url)) return;
    const mine = new URL(url).host === new URL(own).host;
    asked.push(mine ? `${method} ${new URL(url).pathname}` : `${method} ${url}`);
  };
  context.on('request', (request) => note(request.method(), request.url()));
  context.on('weberror', (error) => complaints.push(error.error().message));
  context.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  const page = await context.newPage();
  page.on('websocket', (socket) => note('WebSocket', socket.url()));
  return { page, asked, complaints };
}

export const strangers = (asked) => asked.filter((request) => request.includes('://'));

/** Asks again until it holds; what it waits for is a sentence. */
export async function until(sentence, holds) {
  const end = Date.now() + 20_000;
  let seen;
  do {
    seen = await holds();
    if (seen === true) return;
    await new Promise((done) => setTimeout(done, 30));
  } while (Date.now() < end);
  assert.fail(`waited in vain until ${sentence}; last seen: ${JSON.stringify(seen)}`);
}
