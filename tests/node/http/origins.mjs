// CORS: tests/it allows two origins by --allowed-origins; every other gets nothing.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { someone } from '../support.mjs';
import { ask, assertRefused, fetchUrl, listed, send } from './raw.mjs';

const ALLOWED = ['https://app.example', 'https://other.example:8443'];
const STRANGE = [
  'https://evil.example',
  'http://app.example',
  'https://app.example:444',
  'https://app.example.evil.example',
  'https://notapp.example',
  'null',
];

const preflight = (origin, headers = {}) =>
  send('OPTIONS', '/graphql', {
    headers: {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type,x-act-as',
      ...headers,
    },
  });

describe('a preflight', () => {
  for (const origin of ALLOWED) {
    test(`from an allowed origin is granted: ${origin}`, async () => {
      const response = await preflight(origin);
      assert.ok([200, 204].includes(response.status), `${response.status}`);
      assert.equal(response.text, '');
      assert.equal(response.headers['access-control-allow-origin'], origin);
      const methods = listed(response, 'access-control-allow-methods');
      for (const method of ['get', 'post']) assert.ok(methods.includes(method), `${methods}`);
      const headers = listed(response, 'access-control-allow-headers');
      for (const header of ['authorization', 'content-type', 'x-act-as']) {
        assert.ok(headers.includes(header), `${header} is not in ${headers}`);
      }
      assert.ok(listed(response, 'vary').includes('origin'), response.headers.vary);
    });
  }

  test('from an allowed origin grants the headers that a client adds of its own', async () => {
    const name = 'apollographql-client-name';
    const response = await preflight(ALLOWED[0], { 'access-control-request-headers': name });
    const headers = listed(response, 'access-control-allow-headers');
    assert.ok(headers.includes(name), `${headers}`);
  });

  for (const origin of STRANGE) {
    test(`from any other is granted nothing: ${origin}`, async () => {
      const response = await preflight(origin);
      assert.ok(response.status < 500);
      assert.equal(response.headers['access-control-allow-origin'], undefined);
    });
  }
});

describe('an answer', () => {
  test('is readable by a page of an allowed origin, with the headers that it needs', async () => {
    const { token } = await someone('ann');
    const query = '{ viewer { username } }';
    for (const origin of ALLOWED) {
      for (const asked of [ask, fetchUrl]) {
        const response = await asked({ query }, { token, headers: { origin } });
        assert.equal(response.json().data.viewer.username, 'ann');
        assertReadable(response, origin);
      }
    }
  });

  test('is readable also where it refuses', async () => {
    const [origin] = ALLOWED;
    const headers = { origin };
    const refusals = [
      [400, await ask([], { headers })],
      [401, await ask({ query: '{ viewer { id } }' }, { token: 'no.such.token', headers })],
      [404, await send('GET', '/nothing', { headers })],
      [405, await send('PUT', '/graphql', { headers })],
      [406, await ask({ query: '{ __typename }' }, { headers: { origin, accept: 'text/html' } })],
      [413, await ask({ query: ' '.repeat(300_000) }, { headers })],
      [415, await send('POST', '/graphql', { headers, body: '{}' })],
    ];
    for (const [status, response] of refusals) {
      assertRefused(response, status, status === 401 ? 'UNAUTHENTICATED' : 'BAD_REQUEST');
      assertReadable(response, origin);
    }
  });

  for (const origin of STRANGE) {
    test(`is not readable by a page of any other: ${origin}`, async () => {
      const response = await ask({ query: '{ __typename }' }, { headers: { origin } });
      assert.equal(response.headers['access-control-allow-origin'], undefined);
    });
  }

  test('to no page says no origin, but that it would depend on one', async () => {
    const response = await ask({ query: '{ __typename }' });
    assert.equal(response.status, 200);
    assert.equal(response.headers['access-control-allow-origin'], undefined);
    assert.ok(listed(response, 'vary').includes('origin'), response.headers.vary);
    assert.ok(listed(response, 'vary').includes('accept'), response.headers.vary);
  });
});

function assertReadable(response, origin) {
  assert.equal(response.headers['access-control-allow-origin'], origin, `${response.status}`);
  assert.ok(listed(response, 'vary').includes('origin'), response.headers.vary);
  const exposed = listed(response, 'access-control-expose-headers');
  assert.ok(exposed.includes('retry-after'), `${exposed}`);
}
