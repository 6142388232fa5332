// Writes docs/api.md of schema.graphql: `node tests/node/api.mjs`. docs.test.mjs holds the page to the schema.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  buildSchema,
  getNamedType,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isIntrospectionType,
  isObjectType,
  isScalarType,
  isSpecifiedScalarType,
} from 'graphql';

const file = (name) => fileURLToPath(new URL(`../../${name}`, import.meta.url));

/** The page of a schema. */
export function reference(text) {
  const schema = buildSchema(text);
  const roots = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()];
  const others = Object.values(schema.getTypeMap())
    .filter((type) => !isIntrospectionType(type) && !isSpecifiedScalarType(type) && !roots.includes(type))
    .sort(({ name: left }, { name: right }) => (left < right ? -1 : 1));
  const groups = [
    ['Types', others.filter((type) => isObjectType(type) || isInterfaceType(type))],
    ['Inputs', others.filter(isInputObjectType)],
    ['Enums', others.filter(isEnumType)],
    ['Scalars', others.filter(isScalarType)],
  ];
  const parts = [
    '# API reference',
    'Made of [schema.graphql](../schema.graphql) by `node tests/node/api.mjs`: change it there. How to use it: [client.md](client.md).',
    ...roots.flatMap((root) => [`## ${root.name}`, oneLine(root), ...Object.values(root.getFields()).map((field) => operation(root, field))]),
    ...groups.flatMap(([title, types]) => [`## ${title}`, ...types.flatMap(section)]),
  ];
  return `${parts.filter(Boolean).join('\n\n')}\n`;
}

const oneLine = ({ description }) => (description ?? '').replace(/\s+/g, ' ').trim();
const cell = (item) => oneLine(item).replaceAll('|', '\\|');

/** A type with its named type linked: `[Message!]!`. */
function link(type) {
  const { name } = getNamedType(type);
  const [before, after] = String(type).split(name);
  const linked = isSpecifiedScalarType(getNamedType(type)) ? name : `[${name}](#${name.toLowerCase()})`;
  return `${before.replaceAll('[', '\\[')}${linked}${after.replaceAll(']', '\\]')}`;
}

const fallback = ({ defaultValue }) => (defaultValue === undefined ? '' : ` = \`${JSON.stringify(defaultValue)}\``);

/** With its root's name, since the anchors of `message` and `Message` would be one. */
function operation(root, field) {
  const rows = field.args.map((each) => `| \`${each.name}\` | ${link(each.type)}${fallback(each)} | ${cell(each)} |`);
  const table = rows.length > 0 ? ['| argument | type | |', '| --- | --- | --- |', ...rows].join('\n') : '';
  return [`### ${root.name}.${field.name}`, `Gives ${link(field.type)}. ${oneLine(field)}`, table].filter(Boolean).join('\n\n');
}

function section(type) {
  const interfaces = (type.getInterfaces?.() ?? []).map(link);
  const head = [`### ${type.name}`, `${oneLine(type)}${interfaces.length > 0 ? ` Implements ${interfaces.join(', ')}.` : ''}`];
  if (isScalarType(type)) return head;
  if (isEnumType(type)) {
    const rows = type.getValues().map((value) => `| \`${value.name}\` | ${cell(value)} |`);
    const more = type.name === 'ErrorCode' ? ['What to do at each: [errors.md](errors.md).'] : [];
    return [...head, ...more, ['| value | |', '| --- | --- |', ...rows].join('\n')];
  }
  const rows = Object.values(type.getFields()).map((field) => {
    return `| \`${field.name}\` | ${link(field.type)}${fallback(field)} | ${cell(field)} |`;
  });
  return [...head, ['| field | type | |', '| --- | --- | --- |', ...rows].join('\n')];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(file('docs/api.md'), reference(readFileSync(file('schema.graphql'), 'utf8')));
}
