// HTTP with nothing added: only the headers that a test names go out, so that a missing one is really missing. The one
// exception is the length of a body.
import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { setting } from '../support.mjs';

const kept = new Agent({ keepAlive: true, maxSockets: 16 });

/** One request. `body` is text or bytes; `headers` may hold lists, which go out line by line. */
export function send(method, path, { headers = {}, body, token, agent = kept } = {}) {
  const url = new URL(path, setting('SERVER_URL'));
  const signed = { ...framed(headers, body), ...(token && { authorization: `Bearer ${token}` }), ...headers };
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method, headers: signed, agent }, (incoming) => {
      const chunks = [];
      incoming.on('data', (chunk) => chunks.push(chunk));
      incoming.on('error', reject);
      incoming.on('end', () => resolve(answered(incoming, Buffer.concat(chunks))));
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** Node sends the body of a DELETE without its length: the server reads it as the next request on the connection. */
function framed(headers, body) {
  const names = Object.keys(headers).map((name) => name.toLowerCase());
  const given = names.includes('content-length') || names.includes('transfer-encoding');
  return body === undefined || given ? {} : { 'content-length': Buffer.byteLength(body) };
}

/** GraphQL by POST, as JSON. */
export const ask = (params, { headers, ...rest } = {}) =>
  send('POST', '/graphql', {
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(params),
    ...rest,
  });

/** GraphQL in the URL, by GET unless another method is named. */
export const fetchUrl = (params, { method = 'GET', ...rest } = {}) => {
  const given = Object.entries(params).filter(([, value]) => value !== undefined);
  const texts = given.map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]);
  return send(method, `/graphql?${new URLSearchParams(texts)}`, rest);
};

export const GRAPHQL = 'application/graphql-response+json';
export const JSON_TYPE = 'application/json';

/** The answer is in this media type, in UTF-8, and says so. */
export function assertMediaType(response, mediaType) {
  assert.equal(response.headers['content-type'], `${mediaType}; charset=utf-8`, response.text);
}

/** A request that did not run: its status, its one code, a sentence, and no `data`. Returns the errors. */
export function assertRefused(response, status, code) {
  assert.equal(response.status, status, response.text);
  const answer = response.json();
  assert.ok(!('data' in answer), `a refusal has no data: ${response.text}`);
  assert.ok(Array.isArray(answer.errors) && answer.errors.length > 0, response.text);
  for (const { message, extensions } of answer.errors) {
    assert.equal(extensions?.code, code, response.text);
    assert.ok(message.length > 10, `the message tells what to do: ${response.text}`);
  }
  return answer.errors;
}

/** The names in a header that lists them, in lower case. */
export const listed = (response, header) =>
  (response.headers[header] ?? '').split(',').map((name) => name.trim().toLowerCase()).filter(Boolean);

function answered(incoming, bytes) {
  const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  return {
    status: incoming.statusCode,
    headers: incoming.headers,
    text,
    /** The body, which must be JSON. */
    json() {
      try {
        return JSON.parse(text);
      } catch {
        throw new Error(`The server answered ${incoming.statusCode} with what is not JSON: ${text.slice(0, 500)}`);
      }
    },
  };
}
