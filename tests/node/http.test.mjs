// GraphQL over HTTP: every audit of the graphql-http suite, and what it leaves out.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { serverAudits } from 'graphql-http';
import { setting, someone } from './support.mjs';
import './http/negotiation.mjs';
import './http/parameters.mjs';
import './http/methods.mjs';
import './http/side-effects.mjs';
import './http/origins.mjs';

describe('the audits of graphql-http', () => {
  let token;
  before(async () => {
    ({ token } = await someone('ann'));
  });

  const signed = (url, init = {}) =>
    fetch(url, { ...init, headers: { ...init.headers, authorization: `Bearer ${token}` } });
  const audits = serverAudits({ url: () => `${setting('SERVER_URL')}/graphql`, fetchFn: signed });

  test('are all of them', () => {
    assert.ok(audits.length >= 61, `there are ${audits.length}`);
    assert.equal(new Set(audits.map(({ id }) => id)).size, audits.length);
  });

  // A warning or a notice is a failure here: a server may well do all that the specification only recommends.
  for (const { id, name, fn } of audits) {
    test(`${id} ${name}`, async () => {
      const { status, reason, response } = await fn();
      assert.equal(status, 'ok', `${reason}: ${response?.status}`);
    });
  }
});
