// The parameters of a request, and bodies that are none.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ask, assertMediaType, assertRefused, fetchUrl, GRAPHQL, JSON_TYPE, send } from './raw.mjs';

const QUERY = 'query Who($skip: Boolean = false) { __typename @skip(if: $skip) }';
const json = { 'content-type': 'application/json' };

/** What no parameter but itself may be; every one is refused by POST and, as text, by GET. */
const wrong = {
  query: [undefined, null, 0, false, ['{ __typename }'], { query: '{ __typename }' }],
  operationName: [0, true, ['Who'], { name: 'Who' }],
  variables: ['{}', 0, true, [], [{ skip: true }]],
  extensions: ['{}', 0, true, [], [{}]],
};

describe('a parameter of the wrong type', () => {
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values) {
      test(`is refused by POST: ${name}: ${JSON.stringify(value) ?? 'left out'}`, async () => {
        for (const accept of [JSON_TYPE, GRAPHQL]) {
          const response = await ask({ query: QUERY, [name]: value }, { headers: { accept } });
          const [{ message }] = assertRefused(response, 400, 'BAD_REQUEST');
          assert.ok(message.includes(name), `the message names the parameter: ${message}`);
        }
      });
    }
  }

  for (const [name, values] of Object.entries({
    query: [undefined],
    variables: ['"{}"', '0', 'true', '[]', '{', 'skip', "{'skip': true}"],
    extensions: ['"{}"', '0', 'true', '[]', '{', 'skip'],
  })) {
    for (const value of values) {
      test(`is refused by GET: ${name}: ${value ?? 'left out'}`, async () => {
        for (const accept of [JSON_TYPE, GRAPHQL]) {
          const response = await fetchUrl({ query: QUERY, [name]: value }, { headers: { accept } });
          const [{ message }] = assertRefused(response, 400, 'BAD_REQUEST');
          assert.ok(message.includes(name), `the message names the parameter: ${message}`);
        }
      });
    }
  }
});

describe('a parameter of the right type', () => {
  const params = [
    {},
    { operationName: null, variables: null, extensions: null },
    { operationName: 'Who', variables: {}, extensions: {} },
    { operationName: 'Who', variables: { skip: false, unknown: [1] }, extensions: { some: { thing: [null] } } },
    { unknown: true, id: '1' },
  ];
  for (const extra of params) {
    test(`is taken: ${JSON.stringify(extra)}`, async () => {
      const response = await ask({ query: QUERY, ...extra });
      assert.equal(response.status, 200, response.text);
      assert.deepEqual(response.json(), { data: { __typename: 'Query' } });
    });
  }

  test('is used, by GET as by POST', async () => {
    const query = 'query A($skip: Boolean!) { a: __typename @skip(if: $skip) b: __typename } query B { c: __typename }';
    for (const asked of [ask, fetchUrl]) {
      const first = await asked({ query, operationName: 'A', variables: { skip: true } });
      assert.deepEqual(first.json(), { data: { b: 'Query' } }, asked.name);
      const second = await asked({ query, operationName: 'B' });
      assert.deepEqual(second.json(), { data: { c: 'Query' } }, asked.name);
    }
  });

  test('in the URL is percent-encoded UTF-8, with + for a space', async () => {
    const response = await send('GET', '/graphql?query=query+N($n:String!)%7B__type(name:$n)%7Bname%7D__typename%7D'
      + `&variables=${encodeURIComponent('{"n":"Zoë \u{1F3C3}"}')}`);
    assert.deepEqual(response.json(), { data: { __type: null, __typename: 'Query' } });
  });

  test('in the URL that is not UTF-8 is refused', async () => {
    assertRefused(await send('GET', '/graphql?query=%7B__typename%7D%ff'), 400, 'BAD_REQUEST');
  });

  test('is read from the body by POST, whatever the URL says', async () => {
    const body = JSON.stringify({ query: '{ a: __typename }' });
    const response = await send('POST', '/graphql?query=%7Bb:__typename%7D', { headers: json, body });
    assert.deepEqual(response.json(), { data: { a: 'Query' } });
  });
});

describe('a body that is no request', () => {
  const text = JSON.stringify({ query: '{ __typename }' });
  const bodies = {
    'nothing': '',
    'white space': ' \n',
    'broken JSON': '{"query": "{ __typename }"',
    'JSON with something after it': `${text} ${text}`,
    'bytes that are not UTF-8': Buffer.concat([Buffer.from('{"query": "{ __typename } # '), Buffer.of(0xff, 0xfe), Buffer.from('"}')]),
    'UTF-16': Buffer.from(text, 'utf16le'),
    'half of a surrogate pair': '{"query": "{ __typename } # \\ud83d"}',
    'null': 'null',
    'a number': '7',
    'text': JSON.stringify('{ __typename }'),
    'GraphQL': '{ __typename }',
    'an object in another case': '{"Query": "{ __typename }"}',
  };
  for (const [name, body] of Object.entries(bodies)) {
    test(`gets a 400 with a code: ${name}`, async () => {
      for (const accept of [JSON_TYPE, GRAPHQL]) {
        const response = await send('POST', '/graphql', { headers: { ...json, accept }, body });
        assertRefused(response, 400, 'BAD_REQUEST');
      }
    });
  }

  for (const batch of [[], [{ query: '{ __typename }' }], [{ query: '{ __typename }' }, { query: '{ __typename }' }]]) {
    test(`is a batch of ${batch.length}`, async () => {
      const [{ message }] = assertRefused(await ask(batch), 400, 'BAD_REQUEST');
      assert.match(message, /batch/i);
    });
  }

  // Declared, the length alone decides: the server need not wait for what it will not read.
  test('is longer than the limit, and says so beforehand', async () => {
    const headers = { ...json, 'content-length': '300000', expect: '100-continue' };
    const response = await send('POST', '/graphql', { headers, body: ' '.repeat(300_000), agent: false });
    assertTooLarge(response);
  });

  test('is longer than the limit, and comes in pieces of unknown length', async () => {
    const headers = { ...json, 'transfer-encoding': 'chunked' };
    assertTooLarge(await send('POST', '/graphql', { headers, body: ' '.repeat(262_145), agent: false }));
  });

  test('is as long as the limit and no longer: it runs', async () => {
    const room = 262_144 - Buffer.byteLength(JSON.stringify({ query: '{ __typename }', pad: '' }));
    const response = await ask({ query: '{ __typename }', pad: 'x'.repeat(room) });
    assert.deepEqual(response.json(), { data: { __typename: 'Query' } });
    assertTooLarge(await ask({ query: '{ __typename }', pad: 'x'.repeat(room + 1) }));
  });
});

function assertTooLarge(response) {
  const [{ message }] = assertRefused(response, 413, 'BAD_REQUEST');
  assertMediaType(response, JSON_TYPE);
  assert.match(message, /262144|262,144/, 'the limit is named');
}
