// The demo's page where the network, or the server, does not do as it should: nothing is lost, doubled or kept from its user.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, until } from './browser.mjs';
import { enter, numbered, pair, slow } from './chat.mjs';
import { someone } from './support.mjs';

test('a socket that dies without a word is noticed', slow, async (t) => {
  const sockets = [];
  const { annSees, benSees } = await pair(t, { prepare: holding(sockets) });
  await annSees.write('second');
  await benSees.shows('first', 'second');
  sockets[0].isHeld = true;
  await annSees.write('third');
  await benSees.shows('first', 'second', 'third');
  assert.deepEqual([sockets.length, sockets[0].held.length > 0], [2, true]);
});

test('a network that is back is used at once', slow, async (t) => {
  const sockets = [];
  const { annSees, benSees, his } = await pair(t, { prepare: holding(sockets) });
  await benSees.shows('first');
  sockets[0].isHeld = true;
  await annSees.write('second');
  await until('it is on its way', () => sockets[0].held.some((message) => message.includes('second')));
  const before = Date.now();
  await his.page.evaluate(() => window.dispatchEvent(new Event('online')));
  await benSees.shows('first', 'second');
  assert.ok(Date.now() - before < 8_000, 'before a ping would have told');
});

test('a request without an answer is asked again, and ends with the connection', slow, async (t) => {
  const { annSees, benSees, his } = await pair(t);
  await first(his.page, 'SendMessage', () => {});
  await benSees.write('one', 'two');
  await annSees.shows('first', 'one', 'two');
  assert.deepEqual(await annSees.texts(), ['first', 'one', 'two']);

  await his.page.unrouteAll();
  await first(his.page, 'SendMessage', () => {});
  const hanging = his.page.waitForRequest(isOf('SendMessage'));
  await benSees.write('three');
  const [request, failed] = [await hanging, his.page.waitForEvent('requestfailed')];
  await benSees.online.click();
  assert.equal(await failed, request);
});

for (const [name, between] of [['at once', async () => {}], ['after a reload', (page) => page.reload()]]) {
  test(`a message whose answer got lost is sent again ${name}, and stands there once`, slow, async (t) => {
    const sockets = [];
    const { annSees, benSees, his } = await pair(t, { prepare: holding(sockets) });
    await benSees.shows('first');
    sockets[0].isHeld = true;
    // Only the answer and the event: the server has stored it.
    const stored = new Promise((done) => {
      void first(his.page, 'SendMessage', async (route) => {
        await route.fetch();
        done();
        // The page may be gone already.
        await route.abort().catch(() => {});
      });
    });
    await benSees.write('once');
    await stored;
    await between(his.page);
    if (!(await benSees.box.isVisible())) await benSees.open('Ann');
    await benSees.hasSent();
    sockets.at(-1).release();
    await benSees.write('marker');
    for (const pane of [annSees, benSees]) {
      await pane.shows('first', 'once', 'marker');
      assert.deepEqual(await pane.texts(), ['first', 'once', 'marker']);
    }
  });
}

test('a first page that is refused comes with the next message, and the refusal goes', slow, async (t) => {
  const [ann, ben] = [await someone('Ann'), await someone('Ben')];
  await ann.send(ben, 'first');
  const prepare = (page) => first(page, 'Conversation', refuse('INTERNAL', 'It broke.'));
  const { panes, page } = await enter(await browser(t), [ben], { prepare });
  const [benSees] = panes;
  await benSees.partner('Ann').click();
  await page.getByText('It broke.').waitFor();
  await ann.send(ben, 'second');
  await benSees.shows('first', 'second');
  await page.getByText('It broke.').waitFor({ state: 'detached' });
});

test('refused lists are said, and asked for again', slow, async (t) => {
  const [ann, ben] = [await someone('Ann'), await someone('Ben')];
  await ann.send(ben, 'first');
  const prepare = (page) => first(page, 'Start', refuse('INTERNAL', 'It broke.'));
  const { panes, page } = await enter(await browser(t), [ben], { prepare });
  await page.getByText('It broke.').waitFor();
  await panes[0].lists('Ann: 1 unread');
  await page.getByText('It broke.').waitFor({ state: 'detached' });
});

test('what is still waited for is said', slow, async (t) => {
  const { annSees, benSees, his } = await pair(t);
  await first(his.page, 'SendMessage', refuse('RATE_LIMITED', 'Too many requests.', { retryAfter: 1 }));
  await benSees.write('second');
  await benSees.root.getByText('Too many requests. It is tried again. 1 message waits here.').waitFor();
  await annSees.shows('first', 'second');
  await benSees.root.getByText('Too many requests.').waitFor({ state: 'detached' });
});

