// GraphiQL in a real browser, opened by the link that `dev` prints: signed in, working, and asking nobody but the server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, strangers, until, visit } from './browser.mjs';
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

test('every example runs as it stands, and a subscription until it is stopped', { timeout: 60_000 }, async (t) => {
  // The examples are addressed to these two.
  const [ann, ben] = [await someone('ann', 'ann'), await someone('ben', 'ben')];
  const { page, complaints } = await browse(t);
  const sockets = [];
  page.on('websocket', (socket) => sockets.push(socket));
  await page.goto(link(ann.token));
  const result = page.locator('.result-window');
  const run = async (name) => {
    await page.getByRole('tab').getByText(name, { exact: true }).click();
    await page.locator('.graphiql-execute-button').click();
  };
  const shows = async (words) => {
    await until(`${words} is shown`, async () => {
      const shown = await result.innerText();
      return words.test(shown) || shown;
    });
    assert.ok(!(await result.innerText()).includes('"errors"'));
  };
  const listens = async (name, happen) => {
    await run(name);
    // Until the server listens, too, nothing is told of what happens.
    await until(`${name} tells of it`, async () => {
      await happen();
      return (await result.innerText()).includes('"cursor"');
    });
    await shows(/"cursor"/);
    const [socket] = sockets.slice(-1);
    assert.ok(!socket.isClosed());
    await page.getByRole('button', { name: /^Stop/ }).click();
    await until('its socket is closed', () => socket.isClosed());
  };

  await run('Start');
  await shows(/"signalCursor"/);
  await run('SendMessage');
  await shows(/"sendMessage".*ann: Hello from GraphiQL/s);
  await run('Conversation');
  await shows(/"conversation".*ann: Hello from GraphiQL/s);
  await listens('MessageSent', () => ben.send(ann, 'hello'));
  await run('ReadConversation');
  await shows(/"readCount"/);
  await listens('MessageRead', async () => ben.read(await ann.send(ben, 'to be read')));
  assert.equal(sockets.length, 2, 'a socket for each subscription');
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
