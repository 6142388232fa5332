// GraphQL Code Generator makes TypeScript of schema.graphql and operations.graphql that compiles under
// `tsc --strict`, with the nullability that an application relies on (usage.ts).
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { codegen } from '@graphql-codegen/core';
import * as typedDocumentNode from '@graphql-codegen/typed-document-node';
import * as typescript from '@graphql-codegen/typescript';
import * as typescriptOperations from '@graphql-codegen/typescript-operations';
import { buildASTSchema, isObjectType, parse, TypeInfo, validate, visit, visitWithTypeInfo } from 'graphql';
import { blocks } from './blocks.mjs';
import { schemaText } from './support.mjs';

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