test('an older page that is refused is asked for again by scrolling only', slow, async (t) => {
  const [ann, ben] = [await someone('Ann'), await someone('Ben')];
  const all = numbered('message', 1, 40);
  for (const text of all) await ann.send(ben, text);
  let asked = 0;
  let answer = refuse('INTERNAL', 'It broke.');
  const prepare = (page) => page.route('**/graphql', (route) => {
    const isOlder = isOf('Conversation')(route.request()) && route.request().postDataJSON().variables.after;
    return isOlder && answer ? (asked += 1, answer(route)) : route.fallback();
  });
  const { panes, page } = await enter(await browser(t), [ben], { prepare });
  const [benSees] = panes;
  await benSees.open('Ann');
  await benSees.shows('message 40');
  const scroll = (top) => benSees.messages.evaluate((element, to) => (element.scrollTop = to), top);
  await scroll(50);
  await page.getByText('It broke.').waitFor();
  // Everything that comes in draws the page anew.
  for (const text of numbered('more', 1, 3)) {
    await ann.send(ben, text);
    await benSees.shows(text);
  }
  assert.equal(asked, 1);
  answer = null;
  await scroll(49);
  await until('all is there', async () => (await benSees.texts()).length === 43);
  await page.getByText('It broke.').waitFor({ state: 'detached' });
});

test('what has not come in yet is not marked as read by what was sent on return', slow, async (t) => {
  const sockets = [];
  const { ben, annSees, benSees } = await pair(t, { prepare: holding(sockets) });
  await benSees.shows('first');
  await benSees.online.click();
  await annSees.write(...numbered('from Ann', 1, 3));
  await annSees.hasSent();
  await benSees.write('from Ben');
  sockets.holdNew = true;
  await benSees.online.click();
  await benSees.hasSent();
  const [socket] = sockets.slice(-1);
  await until('it is on its way', () => socket.held.some((message) => message.includes('from Ann 3')));
  const hasUnread = (count) => until(`${count} are unread`, async () => {
    const { inbox } = await ben.ask('{ inbox { unreadCount } }');
    return inbox.unreadCount === count || inbox;
  });
  await hasUnread(3);
  socket.bring('from Ann 1');
  await benSees.shows('first', 'from Ann 1', 'from Ben');
  await hasUnread(2);
  socket.release();
  await benSees.shows('first', ...numbered('from Ann', 1, 3), 'from Ben');
  await hasUnread(0);
});

test('what is seen is marked as read, also of a partner whom the list does not show yet', slow, async (t) => {
  const [ann, ben] = [await someone('Ann'), await someone('Ben')];
  await ben.send(ann, 'from long ago');
  for (let others = 0; others < 30; others++) await (await someone('Other')).send(ann, 'later');
  const { panes } = await enter(await browser(t), [ann, ben]);
  await panes[0].shows('from long ago');
  await until('Ben is told', async () => (await ben.ask('{ conversation(partnerId: "' + ann.id + '") { nodes { unread } } }')).conversation.nodes[0].unread === false);
  // The last button goes, and its focus is not lost.
  const more = panes[0].root.getByRole('button', { name: 'Show more' });
  await more.focus();
  await more.press('Enter');
  await until('the focus is on whom it brought', () => panes[0].partner('Ben').evaluate((button) => button === document.activeElement));
});

const isOf = (operation) => (request) => request.url().endsWith('/graphql') && request.postDataJSON()?.operationName === operation;

/** The first request of this operation is handled so, and no other. */
async function first(page, operation, handle) {
  let asked = 0;
  await page.route('**/graphql', (route) => (isOf(operation)(route.request()) && asked++ === 0 ? handle(route) : route.fallback()));
}

function refuse(code, message, extensions) {
  const body = JSON.stringify({ data: null, errors: [{ message, extensions: { code, ...extensions } }] });
  return (route) => route.fulfill({ contentType: 'application/graphql-response+json', body });
}

/** Notes the page's sockets. One that is held brings nothing, and does not say so: as where the network went away. */
function holding(sockets) {
  return (page) => page.routeWebSocket('**/graphql', (toPage) => {
    const toServer = toPage.connectToServer();
    const socket = {
      isHeld: sockets.holdNew ?? false,
      held: [],
      bring(word) {
        const brought = socket.held.filter((message) => message.includes(word));
        socket.held = socket.held.filter((message) => !message.includes(word));
        brought.forEach((message) => toPage.send(message));
      },
      release() {
        socket.isHeld = false;
        socket.bring('');
      },
    };
    sockets.push(socket);
    toServer.onMessage((message) => {
      const isForPage = !socket.isHeld || message.includes('connection_ack');
      return isForPage ? toPage.send(message) : socket.held.push(message);
    });
    toServer.onClose((code, reason) => socket.isHeld || toPage.close({ code, reason }));
  });
}
