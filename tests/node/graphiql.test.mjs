// GraphiQL in a real browser, opened by the link that `dev` prints: signed in, working, and asking nobody but the server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, strangers, visit } from './browser.mjs';
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

  assert.ok(asked.includes('POST /graphql'), 'the query went by POST');
  assert.deepEqual(strangers(asked), []);
  assert.deepEqual(complaints, []);
});

test('without a token the page says that nobody is signed in', { timeout: 60_000 }, async (t) => {
  const { page, asked } = await browse(t);
  await page.goto(`${setting('SERVER_URL')}/graphiql`);
  await page.getByText(/not signed in/i).first().waitFor();
  assert.deepEqual(strangers(asked), []);
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

async function browse(t) {
  return visit(await browser(t), setting('SERVER_URL'));
}
