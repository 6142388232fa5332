// Whatever changes something runs by POST alone, and then to its end.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { createClient } from 'graphql-ws';
import { Agent, request } from 'node:http';
import { WebSocket } from 'ws';
import { setting, someone } from '../support.mjs';
import { ask, assertRefused, fetchUrl, GRAPHQL, JSON_TYPE, listed } from './raw.mjs';

const UNREAD = 3;
/** Milliseconds that a message may take to arrive before it counts as missing. */
const PATIENCE = 60_000;

/** How `markRead` gets its value: the argument, the variables that are declared for it, and those that are sent. */
const ways = (value) => [
  { name: 'a literal', argument: `markRead: ${value}` },
  { name: 'a variable', argument: 'markRead: $mark', declared: '$mark: Boolean!', sent: { mark: value } },
  { name: 'a nullable variable', argument: 'markRead: $mark', declared: '$mark: Boolean', sent: { mark: value } },
  { name: 'a default', argument: 'markRead: $mark', declared: `$mark: Boolean! = ${value}` },
  { name: 'a variable over a default', argument: 'markRead: $mark', declared: `$mark: Boolean! = ${!value}`, sent: { mark: value } },
];
const leftOut = [
  { name: 'nothing', argument: '' },
  { name: 'a variable that is left out', argument: 'markRead: $mark', declared: '$mark: Boolean' },
  { name: 'null', argument: 'markRead: null' },
  { name: 'a variable that is null', argument: 'markRead: $mark', declared: '$mark: Boolean = true', sent: { mark: null } },
];

/** Where the field stands: how it is selected, and the fragments that this needs. */
const places = [
  { name: 'in the operation', wrap: (field) => [field] },
  { name: 'under an alias, after itself without it', wrap: (field, plain) => [`${plain} again: ${field}`] },
  { name: 'in an inline fragment', wrap: (field) => [`... { ... on Query { ${field} } }`] },
  { name: 'in a fragment', wrap: (field) => ['...F', `fragment F on Query { ${field} }`] },
  {
    name: 'in a fragment of a fragment',
    wrap: (field) => ['...F ...F', `fragment F on Query { ... on Query { ...G } } fragment G on Query { ${field} }`],
  },
];

/** Which condition holds for it. */
const conditions = [
  { name: 'always', directive: '', holds: true },
  { name: '@include(if: true)', directive: '@include(if: true)', holds: true },
  { name: '@include(if: false)', directive: '@include(if: false)', holds: false },
  { name: '@skip(if: false)', directive: '@skip(if: false)', holds: true },
  { name: '@skip(if: true)', directive: '@skip(if: true)', holds: false },
  { name: '@include by a variable', directive: '@include(if: $on)', declared: '$on: Boolean!', sent: { on: true }, holds: true },
  { name: '@skip by a default', directive: '@skip(if: $on)', declared: '$on: Boolean! = true', holds: false },
  { name: '@skip and @include', directive: '@skip(if: false) @include(if: $on)', declared: '$on: Boolean = true', sent: { on: false }, holds: false },
];

describe('markRead', () => {
  let ann;
  let ben;
  before(async () => {
    [ann, ben] = [await someone('ann'), await someone('ben')];
    for (let sent = 0; sent < UNREAD; sent += 1) await ben.send(ann, `message ${sent}`);
  });

  const unread = async () => (await ann.ask('{ inbox { unreadCount } }')).inbox.unreadCount;

  const given = [
    ...ways(true).map((way) => ({ ...way, value: true })),
    ...ways(false).map((way) => ({ ...way, value: false })),
    ...leftOut.map((way) => ({ ...way, value: false })),
  ];
  for (const way of given) {
    for (const place of places) {
      test(`${way.value} by ${way.name}, ${place.name}, by GET`, async () => {
        for (const on of ['field', 'fragment around']) {
          for (const condition of conditions) {
            const what = `${condition.name} on the ${on}`;
            const { params, marks } = build(ben, way, place, condition, on);
            const response = await fetchUrl(params, { token: ann.token, headers: { accept: GRAPHQL } });
            if (marks) {
              assertRefused(response, 405, 'SIDE_EFFECT_REQUIRES_POST');
              assert.deepEqual(listed(response, 'allow'), ['post'], what);
            } else {
              assert.equal(response.status, 200, `${what}: ${response.text}`);
              assert.equal(response.json().errors, undefined, `${what}: ${response.text}`);
            }
          }
        }
        assert.equal(await unread(), UNREAD, 'nothing was marked by GET');
      });
    }
  }

  test('of another operation does not matter', async () => {
    const query = `query Mark { conversation(partnerId: "${ben.id}", markRead: true) { nodes { id } } }
      query Look { ...Inbox } mutation Change { readConversation(input: { partnerId: "${ben.id}" }) { readCount } }
      fragment Inbox on Query { inbox { unreadCount } }`;
    const asked = (operationName) => fetchUrl({ query, operationName }, { token: ann.token });
    assert.deepEqual((await asked('Look')).json(), { data: { inbox: { unreadCount: UNREAD } } });
    assertRefused(await asked('Mark'), 405, 'SIDE_EFFECT_REQUIRES_POST');
    assertRefused(await asked('Change'), 405, 'SIDE_EFFECT_REQUIRES_POST');
    assert.equal(await unread(), UNREAD);
  });

  // Declared last: it marks.
  test('by POST marks, where it is true and only there, and its answer is not stored', async () => {
    const combinations = given.flatMap((way) => conditions.map((condition) => build(ben, way, places[4], condition, 'field')));
    for (const { params } of combinations.filter(({ marks }) => !marks)) {
      const response = await ask(params, { token: ann.token });
      assert.equal(response.json().errors, undefined, response.text);
    }
    assert.equal(await unread(), UNREAD, 'nothing was marked yet');
    for (const { params } of combinations.filter(({ marks }) => marks)) {
      const response = await ask(params, { token: ann.token });
      assert.equal(response.headers['cache-control'], 'no-store', JSON.stringify(params));
      assert.equal(await unread(), 0);
    }
  });
});

