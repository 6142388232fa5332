// schema.graphql is the API's contract: it loads in graphql-js, it is described, sorted and complete, and the
// running server's introspection says the same.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  assertValidSchema,
  buildClientSchema,
  buildSchema,
  getIntrospectionQuery,
  isIntrospectionType,
  isSpecifiedDirective,
  isSpecifiedScalarType,
  lexicographicSortSchema,
  parse,
  printSchema,
  specifiedDirectives,
} from 'graphql';
import { contract } from './contract.mjs';
import { schemaText, someone } from './support.mjs';

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

test('the schema file is sorted', () => {
  const text = schemaText();
  assert.deepEqual(names(text), names(sorted(buildSchema(text))));
});

test('the introspection of the running server says what the schema file says', async () => {
  const ann = await someone('ann');
  const query = getIntrospectionQuery({
    descriptions: true,
    directiveIsRepeatable: true,
    inputValueDeprecation: true,
    schemaDescription: true,
    specifiedByUrl: true,
  });
  const introspected = buildClientSchema(await ann.ask(query));
  // async-graphql describes every schema by one sentence, which schema.graphql leaves out: not every codegen reads it there.
  introspected.description = undefined;
  assert.equal(sorted(introspected), sorted(buildSchema(schemaText())));
});

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
