// The demo's page in real browsers: two people write to each other, leave and come back, and nothing is lost, doubled or out of order.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { browser, strangers, until, visit } from './browser.mjs';
import { enter, numbered, pair, Pane, slow } from './chat.mjs';
import { demo } from './demo.mjs';
import { mint, setting, someone } from './support.mjs';

test('two browsers write to each other, and ask nobody but the server', slow, async (t) => {
  const { ann, hers, his, annSees, benSees } = await pair(t);
  await annSees.write('Hello Ben', 'رسالة من اليمين إلى اليسار 🫖');
  await benSees.shows('first', 'Hello Ben', 'رسالة من اليمين إلى اليسار 🫖');
  await benSees.write('Two\nlines');
  await annSees.shows('Hello Ben', 'رسالة من اليمين إلى اليسار 🫖', 'Two\nlines');

  assert.ok(!hers.page.url().includes(ann.token), 'the token is gone from the address bar');
  assert.ok(hers.asked.includes('POST /graphql') && hers.asked.includes('WebSocket /graphql'));
  assert.ok(!hers.asked.some((request) => request.startsWith('GET /graphql')), 'nothing is asked by GET');
  for (const { asked, complaints } of [hers, his]) {
    assert.deepEqual(strangers(asked), []);
    assert.deepEqual(complaints, []);
  }
});

test('whoever was offline misses nothing, and what was written meanwhile is sent on return', slow, async (t) => {
  const { his, annSees, benSees } = await pair(t);
  await benSees.shows('first');
  await benSees.online.click();
  await benSees.root.getByText('Offline.').waitFor();
  const asked = his.asked.length;

  await annSees.write(...numbered('from Ann', 1, 8));
  await benSees.write(...numbered('from Ben', 1, 8));
  await benSees.shows('first', ...numbered('from Ben', 1, 8));
  assert.deepEqual((await benSees.ticks()).slice(-8), Array(8).fill('Not sent yet'));
  await benSees.root.getByText('8 messages wait here').waitFor();
  await annSees.shows('first', ...numbered('from Ann', 1, 8));
  await annSees.hasSent();
  assert.equal(his.asked.length, asked, 'an offline user asks nothing');

  await benSees.online.click();
  const all = ['first', ...numbered('from Ann', 1, 8), ...numbered('from Ben', 1, 8)];
  await annSees.shows(...all);
  await benSees.shows(...all);
  assert.deepEqual(await annSees.texts(), all, 'nothing twice');
  assert.deepEqual(await benSees.texts(), all, 'nothing twice');
  await until('all ticks are read', async () => (await benSees.ticks()).every((tick) => tick.startsWith('Read')));
  assert.deepEqual(his.complaints, []);
});

test('what waits survives a reload of the page', slow, async (t) => {
  const { his, annSees, benSees } = await pair(t);
  await benSees.online.click();
  await benSees.write('kept');
  await benSees.shows('first', 'kept');
  await his.page.reload();
  await annSees.shows('first', 'kept');
  await benSees.open('Ann');
  await benSees.shows('first', 'kept');
  assert.deepEqual(await benSees.texts(), ['first', 'kept']);
});

test('badges count what is unread, the latest stands first, and ticks tell of the reading', slow, async (t) => {
  const [ann, ben, cid] = [await someone('Ann'), await someone('Ben'), await someone('Cid')];
  await ann.send(ben, 'one');
  await cid.send(ben, 'two');
  const launched = await browser(t);
  const { panes } = await enter(launched, [ann, ben]);
  const [annSees, benSees] = panes;
  await benSees.open('Cid');
  // Ann's message was seen, since the two are open on each other at first.
  await benSees.lists('Cid', 'Ann');
  await annSees.write('two', 'three');
  await benSees.lists('Ann: 2 unread', 'Cid');
  await annSees.shows('one', 'two', 'three');
  await until('they are sent, and not read', async () => {
    const ticks = await annSees.ticks();
    return JSON.stringify(ticks.map((tick) => tick.slice(0, 4))) === '["Read","Sent","Sent"]' || ticks;
  });
  await ben.send(ann, 'from elsewhere');
  await annSees.shows('three', 'from elsewhere');
  await benSees.partner('Ann').getByText('You: from elsewhere').waitFor();
  await benSees.lists('Ann: 2 unread', 'Cid');

  await benSees.open('Ann');
  await benSees.lists('Ann', 'Cid');
  await until('they are read', async () => (await annSees.ticks()).every((tick) => /^Read \d\d:\d\d$/.test(tick)));
  assert.deepEqual(await ben.ask('{ inbox { unreadCount } }'), { inbox: { unreadCount: 0 } });
});

