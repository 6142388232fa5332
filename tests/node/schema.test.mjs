// schema.graphql is the API's contract: it loads in graphql-js, it is described, sorted and complete, and the
// running server's introspection says the same.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from '@gql.tada/internal';
import {
  assertValidSchema,
  buildClientSchema,
  buildSchema,
  getIntrospectionQuery,
  introspectionFromSchema,
  isInputObjectType,
  isIntrospectionType,
  isNonNullType,
  isSpecifiedDirective,
  isSpecifiedScalarType,
  lexicographicSortSchema,
  parse,
  printSchema,
  specifiedDirectives,
} from 'graphql';
import { contract } from './contract.mjs';
import { schemaText, setting, someone } from './support.mjs';

const everyOption = {
  descriptions: true,
  directiveIsRepeatable: true,
  experimentalDirectiveDeprecation: true,
  inputValueDeprecation: true,
  oneOf: true,
  schemaDescription: true,
  specifiedByUrl: true,
};

test('the schema loads in graphql-js and is valid', () => {
  assertValidSchema(buildSchema(schemaText()));
});

test('the schema holds the contract, name by name', () => {
  const schema = buildSchema(schemaText());
  assert.deepEqual(ownTypes(schema).flatMap(signatures).sort(), contract);
  assert.deepEqual(schema.getDirectives().filter((directive) => !isSpecifiedDirective(directive)), []);
});

test('every type, field, argument, input field and enum value is described', () => {
  const bare = ownTypes(buildSchema(schemaText()))
    .flatMap(describables)
    .filter(([, item]) => !item.description?.trim())
    .map(([path]) => path);
  assert.deepEqual(bare, []);
});

test('an argument with a default is nullable, and no input field has a default', () => {
  const types = ownTypes(buildSchema(schemaText()));
  const fallible = (owner, items) => items.filter((item) => item.defaultValue !== undefined).map((item) => [`${owner}.${item.name}`, item]);
  const args = types.flatMap((type) => members(type).flatMap((member) => fallible(`${type.name}.${member.name}`, member.args ?? [])));
  assert.equal(args.length, 4);
  assert.deepEqual(args.filter(([, { type }]) => isNonNullType(type)).map(([path]) => path), []);
  // Null for one would have to mean its default; today the gate does so for arguments only.
  assert.deepEqual(types.filter(isInputObjectType).flatMap((type) => fallible(type.name, members(type))).map(([path]) => path), []);
});

test('the schema file is sorted', () => {
  const text = schemaText();
  assert.deepEqual(names(text), names(sorted(buildSchema(text))));
});

test('the introspection of the running server says what the schema file says', async () => {
  const ann = await someone('ann');
  const query = getIntrospectionQuery(everyOption);
  const introspected = buildClientSchema(await ann.ask(query));
  assert.equal(contractOf(introspected), sorted(buildSchema(schemaText())));
});

test('introspection answers every field that graphql-js can ask for', async () => {
  const ann = await someone('ann');
  const { __schema: ours } = await ann.ask(getIntrospectionQuery(everyOption));
  const { __schema: theirs } = introspectionFromSchema(buildSchema(schemaText()), everyOption);
  // The server lists Float too, which the API does not use.
  const own = ({ name }) => !name.startsWith('__') && name !== 'Float';
  const byName = ({ types }) => new Map(types.filter(own).map((type) => [type.name, type]));
  const [our, their] = [byName(ours), byName(theirs)];
  assert.deepEqual([...our.keys()].sort(), [...their.keys()].sort());
  for (const [name, type] of our) {
    assert.deepEqual(Object.keys(type), Object.keys(their.get(name)), name);
    assert.equal(type.isOneOf, their.get(name).isOneOf, name);
  }
  for (const directive of ours.directives) {
    assert.deepEqual([directive.isDeprecated, directive.deprecationReason], [false, null], directive.name);
  }
  const { __schema: without } = await ann.ask('{ __schema { directives(includeDeprecated: false) { name } } }');
  assert.equal(without.directives.length, ours.directives.length);
});

test('every introspection field that the server lists can be selected, and every argument given', async () => {
  const ann = await someone('ann');
  for (const name of ['__Schema', '__Type', '__Field', '__InputValue', '__EnumValue', '__Directive']) {
    const { __type: type } = await ann.ask(
      'query ($name: String!) { __type(name: $name) { fields { name args { name } type { kind ofType { kind ofType { kind ofType { kind } } } } } } }',
      { name },
    );
    assert.ok(type.fields.length > 3, name);
    for (const field of type.fields) {
      const args = field.args.length > 0 ? `(${field.args.map((each) => `${each.name}: true`).join(', ')})` : '';
      const document = `query { ${reachedBy[name](`${field.name}${args} ${isLeaf(field.type) ? '' : '{ __typename }'}`)} }`;
      await ann.ask(document);
    }
  }
});

