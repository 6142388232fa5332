// The server's answers have exactly the shape that graphql-js's execution gives: the same data with the keys in the
// same order, and the same errors at the same paths.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { documents } from './documents.mjs';
import { reference } from './reference.mjs';
import { refusedRequests } from './refusals.mjs';
import { mint, post, schemaText, someone } from './support.mjs';

const names = documents({}).map(({ name }) => name);

describe('an answer', () => {
  let ann;
  let ben;
  let judge;
  let cases;

  before(async () => {
    ann = await someone('ann');
    ben = await someone('ben');
    const world = await correspondence(ann, ben, await someone('stranger'));
    judge = reference(schemaText(), ann.token);
    cases = new Map(documents(world).map((each) => [each.name, each]));
  });

  for (const name of names) {
    test(`has graphql-js's shape: ${name}`, async () => {
      const { text, variables, operationName, fails = {} } = cases.get(name);
      const ours = await post(text, { variables, operationName, token: ann.token });
      const theirs = await judge.execute(text, { variables, operationName });

      assert.equal(JSON.stringify(ours.answer), ours.text, 'no key stands twice');
      assert.deepEqual(failures(ours.answer), new Map(Object.entries(fails)), ours.text);
      assert.deepEqual(failures(theirs, 'BAD_USER_INPUT'), new Map(Object.entries(fails)));
      assert.equal(JSON.stringify(ours.answer.data), JSON.stringify(theirs.data));
      assert.equal('errors' in ours.answer, 'errors' in theirs, 'errors are there only if there are some');
    });
  }

  for (const { name, text, variables, operationName, at, code } of refusedRequests) {
    test(`has no data where nothing ran: ${name}`, async () => {
      assert.equal(judge.refusal(text, { variables, operationName }), at);
      const { answer, text: raw } = await post(text, { variables, operationName, token: ann.token });
      assert.ok(!('data' in answer), raw);
      assert.ok(answer.errors.length > 0, raw);
      for (const error of answer.errors) {
        assert.equal(error.extensions?.code, code, raw);
        assert.ok(error.message.length > 0, raw);
        assert.ok(!('path' in error), raw);
      }
    });
  }

  test('to several mutations has them in order, and null for the one that failed', async () => {
    const text = `mutation ($ben: ID!, $me: ID!) {
      first: sendMessage(input: { recipientId: $ben, content: "one" }) { message { content sequence } }
      self: sendMessage(input: { recipientId: $me, content: "to myself" }) { message { id } }
      ...Second
    }
    fragment Second on Mutation {
      second: sendMessage(input: { content: "two", recipientId: $ben }) { message { sequence content } }
    }`;
    const cat = await someone('cat');
    const { answer } = await post(text, { variables: { ben: ben.id, me: cat.id }, token: cat.token });
    assert.equal(
      JSON.stringify(answer.data),
      JSON.stringify({
        first: { message: { content: 'one', sequence: 1 } },
        self: null,
        second: { message: { sequence: 2, content: 'two' } },
      }),
    );
    assert.deepEqual(failures(answer), new Map([['self', 'CANNOT_MESSAGE_SELF']]));
  });

  test('to a left-out variable inside an input object is as if the input field was left out', async () => {
    const send = `mutation ($to: ID!, $content: String!, $key: String) {
      sendMessage(input: { recipientId: $to, content: $content, clientMessageId: $key }) {
        message { sequence clientMessageId }
      }
    }`;
    const [cat, dan] = [await someone('cat'), await someone('dan')];
    const sent = async (variables) => {
      const data = await cat.ask(send, { to: dan.id, content: 'hello', ...variables });
      return data.sendMessage.message;
    };
    assert.deepEqual(await sent({}), { sequence: 1, clientMessageId: null });
    assert.deepEqual(await sent({ key: null }), { sequence: 2, clientMessageId: null });
    assert.deepEqual(await sent({ key: 'k' }), { sequence: 3, clientMessageId: 'k' });
    assert.deepEqual(await sent({ key: 'k' }), { sequence: 3, clientMessageId: 'k' });
  });

  test('says times in UTC, with milliseconds', async () => {
    const { unreadMessages } = await ann.ask('{ unreadMessages { nodes { sentAt } } }');
    for (const { sentAt } of unreadMessages.nodes) assert.equal(new Date(sentAt).toISOString(), sentAt);
    assert.equal(unreadMessages.nodes.length, 1);
  });

  test('to one input object where a list is asked for takes it as a list of one', async () => {
    const token = mint('the-host-application', { role: 'service' });
    const text = 'mutation ($users: [UserInput!]!) { upsertUsers(input: { users: $users }) { users { id username } } }';
    const user = { id: ben.id, username: 'ben' };
    const { answer } = await post(text, { variables: { users: user }, token });
    assert.deepEqual(answer, { data: { upsertUsers: { users: [user] } } });
  });
});

/** Ann and ben write to each other; each has read some. Returns what the documents name. */
async function correspondence(ann, ben, stranger) {
  await ann.send(ben, 'Hello "Ben" \\ \u{1F44B}\u2028\n\ttab');
  const message = await ben.send(ann, 'Grüße, Ann');
  await ann.send(ben, 'How are you?');
  const second = await ben.send(ann, '{"not": "json"}');
  await ben.send(ann, 'still unread');
  await ann.read(message);
  await ann.read(second);
  const text = `query ($ben: ID!) {
    inbox { id unreadCount }
    conversationPartner(partnerId: $ben) { id }
    conversation(partnerId: $ben, limit: 2) { nodes { sequence } pageInfo { hasNextPage endCursor } }
  }`;
  const { inbox, conversationPartner, conversation } = await ann.ask(text, { ben: ben.id });
  assert.equal(inbox.unreadCount, 1);
  assert.equal(conversation.pageInfo.hasNextPage, true);
  return {
    ann: ann.id,
    ben: ben.id,
    stranger: stranger.id,
    message: message.id,
    inbox: inbox.id,
    partner: conversationPartner.id,
    cursor: conversation.pageInfo.endCursor,
  };
}

/** Which paths failed, with which code. graphql-js's own errors (a null that may not be) have none: `codeless` is theirs. */
function failures({ errors = [] }, codeless) {
  const found = errors.map(({ path, extensions }) => [path?.join('.'), extensions?.code ?? codeless]);
  assert.equal(new Map(found).size, found.length, 'one error for each path');
  return new Map(found);
}