test('scrolling up loads older messages, and keeps the place', slow, async (t) => {
  const [ann, ben] = [await someone('Ann'), await someone('Ben')];
  const all = numbered('message', 1, 75);
  for (const text of all) {
    await ben.send(ann, text);
  }
  const launched = await browser(t);
  const { panes } = await enter(launched, [ann]);
  const [annSees] = panes;
  await annSees.open('Ben');
  await annSees.shows(...all.slice(-30));
  assert.equal((await annSees.texts()).length, 30, 'a page at first');
  // As long as all that was read is still told of, the page is drawn again and again.
  await annSees.lists('Ben');

  const oldest = annSees.messages.getByText('message 46', { exact: true });
  const place = (scroll) => oldest.evaluate((element, top) => {
    if (top) element.closest('[role=region]').scrollTop = top;
    return Math.round(element.getBoundingClientRect().top);
  }, scroll);
  const before = await place(140);
  await annSees.shows(...all.slice(-60));
  assert.equal(await place(), before, 'what was looked at stays where it is');
  await until('all are there, from the top', async () => {
    await annSees.messages.press('Home');
    const [{ length }, top] = [await annSees.texts(), await annSees.messages.evaluate((element) => element.scrollTop)];
    return (length === 75 && top === 0) || [length, top];
  });
  assert.deepEqual(await annSees.texts(), all);
  await annSees.root.getByText('The conversation begins here.').waitFor();
  await annSees.root.getByRole('button', { name: /Latest/ }).click();
  await hasFocus(annSees.messages);
  await ben.send(ann, 'and one more');
  await annSees.messages.getByText('and one more').waitFor();
  await until('the end stays in sight', () => annSees.messages.getByText('and one more').evaluate((element) => {
    const area = element.closest('[role=region]').getBoundingClientRect();
    return element.getBoundingClientRect().bottom <= area.bottom;
  }));
});

test('a refused message says why, and the next one is sent', slow, async (t) => {
  const { annSees, benSees } = await pair(t);
  await annSees.write('x'.repeat(4001), 'short');
  await benSees.shows('first', 'short');
  const refused = annSees.root.getByRole('alert');
  await refused.getByText(/Not sent: .*4,?000/).waitFor();
  await annSees.root.getByRole('button', { name: 'Remove' }).click();
  await annSees.shows('first', 'short');
  await hasFocus(annSees.messages);
});

test('somebody new is found by the id', slow, async (t) => {
  const [ann, ben] = [await someone('Ann'), await someone('Ben')];
  const { panes } = await enter(await browser(t), [ann, ben]);
  const [annSees, benSees] = panes;
  // Both panes are open on each other, though they have not written yet.
  await annSees.root.getByText('No messages yet').waitFor();
  const box = annSees.root.getByRole('textbox', { name: /somebody new/ });
  await box.fill('nobody-has-this-id');
  await box.press('Enter');
  await annSees.root.getByText(/there is no user with the id "nobody-has-this-id"/).waitFor();
  await annSees.box.press('Escape');
  await hasFocus(box);
  await box.fill(ben.id);
  await box.press('Enter');
  await annSees.write('a first word');
  await benSees.shows('a first word');
  await annSees.lists('Ben');
});

test('the keyboard is enough', slow, async (t) => {
  const { page, panes } = await (async () => {
    const [ann, ben] = [await someone('Ann'), await someone('Ben')];
    await ann.send(ben, 'hello');
    return enter(await browser(t), [ben]);
  })();
  const [benSees] = panes;
  await benSees.partner('Ann').waitFor();
  const focused = () => page.evaluate(() => {
    const element = document.activeElement;
    return element.getAttribute('aria-label') ?? element.textContent;
  });
  const tab = async () => {
    await page.keyboard.press('Tab');
    const outline = await page.evaluate(() => {
      const shown = document.activeElement.closest('.growing') ?? document.activeElement;
      return getComputedStyle(shown).outlineStyle;
    });
    assert.equal(outline, 'solid', `the focus is visible on ${await focused()}`);
    return focused();
  };
  assert.match(await tab(), /^GraphiQL, signed in as Ben/);
  assert.match(await tab(), /^Online/);
  await page.keyboard.press('Space');
  await benSees.root.getByText('Offline.').waitFor();
  await page.keyboard.press('Space');
  assert.match(await tab(), /Ann/);
  await page.keyboard.press('Enter');
  await until('the box has the focus', async () => (await focused()) === 'Message to Ann');
  await page.keyboard.type('typed');
  await page.keyboard.press('Enter');
  await benSees.shows('hello', 'typed');
  await page.keyboard.press('Shift+Tab');
  assert.equal(await focused(), 'Messages with Ann', 'the messages can be scrolled by keys');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Escape');
  await until('the focus is back in the list', async () => /Ann/.test(await focused()));
  await benSees.root.getByText('Choose a conversation.').waitFor();
});

