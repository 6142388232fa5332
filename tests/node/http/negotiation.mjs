// Content negotiation: what a client accepts, and what it sends.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { someone } from '../support.mjs';
import { ask, assertMediaType, assertRefused, fetchUrl, GRAPHQL, JSON_TYPE, listed, send } from './raw.mjs';

/** From an Accept header to the media type of the answer; undefined where there is none that fits. */
const accepted = [
  [undefined, JSON_TYPE],
  ['*/*', JSON_TYPE],
  ['application/*', JSON_TYPE],
  [JSON_TYPE, JSON_TYPE],
  ['APPLICATION/JSON', JSON_TYPE],
  [GRAPHQL, GRAPHQL],
  [`${GRAPHQL}; charset=utf-8`, GRAPHQL],
  [`${GRAPHQL}, application/json;q=0.9`, GRAPHQL],
  [`application/json;q=0.5, ${GRAPHQL};q=0.9`, GRAPHQL],
  [`${GRAPHQL};q=0.5, application/json;q=0.9`, JSON_TYPE],
  [`application/json ; q=0.2 , ${GRAPHQL} ; Q=0.3`, GRAPHQL],
  [`application/json;q=0.001, ${GRAPHQL};q=0`, JSON_TYPE],
  // The most specific range counts, wherever it stands.
  [`application/json;q=0.1, */*`, GRAPHQL],
  [`*/*, application/json;q=0`, GRAPHQL],
  [`${GRAPHQL};q=0, */*;q=0.1`, JSON_TYPE],
  [`application/*;q=0.9, ${GRAPHQL};q=0.1`, JSON_TYPE],
  // What browsers and common clients send.
  ['text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', JSON_TYPE],
  [`${GRAPHQL}, application/graphql+json, application/json, text/event-stream, multipart/mixed`, GRAPHQL],
  [['text/html', JSON_TYPE], JSON_TYPE],
  ['text/html', undefined],
  ['application/graphql+json', undefined],
  ['application/xml, image/*', undefined],
  ['*/*;q=0', undefined],
  ['application/*;q=0', undefined],
  ['application/json;q=0', undefined],
  [`application/json;q=0, ${GRAPHQL};q=0.0`, undefined],
  ['application/json;q=0, application/graphql-response+json;q=0.000, */*', undefined],
];

describe('the Accept header', () => {
  for (const [accept, mediaType] of accepted) {
    for (const method of ['POST', 'GET']) {
      test(`${method} with ${JSON.stringify(accept) ?? 'none'} gets ${mediaType ?? 'a 406'}`, async () => {
        const params = { query: '{ __typename }' };
        const headers = accept === undefined ? {} : { accept };
        const response = await (method === 'POST' ? ask(params, { headers }) : fetchUrl(params, { headers }));
        assert.ok(listed(response, 'vary').includes('accept'), `Vary: ${response.headers.vary}`);
        if (mediaType) {
          assert.equal(response.status, 200, response.text);
          assertMediaType(response, mediaType);
          assert.deepEqual(response.json(), { data: { __typename: 'Query' } });
        } else {
          const [{ message }] = assertRefused(response, 406, 'BAD_REQUEST');
          assert.ok(message.includes(GRAPHQL) && message.includes(JSON_TYPE), `it names what there is: ${message}`);
          assertMediaType(response, JSON_TYPE);
        }
      });
    }
  }

  test('decides nothing before what it accepts is known: a mutation that gets a 406 does not run', async () => {
    const [ann, ben] = [await someone('ann'), await someone('ben')];
    const response = await ask(message(ben), { token: ann.token, headers: { accept: 'text/html' } });
    assertRefused(response, 406, 'BAD_REQUEST');
    assert.deepEqual(await ben.ask('{ inbox { unreadCount } }'), { inbox: { unreadCount: 0 } });
  });
});

