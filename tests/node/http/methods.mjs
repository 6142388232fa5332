// Paths and methods: what there is, and clear answers for what there is not.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { describe, test } from 'node:test';
import { someone } from '../support.mjs';
import { ask, assertMediaType, assertRefused, fetchUrl, GRAPHQL, JSON_TYPE, listed, send } from './raw.mjs';

describe('a path', () => {
  for (const path of ['/nothing', '/graphql/more', '/graphql/', '/health', '/health/live/more', '/%ff']) {
    test(`that is not there gets a 404 as JSON: ${path}`, async () => {
      for (const method of ['GET', 'POST', 'PUT', 'DELETE']) {
        const response = await send(method, path, { headers: { accept: 'text/html' } });
        const [{ message }] = assertRefused(response, 404, 'BAD_REQUEST');
        assert.ok(message.includes('/graphql'), `it says where GraphQL is: ${message}`);
        assertMediaType(response, JSON_TYPE);
      }
    });
  }
});

describe('a method', () => {
  for (const method of ['PUT', 'PATCH', 'DELETE', 'PROPFIND']) {
    test(`that is not there gets a 405 with what there is: ${method}`, async () => {
      const response = await send(method, '/graphql', {
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ query: '{ __typename }' }),
      });
      const [{ message }] = assertRefused(response, 405, 'BAD_REQUEST');
      assert.ok(message.includes(method), message);
      assertMediaType(response, JSON_TYPE);
      assertAllows(response);
    });
  }

  test('that is not there gets a 405 at the other paths too', async () => {
    for (const path of ['/health/live', '/health/ready']) {
      const response = await send('DELETE', path);
      assertRefused(response, 405, 'BAD_REQUEST');
      assert.ok(listed(response, 'allow').includes('get'), response.headers.allow);
    }
  });

  test('OPTIONS says what there is, with no body and nothing to know beforehand', async () => {
    const response = await send('OPTIONS', '/graphql');
    assert.ok([200, 204].includes(response.status), `${response.status}`);
    assert.equal(response.text, '');
    assertAllows(response);
  });
});

describe('HEAD', () => {
  const query = '{ __typename viewer { username } }';

  test('answers as GET would, without the body', async () => {
    const { token } = await someone('ann');
    for (const accept of [GRAPHQL, JSON_TYPE]) {
      const asked = { token, headers: { accept } };
      const [head, get] = [await fetchUrl({ query }, { method: 'HEAD', ...asked }), await fetchUrl({ query }, asked)];
      assert.equal(get.json().data.viewer.username, 'ann');
      assert.equal(head.text, '');
      assert.equal(head.status, 200);
      for (const name of ['content-type', 'content-length', 'vary']) {
        assert.equal(head.headers[name], get.headers[name], name);
      }
    }
  });

  test('is refused where GET is', async () => {
    const cases = [
      [{}, {}, 400],
      [{ query: '{' }, { accept: GRAPHQL }, 400],
      [{ query }, { accept: 'text/html' }, 406],
      [{ query }, { authorization: 'Bearer no.such.token' }, 401],
    ];
    for (const [params, headers, status] of cases) {
      const [head, get] = [await fetchUrl(params, { method: 'HEAD', headers }), await fetchUrl(params, { headers })];
      assert.equal(get.status, status, get.text);
      assert.equal(head.status, status);
      assert.equal(head.text, '');
      assert.equal(head.headers['content-type'], get.headers['content-type']);
    }
  });

  test('changes nothing', async () => {
    const [ann, ben] = [await someone('ann'), await someone('ben')];
    await ben.send(ann, 'unread');
    const mark = `{ conversation(partnerId: "${ben.id}", markRead: true) { nodes { id } } }`;
    const mutation = `mutation { sendMessage(input: { recipientId: "${ben.id}", content: "x" }) { message { id } } }`;
    for (const text of [mark, mutation]) {
      const response = await fetchUrl({ query: text }, { method: 'HEAD', token: ann.token });
      assert.equal(response.status, 405);
      assert.deepEqual(listed(response, 'allow'), ['post']);
    }
    assert.deepEqual(await ann.ask('{ inbox { unreadCount } }'), { inbox: { unreadCount: 1 } });
    assert.deepEqual(await ben.ask('{ inbox { unreadCount } }'), { inbox: { unreadCount: 0 } });
  });

  test('works for health', async () => {
    for (const path of ['/health/live', '/health/ready']) {
      const response = await send('HEAD', path);
      assert.equal(response.status, 200, path);
      assert.equal(response.text, '');
    }
  });
});

test('a body goes out with its length, whatever the method is', async (t) => {
  const echo = createServer((incoming, outgoing) => incoming.pipe(outgoing));
  await new Promise((resolve) => echo.listen(0, '127.0.0.1', resolve));
  t.after(() => echo.close());
  for (const method of ['DELETE', 'GET', 'OPTIONS', 'PATCH', 'POST', 'PROPFIND', 'PUT']) {
    const { text } = await send(method, `http://127.0.0.1:${echo.address().port}/`, { body: 'é', agent: false });
    assert.equal(text, 'é', method);
  }
});

test('one connection serves one answer after another, refused or not', async () => {
  const { token } = await someone('ann');
  for (let round = 0; round < 3; round += 1) {
    assertRefused(await send('POST', '/graphql', { body: 'text' }), 415, 'BAD_REQUEST');
    assertRefused(await send('PUT', '/graphql', { body: 'text' }), 405, 'BAD_REQUEST');
    const response = await ask({ query: '{ viewer { username } }' }, { token });
    assert.equal(response.json().data.viewer.username, 'ann');
  }
});

function assertAllows(response) {
  const allowed = listed(response, 'allow');
  for (const method of ['get', 'head', 'post', 'options']) {
    assert.ok(allowed.includes(method), `${method} is not in Allow: ${response.headers.allow}`);
  }
}
