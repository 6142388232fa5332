// Documents by chance, valid and broken, get from the server the verdict, the coerced variables and the data that graphql-js
// gives them. DIFFERENTIAL_DOCUMENTS says how many (1,000); SEED, where they start: that of a document which differed, or
// `random`. A run that nobody gave one has the same documents each time, so that what fails is what changed.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { specifiedRules } from 'graphql';
import { coercions } from './differential/coercions.mjs';
import { compare } from './differential/compare.mjs';
import { deliberate } from './differential/deliberate.mjs';
import { judge } from './differential/judge.mjs';
import { request, requests } from './differential/requests.mjs';
import { report, run } from './differential/run.mjs';
import { world } from './differential/world.mjs';
import { schemaText } from './support.mjs';

const DOCUMENTS = Number(process.env.DIFFERENTIAL_DOCUMENTS ?? 1000);
const { SEED: given = '20261122' } = process.env;
const SEED = given === 'random' ? Math.floor(Math.random() * 2 ** 32) : Number(given);

describe('the server and graphql-js', () => {
  let judged;
  let theirs;
  before(async () => {
    judged = await world();
    theirs = judge(schemaText(), judged);
  });

  test(`agree about ${DOCUMENTS} documents from SEED=${SEED}`, async (context) => {
    const { differences, seconds, outcomes } = await run(theirs, requests(SEED, DOCUMENTS, theirs.schema, judged.pools));
    context.diagnostic(`${Math.round(DOCUMENTS / seconds)} documents/s: ${JSON.stringify(outcomes)}`);
    assert.equal(differences.length, 0, await report(theirs, differences));
  });

  test('agree about every place for a value, given every kind of value, and every type that a variable has there', async () => {
    const { differences, outcomes } = await run(theirs, coercions(theirs.schema, judged.pools));
    assert.equal(differences.length, 0, await report(theirs, differences));
    for (const each of ['accepted', 'BAD_USER_INPUT']) assert.ok(outcomes[each] > 500, JSON.stringify(outcomes));
  });

  // A judge who is wrong in one place is found out: the comparison sees what it is there to see.
  const mistakes = {
    'an argument that may be null': ['partnerId: ID!\n  ): ConversationPartner\n', 'partnerId: ID\n  ): ConversationPartner\n'],
    'an input field that must be given': ['upTo: ID\n', 'upTo: ID!\n'],
    'a field whose null goes up': ['): MessageConnection\n', '): MessageConnection!\n'],
    'a field of another type': ['username: String!\n}\n\n"""\nOne user', 'username: Int!\n}\n\n"""\nOne user'],
    'an interface that a type does not implement': ['type User implements Node', 'type User'],
  };
  for (const [name, [from, to]] of Object.entries(mistakes)) {
    test(`disagree where graphql-js is given ${name}`, async () => {
      const text = schemaText();
      assert.ok(text.includes(from), `the schema holds ${from}`);
      const mistaken = judge(text.replaceAll(from, to), judged);
      for (const asked of requests(1, 3000, theirs.schema, judged.pools)) {
        if ((await compare(mistaken, asked)) && !(await compare(theirs, asked))) return;
      }
      assert.fail('the mistake was not found');
    });
  }

  test('differ on purpose only for a reason', () => {
    for (const { reason, applies } of deliberate) assert.ok(reason.length > 20 && typeof applies === 'function');
  });
});

describe('the documents', () => {
  const pools = Object.fromEntries(
    ['users', 'messages', 'nodes', 'cursors', 'texts', 'keys', 'types'].map((name) => [name, [`${name}-1`, `${name}-2`]]),
  );
  pools.pageSizes = [1, 0];

  test('are the same again for the same seed, and others for another', () => {
    const { schema } = judge(schemaText(), {});
    const made = (seed) => JSON.stringify(request(seed, schema, pools));
    assert.equal(made(7), made(7));
    assert.notEqual(made(7), made(8));
  });

  test('are valid by half, and break every rule of graphql-js, one alone', () => {
    // A variable of an output type never is the only fault: it does not fit where it is used, or it is not used.
    const judgedAlone = specifiedRules.filter(({ name }) => name !== 'VariablesAreInputTypesRule');
    const alone = new Map(judgedAlone.map(({ name }) => [name, 0]));
    let broken;
    const telling = specifiedRules.map((rule) => (context) =>
      rule(Object.create(context, {
        reportError: {
          value(error) {
            broken.add(rule.name);
            context.reportError(error);
          },
        },
      })));
    const { schema, judge: verdict } = judge(schemaText(), {}, telling);
    const outcomes = {};
    for (let seed = 0; seed < 4000; seed += 1) {
      broken = new Set();
      const { outcome } = verdict(request(seed, schema, pools));
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      const [rule] = broken;
      if (broken.size === 1 && alone.has(rule)) alone.set(rule, alone.get(rule) + 1);
    }
    const missed = [...alone].filter(([, times]) => times === 0).map(([name]) => name);
    assert.deepEqual(missed, [], JSON.stringify([...alone]));
    assert.ok(outcomes.accepted > 1600 && outcomes.accepted < 2400, JSON.stringify(outcomes));
    for (const code of ['GRAPHQL_PARSE_FAILED', 'BAD_REQUEST', 'BAD_USER_INPUT']) assert.ok(outcomes[code] > 50, JSON.stringify(outcomes));
  });
});
