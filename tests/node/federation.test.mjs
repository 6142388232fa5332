// The server as a subgraph: composed with one of an application's, and asked through Apollo's gateway.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { composeServices } from '@apollo/composition';
import { ApolloGateway, RemoteGraphQLDataSource } from '@apollo/gateway';
import { ApolloServer } from '@apollo/server';
import { startStandaloneServer } from '@apollo/server/standalone';
import { buildSubgraphSchema } from '@apollo/subgraph';
import { parse } from 'graphql';
import { mint, post, setting, someone } from './support.mjs';

// What the application knows of its users, and which messages they pinned. It has a PageInfo of its own, as many do.
const PROFILES = `
  extend schema @link(url: "https://specs.apollo.dev/federation/v2.4", import: ["@key", "@shareable"])
  type Query { pinnedMessage(id: ID!): Message  authors(ids: [ID!]!): [User]! }
  type User @key(fields: "id") { id: ID!  avatar: String! }
  type Message @key(fields: "id") { id: ID!  pinnedBy: User }
  type PageInfo @shareable { hasNextPage: Boolean!  endCursor: String }
`;

const stops = [];

/** An Apollo server on a port of this machine's; its address. */
async function serve(options, context) {
  const server = new ApolloServer({ ...options, stopOnTerminationSignals: false });
  const { url } = await startStandaloneServer(server, { context, listen: { port: 0, host: '127.0.0.1' } });
  stops.unshift(() => server.stop());
  return url;
}

function profiles() {
  const avatar = ({ id }) => `https://pictures.example/${id}`;
  const resolvers = {
    Query: {
      pinnedMessage: (_, { id }) => ({ __typename: 'Message', id }),
      authors: (_, { ids }) => ids.map((id) => ({ __typename: 'User', id })),
    },
    User: { __resolveReference: ({ id }) => ({ id }), avatar },
    Message: { __resolveReference: ({ id }) => ({ id }), pinnedBy: () => ({ id: 'somebody' }) },
  };
  return serve({ schema: buildSubgraphSchema({ typeDefs: parse(PROFILES), resolvers }) });
}

/** A gateway that hands on each caller's token, or speaks for a user that it knows by itself. It asks by hashes. */
function gateway(supergraphSdl) {
  class Forwarding extends RemoteGraphQLDataSource {
    willSendRequest({ request, context }) {
      for (const [name, value] of Object.entries(context.headers ?? {})) request.http.headers.set(name, value);
    }
  }
  const joined = new ApolloGateway({ supergraphSdl, buildService: ({ url }) => new Forwarding({ url, apq: true }) });
  return serve({ gateway: joined }, async ({ req }) => {
    const { authorization, 'x-session': session } = req.headers;
    if (session) {
      const service = mint('host', { role: 'service' });
      return { headers: { authorization: `Bearer ${service}`, 'x-act-as': encodeURIComponent(session) } };
    }
    return { headers: authorization ? { authorization } : {} };
  });
}

