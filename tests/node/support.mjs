// What the suites share: the settings that the Rust harness passes, tokens, requests over HTTP, and people.
import assert from 'node:assert/strict';
import { createHmac, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** A setting from the environment; a missing one fails the test with a sentence. */
export function setting(name) {
  const value = process.env[name];
  assert.ok(value, `${name} is not set: tests/it starts these tests, and passes SERVER_URL, JWT_SECRET, PROGRAM and SCHEMA.`);
  return value;
}

export const schemaText = () => readFileSync(setting('SCHEMA'), 'utf8');

/** A token as the host application would make it: HS256 over `JWT_SECRET`, valid for an hour. */
export function mint(subject, { username, role, validFor = 3600 } = {}) {
  const now = Math.floor(Date.now() / 1000);
  const claims = { sub: subject, iat: now, exp: now + validFor, preferred_username: username, role };
  const encode = (part) => Buffer.from(JSON.stringify(part)).toString('base64url');
  const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
  return `${signed}.${createHmac('sha256', setting('JWT_SECRET')).update(signed).digest('base64url')}`;
}

/** One request by POST. Returns the status, the answer's text and the answer. */
export async function post(query, { variables, operationName, token } = {}) {
  const response = await fetch(`${setting('SERVER_URL')}/graphql`, {
    method: 'POST',
    headers: {
      accept: 'application/graphql-response+json, application/json;q=0.9',
      'content-type': 'application/json',
      ...(token && { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify({ query, variables, operationName }),
  });
  const text = await response.text();
  try {
    return { status: response.status, text, answer: JSON.parse(text) };
  } catch {
    throw new Error(`The server answered ${response.status} with a body that is not JSON: ${text.slice(0, 500)}`);
  }
}

/** Someone whom the server knows from now on, with an id that no other test has unless one is given. */
export async function someone(username, id = `${username}-${randomUUID()}`) {
  const token = mint(id, { username });
  const person = {
    id,
    username,
    token,
    /** The data of an operation that must succeed. */
    async ask(query, variables) {
      const { answer } = await post(query, { variables, token });
      assert.equal(answer.errors, undefined, `${query} failed: ${JSON.stringify(answer.errors)}`);
      return answer.data;
    },
    async send(recipient, content) {
      const data = await person.ask(
        'mutation ($input: SendMessageInput!) { sendMessage(input: $input) { message { id sequence } } }',
        { input: { recipientId: recipient.id, content } },
      );
      return data.sendMessage.message;
    },
    async read(message) {
      await person.ask('mutation ($id: ID!) { readMessage(input: { id: $id }) { message { id } } }', { id: message.id });
    },
  };
  assert.deepEqual(await person.ask('{ viewer { id username } }'), { viewer: { id, username } });
  return person;
}
