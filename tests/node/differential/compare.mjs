// The comparison of one request: ours by HTTP, theirs by graphql-js.
import { Agent, request } from 'node:http';
import { setting } from '../support.mjs';
import { deliberate } from './deliberate.mjs';

const REQUEST_ERRORS = ['GRAPHQL_PARSE_FAILED', 'GRAPHQL_VALIDATION_FAILED', 'BAD_REQUEST', 'BAD_USER_INPUT'];
const MOST_ERRORS = 10;
const kept = new Agent({ keepAlive: true });

/**
 * Undefined where both agree; else `{kind, theirs, ours}`, `kind` being the same for differences of one sort. `tell` hears
 * the outcome by graphql-js.
 */
export async function compare(judge, given, tell = () => {}) {
  const theirs = judge.judge(given);
  tell(theirs.outcome);
  if (theirs.outcome === 'none') return undefined;
  const token = judge.tokenFor(theirs);
  const ours = await ask(given, token);
  const expected = theirs.outcome === 'accepted' ? await judge.answer(theirs, token) : undefined;
  const difference = differ(theirs.outcome, expected, ours);
  if (!difference || deliberate.some(({ applies }) => applies({ ...given, theirs, ours: ours.answer }))) return undefined;
  const told = strict(theirs.outcome, ours.answer) ? ours.answer.errors[0].message : (theirs.messages?.[0] ?? '');
  return {
    kind: `${difference}: ${told.replace(/"[^"]*"|`[^`]*`|[-+]?\d[\d.]*(e[-+]?\d+)?/g, '…')}`,
    theirs: `${theirs.outcome}: ${theirs.messages?.slice(0, 3).join(' | ') ?? JSON.stringify(expected)}`,
    ours: `${ours.status} ${ours.text}`,
  };
}

/** Whether ours refuses earlier on the way than graphql-js, so that it is our reason which tells what the difference is. */
function strict(theirs, answer) {
  const stage = (code) => (REQUEST_ERRORS.includes(code) ? REQUEST_ERRORS.indexOf(code) : REQUEST_ERRORS.length);
  return answer?.errors?.length > 0 && stage(answer.errors[0].extensions?.code) <= stage(theirs);
}

/** What differs, in a few words. */
function differ(theirs, expected, { status, text, answer }) {
  if (answer === undefined) return `status ${status} with what is not JSON`;
  const outcome = 'data' in answer ? 'accepted' : answer.errors?.[0]?.extensions?.code;
  if (outcome !== theirs) return `theirs ${theirs}, ours ${outcome}`;
  if (outcome !== 'accepted') return misshapen(status, answer);
  if (status !== 200) return `status ${status} for what ran`;
  if (JSON.stringify(answer) !== text) return 'a key twice, or JSON that is not as it should be';
  if (comparable(answer, expected) !== comparable(expected, expected)) return 'the data differs';
  if (failures(answer) !== failures(expected)) return 'the failed paths differ';
  return undefined;
}

/**
 * The data as text. Of introspection only the keys and their order: the server lists types and fields in another order, and
 * knows fewer of GraphQL's own; that the rest is equal is for the schema's suite to see.
 */
function comparable({ data }, { introspected }) {
  if (!data) return JSON.stringify(data);
  return JSON.stringify(Object.entries(data).map(([key, value]) => [key, introspected.has(key) ? keys(value) : value]));
}

/** The keys of an object, each with the keys of its value; those of a list's items together. */
function keys(value, merged = {}) {
  for (const item of [value].flat(2)) {
    if (item === null || typeof item !== 'object') continue;
    for (const [key, inner] of Object.entries(item)) merged[key] = keys(inner, merged[key]);
  }
  return merged;
}

/** What is wrong with a refusal whose code is right. */
function misshapen(status, { errors }) {
  const [{ extensions: { code } }] = errors;
  if (!REQUEST_ERRORS.includes(code)) return `the code ${code}`;
  if (status !== 400) return `status ${status} for ${code}`;
  if (errors.length > MOST_ERRORS) return `more than ${MOST_ERRORS} errors`;
  if (errors.some((each) => each.extensions.code !== code)) return 'several codes in one refusal';
  if (errors.some(({ message }) => message.trim() === '')) return 'an error without a message';
  const placed = errors.every(({ locations }) => locations?.length > 0 && locations.every(({ line, column }) => line > 0 && column > 0));
  if (code.startsWith('GRAPHQL') && !placed) return `an error of ${code} that does not say where: ${errors.find((each) => !each.locations)?.message.replace(/`[^`]*`/g, '…')}`;
  return undefined;
}

/** Which paths failed, and with which code. An error of graphql-js's own, as of a null that may not be, has none. */
const failures = ({ errors = [] }) =>
  JSON.stringify(errors.map(({ path, extensions }) => [path?.join('.'), extensions?.code ?? 'BAD_USER_INPUT']).sort());

/** Our answer to a request by POST: `{status, text, answer}`, `answer` undefined where it is not JSON. */
function ask({ text, variables, operationName, body }, token) {
  const url = new URL('/graphql', setting('SERVER_URL'));
  const headers = { accept: 'application/graphql-response+json', 'content-type': 'application/json' };
  if (token) headers.authorization = `Bearer ${token}`;
  const sent = Buffer.from(body ?? JSON.stringify({ query: text, variables, operationName }));
  headers['content-length'] = sent.length;
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method: 'POST', headers, agent: kept }, (incoming) => {
      const chunks = [];
      incoming.on('data', (chunk) => chunks.push(chunk));
      incoming.on('error', reject);
      incoming.on('end', () => {
        const received = Buffer.concat(chunks).toString();
        resolve({ status: incoming.statusCode, text: received, answer: parsed(received) });
      });
    });
    outgoing.on('error', reject);
    outgoing.end(sent);
  });
}

function parsed(text) {
  try {
    const answer = JSON.parse(text);
    return answer !== null && typeof answer === 'object' ? answer : undefined;
  } catch {
    return undefined;
  }
}