describe('through a gateway', () => {
  let ann;
  let ben;
  let eve;
  let url;
  let sdl;
  let supergraph;

  before(async () => {
    [ann, ben, eve] = [await someone('Ann'), await someone('Ben'), await someone('Eve')];
    const { answer } = await post('{ _service { sdl } }', { token: mint('host', { role: 'service' }) });
    sdl = answer.data._service.sdl;
    supergraph = composeServices([
      { name: 'messages', url: `${setting('SERVER_URL')}/graphql`, typeDefs: parse(sdl) },
      { name: 'profiles', url: await profiles(), typeDefs: parse(PROFILES) },
    ]);
    if (!supergraph.errors) url = await gateway(supergraph.supergraphSdl);
  });

  after(async () => {
    for (const stop of stops) await stop();
  });

  async function ask(headers, query, variables) {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ query, variables }),
    });
    return response.json();
  }
  const as = (person) => ({ authorization: `Bearer ${person.token}` });

  test('the two subgraphs compose', () => {
    assert.deepEqual(supergraph.errors ?? [], []);
  });

  test('the subgraph that docs/federation.md shows composes with it', () => {
    const page = readFileSync(new URL('../../docs/federation.md', import.meta.url), 'utf8');
    const [, shown] = page.match(/```graphql\n(extend schema [^]*?)```/);
    const { errors } = composeServices([
      { name: 'messages', url: 'http://messages', typeDefs: parse(sdl) },
      { name: 'profiles', url: 'http://profiles', typeDefs: parse(shown) },
    ]);
    assert.deepEqual(errors ?? [], []);
  });

  test('a page of messages shows what the application knows of each sender', async () => {
    await ann.send(ben, 'Hello Ben');
    await ben.send(ann, 'Hello Ann');
    const query = `query ($ann: ID!) {
      conversation(partnerId: $ann) { nodes { content sender { username avatar } } pageInfo { hasNextPage } } }`;
    const { data, errors } = await ask(as(ben), query, { ann: ann.id });
    assert.equal(errors, undefined, JSON.stringify(errors));
    assert.deepEqual(data.conversation, {
      nodes: [
        { content: 'Hello Ben', sender: { username: 'Ann', avatar: `https://pictures.example/${ann.id}` } },
        { content: 'Hello Ann', sender: { username: 'Ben', avatar: `https://pictures.example/${ben.id}` } },
      ],
      pageInfo: { hasNextPage: false },
    });
  });

  const pinned = 'query ($id: ID!) { pinnedMessage(id: $id) { content sender { avatar } } }';

  test('a message that another subgraph names is shown to its two people, and is null to everyone else', async () => {
    const message = await ann.send(ben, 'Pin this');
    const shown = { pinnedMessage: { content: 'Pin this', sender: { avatar: `https://pictures.example/${ann.id}` } } };
    assert.deepEqual(await ask(as(ann), pinned, message), { data: shown });
    assert.deepEqual(await ask(as(ben), pinned, message), { data: shown });
    // No error: the entity is null, and `content` of it cannot be.
    const hidden = await ask(as(eve), pinned, message);
    assert.deepEqual(hidden.data, { pinnedMessage: null });
    const absent = await ask(as(eve), pinned, { id: 'dm_m' });
    assert.deepEqual(absent, hidden, 'absent and not hers are one answer');
    const { data, errors } = await ask({}, pinned, message);
    assert.deepEqual(data, { pinnedMessage: null });
    assert.ok(errors.some(({ extensions }) => extensions.code === 'UNAUTHENTICATED'), JSON.stringify(errors));
  });

  test('users that another subgraph names have their names here', async () => {
    const query = 'query ($ids: [ID!]!) { authors(ids: $ids) { username avatar } }';
    const { data, errors } = await ask(as(eve), query, { ids: [ben.id, ann.id] });
    assert.equal(errors, undefined, JSON.stringify(errors));
    assert.deepEqual(data.authors.map(({ username }) => username), ['Ben', 'Ann']);
  });

  test('a gateway with sessions of its own acts for its users by a service token', async () => {
    const message = await ann.send(ben, 'By session');
    const { data } = await ask({ 'x-session': ben.id }, pinned, message);
    assert.equal(data.pinnedMessage.content, 'By session');
    assert.equal((await ask({ 'x-session': eve.id }, pinned, message)).data.pinnedMessage, null);
  });

  test('mutations go through it', async () => {
    const query = `mutation ($input: SendMessageInput!) {
      sendMessage(input: $input) { message { content recipient { avatar } } } }`;
    const { data, errors } = await ask(as(ann), query, { input: { recipientId: ben.id, content: 'Through it' } });
    assert.equal(errors, undefined, JSON.stringify(errors));
    const recipient = { avatar: `https://pictures.example/${ben.id}` };
    assert.deepEqual(data.sendMessage.message, { content: 'Through it', recipient });
    const refused = await ask(as(ann), query, { input: { recipientId: 'nobody at all', content: 'x' } });
    assert.equal(refused.errors[0].extensions.code, 'USER_NOT_FOUND', JSON.stringify(refused));
  });
});