test('what comes in is told to screen readers', slow, async (t) => {
  const { annSees, benSees } = await pair(t);
  await annSees.write('listen', 'listen');
  const told = benSees.root.getByRole('log').getByRole('paragraph');
  await until('both are told', async () => (await told.allInnerTexts()).join() === 'Ann: listen,Ann: listen');
});

test('an input method keeps its keys', slow, async (t) => {
  const { benSees } = await pair(t);
  await benSees.box.fill('half a wo');
  for (const key of ['Enter', 'Escape']) {
    await benSees.box.dispatchEvent('keydown', { key, isComposing: true });
  }
  assert.equal(await benSees.box.inputValue(), 'half a wo');
  await benSees.shows('first');
});

const phone = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true };

test('a draft waits while another user is looked at', slow, async (t) => {
  const [ann, ben] = [await someone('Ann'), await someone('Ben')];
  const { page, panes } = await enter(await browser(t), [ann, ben], phone);
  const [annSees, benSees] = panes;
  await annSees.box.fill('to be finished');
  const user = (name) => page.getByRole('group', { name: /Whose/ }).getByRole('button', { name });
  await user('Ben').click();
  assert.equal(await benSees.box.inputValue(), '');
  await user('Ann').click();
  assert.equal(await annSees.box.inputValue(), 'to be finished');
});

for (const [name, options] of Object.entries({
  light: {},
  dark: { colorScheme: 'dark' },
  'phone width': phone,
})) {
  test(`${name}: usable by the rules of axe, in every state`, slow, async (t) => {
    const [ann, ben, cid] = [await someone('Ann'), await someone('Ben'), await someone('Cid')];
    await cid.send(ann, 'hello');
    await ben.send(ann, 'unbroken'.repeat(60));
    await ann.send(ben, 'own');
    const { page, panes } = await enter(await browser(t), [ann, ben], options);
    const [annSees] = panes;
    await annSees.shows('unbroken'.repeat(60), 'own');
    await usable(page, `${name}, a conversation`);
    await annSees.online.click();
    await annSees.write('waiting');
    await annSees.root.getByText('1 message waits').waitFor();
    await usable(page, `${name}, offline`);
    await annSees.online.click();
    await annSees.hasSent();
    await annSees.write('x'.repeat(4001));
    await annSees.root.getByText(/^Not sent/).waitFor();
    await usable(page, `${name}, a refused message`);
    await page.route('**/graphql', (route) => route.abort());
    await annSees.write('waiting too');
    await annSees.root.getByText('The server does not answer.').waitFor();
    await usable(page, `${name}, the server is away`);
    await page.unrouteAll();
    await annSees.hasSent();
    if (name === 'phone width') {
      assert.equal(await page.getByRole('region', { name: 'Ben', exact: true }).count(), 0, 'one user at a time');
      await page.getByRole('button', { name: /^Back/ }).click();
      await annSees.lists('Ben', 'Cid: 1 unread');
      await usable(page, `${name}, the list`);
      const box = annSees.root.getByRole('textbox', { name: /somebody new/ });
      await box.fill('nobody-has-this-id');
      await box.press('Enter');
      await annSees.root.getByText(/there is no user/).waitFor();
      await usable(page, `${name}, a problem`);
      await page.getByRole('button', { name: /^Ben/ }).first().click();
      const benSees = new Pane(page, 'Ben');
      await benSees.shows('own', 'waiting', 'waiting too');
    }
    await page.goto(`${setting('SERVER_URL')}/#token=${mint('someone', { validFor: -60 })}`);
    await page.getByRole('alert').waitFor();
    await usable(page, `${name}, signed out`);
    await page.evaluate(() => window.sessionStorage.clear());
    await page.goto(setting('SERVER_URL'));
    await page.getByText('Nobody is signed in here').waitFor();
    await usable(page, `${name}, nobody`);
  });
}

