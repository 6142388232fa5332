// GraphQL Code Generator makes TypeScript of schema.graphql and operations.graphql that compiles under
// `tsc --strict`, with the nullability that an application relies on (usage.ts).
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { codegen } from '@graphql-codegen/core';
import * as typedDocumentNode from '@graphql-codegen/typed-document-node';
import * as typescript from '@graphql-codegen/typescript';
import * as typescriptOperations from '@graphql-codegen/typescript-operations';
import { buildASTSchema, buildSchema, isObjectType, parse, TypeInfo, validate, visit, visitWithTypeInfo } from 'graphql';
import { blocks } from './blocks.mjs';
import { schemaText, setting } from './support.mjs';

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const plugins = {
  typescript,
  'typescript-operations': typescriptOperations,
  'typed-document-node': typedDocumentNode,
};
// What docs/client.md tells its readers to write.
const [{ source }] = (await blocks('client.md')).filter(({ name }) => name === 'codegen.json');
const { config, generates } = JSON.parse(source);

test('the sample operations are valid and use every field of the schema', async () => {
  const schema = buildASTSchema(parse(schemaText()));
  const document = await operations();
  assert.deepEqual(validate(schema, document), []);

  const used = new Set();
  const types = new TypeInfo(schema);
  const note = () => void used.add(`${types.getParentType().name}.${types.getFieldDef().name}`);
  visit(document, visitWithTypeInfo(types, { Field: note }));
  const unused = Object.values(schema.getTypeMap())
    .filter((type) => isObjectType(type) && !type.name.startsWith('__'))
    .flatMap((type) => Object.keys(type.getFields()).map((field) => `${type.name}.${field}`))
    .filter((field) => !used.has(field));
  assert.deepEqual(unused, []);
});

test('the generated types and an application on top of them compile', async () => {
  const { code, output } = await compile(parse(schemaText()));
  assert.equal(code, 0, output);
});

test('an application stops compiling where nullability changes', async () => {
  const usage = (await readFile(here('usage.ts'), 'utf8')).split('\n');
  const claimed = usage.flatMap((line) => /claim<'([\w.]+)'/.exec(line)?.[1] ?? []);
  assert.ok(claimed.length > 10);

  const { output } = await compile(turned(parse(schemaText()), claimed));
  const failed = [...output.matchAll(/^usage\.ts\((\d+),/gm)].map(([, line]) => usage[line - 1]);
  const broken = failed.flatMap((line) => /claim<'([\w.]+)'/.exec(line)?.[1] ?? []);
  assert.deepEqual(broken, claimed, output);
});

/** The schema for clients that handle errors, as the program prints it. */
async function semantic() {
  const { stdout } = await promisify(execFile)(setting('PROGRAM'), ['schema', '--semantic-non-null']);
  return stdout;
}

test('the schema with @semanticNonNull is the contract, marked at every root field that is null on error only', async () => {
  const text = await semantic();
  const [definition, ...rest] = text.split('\n\n');
  assert.equal(definition, 'directive @semanticNonNull(levels: [Int] = [0]) on FIELD_DEFINITION');
  assert.equal(rest.join('\n\n').replaceAll(' @semanticNonNull\n', '\n'), schemaText());

  const schema = buildSchema(text);
  const roots = [schema.getQueryType(), schema.getMutationType()];
  const isMarked = ({ astNode }) => astNode.directives.some(({ name }) => name.value === 'semanticNonNull');
  const unmarked = roots.flatMap((root) => Object.values(root.getFields())).filter((field) => !isMarked(field));
  assert.deepEqual(unmarked.map(({ name }) => name), ['conversationPartner', 'message', 'node', 'user']);
  const elsewhere = Object.values(schema.getTypeMap())
    .filter((type) => isObjectType(type) && !roots.includes(type))
    .flatMap((type) => Object.values(type.getFields()).filter((field) => field.astNode && isMarked(field)));
  assert.deepEqual(elsewhere, []);
});

// What a root field is in the types: never null where it is null on error only.
const neverNull = `
  viewer { id }
  inbox { unreadCount }
  signalCursor
  errorCodes
  conversation(partnerId: $partner) { nodes { id } conversationPartner { id } }
  conversationPartners { nodes { id } }
  unreadMessages { totalCount }`;
const maybeNull = `
  conversationPartner(partnerId: $partner) { unreadCount }
  message(id: $partner) { id }
  node(id: $partner) { id }
  user(id: $partner) { id }`;
const reading = `
type Fields = 'viewer' | 'inbox' | 'signalCursor' | 'errorCodes' | 'conversation' | 'conversationPartners' | 'unreadMessages';
export const full: { [field in Fields]: object | string } = data;
export const none: { [field in 'message' | 'node' | 'user' | 'conversationPartner']: Data[field] } = {
  message: null, node: null, user: null, conversationPartner: null,
};
// @ts-expect-error: null before the first message
export const partner: object = data.conversation.conversationPartner;
`;

test("Relay's compiler gives types without null by that schema", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'directmessages-relay-'));
  t.after(() => rm(folder, { recursive: true }));
  const config = { src: '.', schema: './schema.graphql', language: 'typescript', artifactDirectory: './artifacts', eagerEsModules: true };
  const text = `import { graphql } from 'relay-runtime';
    graphql\`query documentsQuery($partner: ID!) @throwOnFieldError { ${neverNull} ${maybeNull} }\`;`;
  const files = {
    'relay.config.json': JSON.stringify(config),
    'schema.graphql': await semantic(),
    'documents.ts': text,
    'package.json': '{ "type": "module" }',
    'reading.ts': `import type { documentsQuery$data as Data } from './artifacts/documentsQuery.graphql.js';
      declare const data: Data;${reading}`,
  };
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  await mkdir(join(folder, 'artifacts'));
  await symlink(here('node_modules'), join(folder, 'node_modules'));
  const options = ['--strict', '--noEmit', '--module', 'nodenext', '--target', 'es2022', '--skipLibCheck', 'reading.ts'];
  const check = async () => {
    await promisify(execFile)(process.execPath, [here('node_modules/relay-compiler/cli.js')], { cwd: folder });
    return tsc(folder, ...options);
  };
  const { code, output } = await check();
  assert.equal(code, 0, output);
  // Without the marks the same program does not compile.
  await writeFile(join(folder, 'schema.graphql'), schemaText());
  assert.match((await check()).output, /reading\.ts\(\d+,\d+\): error TS2322/);
});