describe('the media type of an answer', () => {
  const cases = {
    'a syntax error': { query: '{' },
    'an invalid document': { query: '{ nothing }' },
    'a variable that cannot be': { query: 'query ($id: ID!) { user(id: $id) { id } }', variables: {} },
    'an operation that is not there': { query: '{ __typename }', operationName: 'Other' },
    'several operations and no name': { query: 'query A { __typename } query B { __typename }' },
    'a subscription': { query: 'subscription { messageSent { cursor } }' },
  };
  const codes = [
    'GRAPHQL_PARSE_FAILED',
    'GRAPHQL_VALIDATION_FAILED',
    'BAD_USER_INPUT',
    'BAD_REQUEST',
    'BAD_REQUEST',
    'BAD_REQUEST',
  ];
  Object.entries(cases).forEach(([name, params], index) => {
    test(`is as asked, and its status as the media type says, for ${name}`, async () => {
      for (const [accept, status] of [[GRAPHQL, 400], [JSON_TYPE, 200]]) {
        for (const asked of [ask, fetchUrl]) {
          const response = await asked(params, { headers: { accept } });
          assertRefused(response, status, codes[index]);
          assertMediaType(response, accept);
        }
      }
    });
  });

  test('is as asked where a field fails, with 200', async () => {
    const { token } = await someone('ann');
    for (const accept of [GRAPHQL, JSON_TYPE]) {
      const query = '{ viewer { username } conversation(partnerId: "nobody") { nodes { id } } }';
      const response = await ask({ query }, { token, headers: { accept } });
      assert.equal(response.status, 200);
      assertMediaType(response, accept);
      assert.deepEqual(response.json().data, { viewer: { username: 'ann' }, conversation: null });
    }
  });

  test('says UTF-8, and is it', async () => {
    const name = 'Zoë \u{1F3C3} 名前';
    const { token } = await someone(name);
    const response = await ask({ query: '{ viewer { username } }' }, { token });
    assertMediaType(response, JSON_TYPE);
    assert.equal(response.json().data.viewer.username, name);
  });

  test('is JSON with WWW-Authenticate for a token that is not believed', async () => {
    for (const accept of [GRAPHQL, JSON_TYPE]) {
      const response = await ask({ query: '{ viewer { id } }' }, { token: 'no.such.token', headers: { accept } });
      assertRefused(response, 401, 'UNAUTHENTICATED');
      assert.match(response.headers['www-authenticate'], /^Bearer/);
    }
  });
});

describe('the Content-Type header', () => {
  let ann;
  let ben;
  before(async () => {
    [ann, ben] = [await someone('ann'), await someone('ben')];
  });

  const taken = [
    'application/json',
    'application/json; charset=utf-8',
    'application/json;charset="UTF-8"',
    'Application/JSON; Charset=UTF-8',
    'application/json; charset=utf-8; profile="x;y"',
  ];
  for (const type of taken) {
    test(`is taken: ${type}`, async () => {
      const response = await ask({ query: '{ viewer { username } }' }, { token: ann.token, headers: { 'content-type': type } });
      assert.equal(response.status, 200, response.text);
      assert.equal(response.json().data.viewer.username, 'ann');
    });
  }

  const multipart = (name) =>
    ['--x', `Content-Disposition: form-data; name="${name}"`, '', JSON.stringify(message(ben)), '--x--', ''].join('\r\n');
  const refused = {
    'no type': [undefined, () => JSON.stringify(message(ben))],
    'text': ['text/plain', () => JSON.stringify(message(ben))],
    'text in UTF-8': ['text/plain;charset=UTF-8', () => JSON.stringify(message(ben))],
    'a form': ['application/x-www-form-urlencoded', () => String(new URLSearchParams(formOf(message(ben))))],
    'an upload': ['multipart/form-data; boundary=x', () => multipart('operations')],
    'the old media type': ['application/graphql', () => literal(ben)],
    'an answer’s media type': [GRAPHQL, () => JSON.stringify(message(ben))],
    'JSON in another encoding': ['application/json; charset=iso-8859-1', () => JSON.stringify(message(ben))],
    'JSON that is not alone': ['application/json-patch+json', () => JSON.stringify(message(ben))],
    'JSON and text': ['application/json, text/plain', () => JSON.stringify(message(ben))],
    'nonsense': ['json', () => JSON.stringify(message(ben))],
  };
  for (const [name, [type, body]] of Object.entries(refused)) {
    test(`is refused with 415, and nothing runs: ${name}`, async () => {
      const headers = type === undefined ? {} : { 'content-type': type };
      const response = await send('POST', '/graphql', { headers, body: body(), token: ann.token });
      const [{ message }] = assertRefused(response, 415, 'BAD_REQUEST');
      assert.ok(message.includes(JSON_TYPE), message);
      assertMediaType(response, JSON_TYPE);
      assert.deepEqual(await ben.ask('{ inbox { unreadCount } }'), { inbox: { unreadCount: 0 } });
    });
  }

  test('of a request that may run is what sends a message', async () => {
    const response = await ask(message(ben), { token: ann.token });
    assert.equal(response.status, 200);
    assert.deepEqual(await ben.ask('{ inbox { unreadCount } }'), { inbox: { unreadCount: 1 } });
  });
});

const message = (recipient) => ({
  query: 'mutation ($input: SendMessageInput!) { sendMessage(input: $input) { message { id } } }',
  variables: { input: { recipientId: recipient.id, content: 'Hello' } },
});

const literal = (recipient) =>
  `mutation { sendMessage(input: { recipientId: "${recipient.id}", content: "Hello" }) { message { id } } }`;

const formOf = ({ query, variables }) => ({ query, variables: JSON.stringify(variables) });