test('the link that dev prints shows Ann and Ben, and nothing is lost while the server restarts', slow, async (t) => {
  const { origin, start, stop, run } = await demo(t);
  const printed = await start();
  const [first] = printed.match(/http:\S+/g);
  assert.ok(first.startsWith(`${origin}/#token=`), 'the link to the page comes first');
  const { page, asked, complaints } = await visit(await browser(t), origin);
  await page.goto(first);
  const [annSees, benSees] = [new Pane(page, 'Ann'), new Pane(page, 'Ben')];
  await benSees.shows('Any news of the pole?');
  await annSees.lists('Chloé: 2 unread', 'Ben', 'Emeka: 2 unread', 'Daniel: 1 unread');
  assert.match(await page.locator('.day').last().innerText(), /^(Today|Yesterday)$/);
  assert.equal(new Set(await annSees.root.locator('.day').allInnerTexts()).size, await annSees.root.locator('.day').count());

  await annSees.write('before');
  await benSees.shows('before');
  await stop();
  await annSees.root.getByText('The server does not answer.').waitFor();
  await annSees.write(...numbered('while it is away', 1, 3));
  await benSees.write('from Ben, too');
  // To leave while there is no server is nothing to complain of.
  for (const words of ['Offline.', 'The server does not answer.']) {
    await annSees.online.click();
    await annSees.root.getByText(words).waitFor();
  }
  await start();
  await Promise.all([annSees.hasSent(), benSees.hasSent()]);
  assert.deepEqual(complaints.filter((complaint) => !/^(Failed to load resource|WebSocket connection to)/.test(complaint)), []);
  const after = async (pane) => {
    const texts = await pane.texts();
    return texts.slice(texts.indexOf('before') + 1);
  };
  await until('both see the same', async () => JSON.stringify(await after(annSees)) === JSON.stringify(await after(benSees)));
  const told = await after(annSees);
  assert.deepEqual(told.filter((text) => text !== 'from Ben, too'), numbered('while it is away', 1, 3));
  assert.equal(told.length, 4);

  // A restored backup makes every cursor expire: the lists are fetched again.
  await benSees.online.click();
  await annSees.write('before the backup');
  await annSees.hasSent();
  await stop();
  run('restored');
  await start();
  await benSees.online.click();
  await benSees.shows('before the backup');
  await benSees.write('after the backup');
  await annSees.shows('before the backup', 'after the backup');
  assert.equal((await benSees.texts()).filter((text) => text === 'before the backup').length, 1);
  assert.deepEqual(strangers(asked), []);

  const href = await annSees.root.getByRole('link', { name: /GraphiQL/ }).getAttribute('href');
  await page.goto(origin + href);
  await page.getByText('Signed in as Ann').waitFor();
  await page.getByRole('tab', { name: 'MessageRead' }).waitFor();
});

test('a token that is missing, expired or not believed: the page says what to do', slow, async (t) => {
  const launched = await browser(t);
  const { page } = await visit(launched, setting('SERVER_URL'));
  await page.goto(setting('SERVER_URL'));
  await page.getByText('Nobody is signed in here').waitFor();
  const advice = page.getByRole('alert').filter({ hasText: 'Run directmessages dev again' });
  const forged = `${mint('mallory', { username: 'Mallory' }).slice(0, -6)}AAAAAA`;
  for (const token of [mint('late', { username: 'Late', validFor: -60 }), forged]) {
    await page.goto(`${setting('SERVER_URL')}/#token=${token}`);
    await advice.waitFor();
    await page.goto('about:blank');
  }
});

test('a token that ends while the page is open: the page says what to do', slow, async (t) => {
  const [ann, ben] = [await someone('Ann'), await someone('Ben')];
  await ben.send(ann, 'hello');
  const launched = await browser(t);
  ann.token = mint(ann.id, { username: 'Ann', validFor: 6 });
  const { panes } = await enter(launched, [ann]);
  await panes[0].lists('Ben: 1 unread');
  assert.equal(await panes[0].root.getByRole('alert').count(), 0);
  await panes[0].root.getByRole('alert').filter({ hasText: 'Run directmessages dev again' }).waitFor();
  assert.ok(await panes[0].online.isDisabled());
});

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const hasFocus = (control) =>
  until('it has the focus', () => control.evaluate((element) => element === document.activeElement || document.activeElement.outerHTML.slice(0, 200)));

/** Nothing that axe finds fault with, and nothing that has to be scrolled to sideways. */
async function usable(page, state) {
  await page.evaluate(axe);
  const violations = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document);
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join('\n')}`);
  });
  assert.deepEqual(violations, [], state);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(overflow, 0, `${state}: nothing sticks out`);
}