describe('a mutation', () => {
  const text = (ben) => `sendMessage(input: { recipientId: "${ben.id}", content: "x" }) { message { id } }`;
  const forms = {
    'without a name': (ben) => ({ query: `mutation { ${text(ben)} }` }),
    'with a name, beside a query': (ben) => ({ query: `query Q { __typename } mutation M { ${text(ben)} }`, operationName: 'M' }),
    'in a fragment': (ben) => ({ query: `mutation { ...M } fragment M on Mutation { ${text(ben)} }` }),
    'that selects nothing that changes': () => ({ query: 'mutation { __typename }' }),
    'that is skipped': (ben) => ({ query: `mutation { ... @skip(if: true) { ${text(ben)} } }` }),
  };
  for (const [name, params] of Object.entries(forms)) {
    test(`by GET is refused, and nothing runs: ${name}`, async () => {
      const [ann, ben] = [await someone('ann'), await someone('ben')];
      for (const accept of [GRAPHQL, JSON_TYPE]) {
        const response = await fetchUrl(params(ben), { token: ann.token, headers: { accept } });
        const [{ message }] = assertRefused(response, 405, 'SIDE_EFFECT_REQUIRES_POST');
        assert.ok(message.includes('POST'), message);
        assert.deepEqual(listed(response, 'allow'), ['post']);
      }
      assert.deepEqual(await ben.ask('{ inbox { unreadCount } }'), { inbox: { unreadCount: 0 } });
    });
  }

  test('is answered with no-store, failed or not', async () => {
    const [ann, ben] = [await someone('ann'), await someone('ben')];
    const failing = `mutation { sendMessage(input: { recipientId: "${ann.id}", content: "x" }) { message { id } } }`;
    for (const query of [`mutation { ${text(ben)} }`, failing]) {
      const response = await ask({ query }, { token: ann.token });
      assert.equal(response.status, 200);
      assert.equal(response.headers['cache-control'], 'no-store');
    }
  });

  // The first message is seen while the others are still to be sent: then the client goes.
  test('is finished although its client hangs up in the middle', { timeout: PATIENCE }, async (context) => {
    const COUNT = 20;
    const [ann, ben] = [await someone('ann'), await someone('ben')];
    const listener = await listen(ben, context);
    const fields = Array.from({ length: COUNT }, (_, index) => {
      const input = `{ recipientId: "${ben.id}", content: "${index}", clientMessageId: "${index}" }`;
      return `m${index}: sendMessage(input: ${input}) { message { id } }`;
    });
    const outgoing = hangable({ query: `mutation { ${fields.join(' ')} }` }, ann.token);
    const arrived = [(await listener.next()).value];
    outgoing.destroy();
    while (arrived.length < COUNT) arrived.push((await listener.next()).value);

    assert.deepEqual(arrived.map(content), fields.map((_, index) => `${index}`));
    assert.equal(outgoing.answered, false, 'the client hung up before the answer');
    assert.deepEqual(await ben.ask('{ inbox { unreadCount } }'), { inbox: { unreadCount: COUNT } });
  });
});

const content = ({ data, errors }) => (errors ? JSON.stringify(errors) : data.messageSent.message.content);

/** The conversation with a partner, selected as the three say. Returns the request, and whether it marks. */
function build(partner, way, place, condition, on) {
  const field = (argument, directive = '') =>
    `conversation(partnerId: "${partner.id}" ${argument}) ${directive} { nodes { id } }`;
  const conditional =
    on === 'field' ? field(way.argument, condition.directive) : `... ${condition.directive} { ${field(way.argument)} }`;
  // An alias goes before a field alone: where a fragment stands around it, it goes inside.
  const aliased = place.name.startsWith('under an alias') && on !== 'field';
  const inner = aliased ? `... ${condition.directive} { again: ${field(way.argument)} }` : conditional;
  const [selection, fragments = ''] = aliased ? [`${field('')} ${inner}`] : place.wrap(inner, field(''));
  const declared = [way.declared, condition.declared].filter(Boolean).join(', ');
  return {
    params: {
      query: `query ${declared && `(${declared})`} { __typename ${selection} } ${fragments}`,
      variables: { ...way.sent, ...condition.sent },
    },
    marks: way.value && condition.holds,
  };
}

/** The messages to someone from now on, until the test ends. */
async function listen(person, test) {
  const { signalCursor } = await person.ask('{ signalCursor }');
  const client = createClient({
    url: `${setting('SERVER_URL').replace('http', 'ws')}/graphql`,
    webSocketImpl: WebSocket,
    connectionParams: { authorization: `Bearer ${person.token}` },
    retryAttempts: 0,
  });
  test.after(() => client.dispose());
  return client.iterate({
    query: 'subscription ($after: String!) { messageSent(after: $after) { message { content } } }',
    variables: { after: signalCursor },
  });
}

/** A request by POST on a connection of its own, to hang up on. */
function hangable(params, token) {
  const outgoing = request(new URL('/graphql', setting('SERVER_URL')), {
    method: 'POST',
    agent: new Agent(),
    headers: { 'content-type': JSON_TYPE, authorization: `Bearer ${token}` },
  });
  outgoing.answered = false;
  outgoing.on('response', () => {
    outgoing.answered = true;
  });
  outgoing.on('error', () => {}); // the hang-up itself
  outgoing.end(JSON.stringify(params));
  return outgoing;
}