test('GraphQL Code Generator gives types without null by that schema', async () => {
  const document = parse(`query Roots($partner: ID!) { ${neverNull} ${maybeNull} }
    mutation Send($input: SendMessageInput!) { sendMessage(input: $input) { message { id } } }`);
  const typesFor = async (text) =>
    codegen({
      filename: 'operations.ts',
      schema: parse(text),
      documents: [{ location: 'operations.graphql', document }],
      config: { ...config, nullability: { errorHandlingClient: true } },
      plugins: [{ 'typescript-operations': {} }],
      pluginMap: plugins,
    });
  const types = await typesFor(await semantic());
  assert.match(types, /sendMessage: \{ message: \{ id: string \} \} \}/);
  assert.match(types, /signalCursor: string,/);
  assert.match(types, /message: \{ id: string \} \| null,/);
  assert.match(await typesFor(schemaText()), /signalCursor: string \| null,/);
});

const operations = async () => parse(await readFile(here('operations.graphql'), 'utf8'));

/** Generates the types in a folder of their own, compiles them with usage.ts, and returns what tsc said. */
async function compile(schema) {
  const folder = await mkdtemp(join(tmpdir(), 'directmessages-codegen-'));
  try {
    const documents = [{ location: 'operations.graphql', document: await operations() }];
    for (const [path, output] of Object.entries(generates)) {
      const filename = basename(path);
      const text = await codegen({
        filename,
        schema,
        documents,
        config,
        plugins: output.plugins.map((name) => ({ [name]: {} })),
        pluginMap: plugins,
      });
      await writeFile(join(folder, filename), text);
    }
    await copyFile(here('usage.ts'), join(folder, 'usage.ts'));
    await symlink(here('node_modules'), join(folder, 'node_modules'));
    await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
    return await tsc(folder, '--strict', '--noEmit', '--module', 'nodenext', '--target', 'es2022', 'usage.ts');
  } finally {
    await rm(folder, { recursive: true });
  }
}

function tsc(folder, ...options) {
  const compiler = here('node_modules/typescript/bin/tsc');
  return new Promise((resolve) => {
    execFile(process.execPath, [compiler, ...options], { cwd: folder }, (error, stdout, stderr) =>
      resolve({ code: error ? error.code : 0, output: stdout + stderr }),
    );
  });
}

/** The schema with the nullability of these fields (`Type.field`) turned round. */
function turned(schema, fields) {
  const turn = ({ kind, name, fields: members = [], ...rest }) => ({
    ...rest,
    kind,
    name,
    fields: members.map((member) => {
      if (!fields.includes(`${name.value}.${member.name.value}`)) return member;
      const { type } = member;
      return { ...member, type: type.kind === 'NonNullType' ? type.type : { kind: 'NonNullType', type } };
    }),
  });
  return visit(schema, { ObjectTypeDefinition: turn, InputObjectTypeDefinition: turn });
}