/** How a selection of each introspection type is reached. */
const reachedBy = {
  __Schema: (inner) => `__schema { ${inner} }`,
  __Type: (inner) => `__type(name: "SendMessageInput") { ${inner} }`,
  __Field: (inner) => `__type(name: "Query") { fields { ${inner} } }`,
  __InputValue: (inner) => `__type(name: "SendMessageInput") { inputFields { ${inner} } }`,
  __EnumValue: (inner) => `__type(name: "ErrorCode") { enumValues { ${inner} } }`,
  __Directive: (inner) => `__schema { directives { ${inner} } }`,
};

const isLeaf = ({ kind, ofType }) => (ofType ? isLeaf(ofType) : ['SCALAR', 'ENUM'].includes(kind));

test("gql.tada's loader reads the running server's schema", async () => {
  const ann = await someone('ann');
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${ann.token}` };
  const loaded = await load({ origin: { url: `${setting('SERVER_URL')}/graphql`, headers } }).load();
  assert.equal(contractOf(loaded.schema), sorted(buildSchema(schemaText())));
  const input = loaded.introspection.__schema.types.find((type) => type.name === 'SendMessageInput');
  assert.equal(input.isOneOf, false, 'the loader has asked for isOneOf');
});

/** Without the sentence by which async-graphql describes every schema: schema.graphql leaves it out, since not every codegen reads it there. */
function contractOf(schema) {
  schema.description = undefined;
  return sorted(schema);
}

const sorted = (schema) => printSchema(lexicographicSortSchema(schema));

const ownTypes = (schema) =>
  Object.values(schema.getTypeMap()).filter((type) => !isIntrospectionType(type) && !isSpecifiedScalarType(type));

const members = (type) => Object.values(type.getFields?.() ?? {}).concat(type.getValues?.() ?? []);

/** One line for the type and one for each of its fields or values, as contract.mjs writes them. */
function signatures(type) {
  const { kind } = type.astNode;
  const keyword = kind.replace(/(Object)?TypeDefinition$/, '').toLowerCase() || 'type';
  const interfaces = (type.getInterfaces?.() ?? []).map(({ name }) => name).sort();
  const head = [
    `${keyword} ${type.name}`,
    interfaces.length > 0 ? ` implements ${interfaces.join(' & ')}` : '',
    type.specifiedByURL ? ` @specifiedBy(url: "${type.specifiedByURL}")` : '',
  ].join('');
  return [head, ...members(type).map((member) => `${type.name}.${signature(member)}`)];
}

function signature(member) {
  const byName = (left, right) => (left.name < right.name ? -1 : 1);
  const args = (member.args ?? []).toSorted(byName).map(signature).join(', ');
  const type = member.type ? `: ${member.type}` : '';
  const fallback = member.defaultValue === undefined ? '' : ` = ${JSON.stringify(member.defaultValue)}`;
  const deprecated = member.deprecationReason == null ? '' : ' @deprecated';
  return `${member.name}${args && `(${args})`}${type}${fallback}${deprecated}`;
}

/** Everything of a type that needs a description, with its path. */
function describables(type) {
  return [
    [type.name, type],
    ...members(type).flatMap((member) => {
      const path = `${type.name}.${member.name}`;
      return [[path, member], ...(member.args ?? []).map((argument) => [`${path}(${argument.name}:)`, argument])];
    }),
  ];
}

/**
 * The names in a schema document, in the order in which they stand. Definitions that printSchema leaves out
 * (the standard directives, a schema definition with the standard root names) are left out.
 */
function names(text) {
  const standard = new Set(specifiedDirectives.map((directive) => directive.name));
  return parse(text)
    .definitions.filter(({ kind }) => kind !== 'SchemaDefinition')
    .filter(({ kind, name }) => kind !== 'DirectiveDefinition' || !standard.has(name.value))
    .map(({ name, interfaces = [], fields = [], values = [] }) => ({
      name: name.value,
      interfaces: interfaces.map((each) => each.name.value),
      members: [...fields, ...values].map((member) => ({
        name: member.name.value,
        arguments: (member.arguments ?? []).map((argument) => argument.name.value),
      })),
    }));
}
