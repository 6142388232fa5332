// Every place that takes a variable, with every type that the variable may have there, given every kind of value; and every
// kind of literal in that place, and as the variable's default.
import { getNullableType, isInputObjectType, isLeafType, isListType, isNonNullType, isRequiredArgument, isRequiredInputField, print } from 'graphql';
import { LITERALS } from './break-document.mjs';
import { JSON_VALUES } from './break-request.mjs';
import { literal } from './nodes.mjs';
import { pool } from './world.mjs';

/** Numbers that JSON can write and a program would write otherwise. */
const RAW_NUMBERS = ['1.0', '3.0e0', '1e2', '1E+2', '-0', '-0.0', '0.1e1', '9007199254740993', '123456789012345678901', '-123456789012345678901', '1.5e300'];

export function* coercions(schema, pools) {
  for (const { usage, types } of usages(schema, pools)) {
    for (const type of new Set(types)) {
      const text = usage(type);
      yield { text, variables: {} };
      for (const value of JSON_VALUES) yield { text, variables: { v: value } };
      for (const raw of RAW_NUMBERS) {
        for (const value of [raw, `[${raw}]`]) {
          const body = `{"query":${JSON.stringify(text)},"variables":{"v":${value}}}`;
          yield { text, variables: JSON.parse(body).variables, body };
        }
      }
    }
    for (const written of LITERALS.map(print)) {
      yield { text: usage(undefined, written), variables: {} };
      yield { text: usage(`${types[1]} = ${written}`), variables: {} };
    }
  }
}

/**
 * Where a variable `$v` may stand: how the operation reads when it has a type, and the types that fit; without a type, with
 * another value in its place.
 */
function* usages(schema, pools) {
  for (const kind of ['query', 'mutation']) {
    for (const field of Object.values(schema.getRootType(kind).getFields())) {
      const selection = isLeafType(getNullableType(field.type)) ? '' : '{ __typename }';
      const inField = (args) => (type, value = '$v') => `${kind} ${declared(type)} { ${field.name}(${args(value)}) ${selection} }`;
      for (const argument of field.args) {
        const others = field.args.filter((each) => each !== argument && isRequiredArgument(each));
        const given = (value) =>
          [`${argument.name}: ${value}`, ...others.map((each) => `${each.name}: ${some(each, field.name, pools)}`)].join(', ');
        yield { usage: inField(given), types: typesFor(argument, field.name, pools) };

        const input = getNullableType(argument.type);
        if (isInputObjectType(input)) yield* inside(input, (within) => inField((value) => given(within(value))), pools);
      }
    }
  }
  for (const name of ['skip', 'include']) {
    const [condition] = schema.getDirective(name).args;
    yield { usage: (type, value = '$v') => `query ${declared(type)} { __typename @${name}(if: ${value}) }`, types: typesFor(condition, name, pools) };
  }
}

const declared = (type) => (type === undefined ? '' : `($v: ${type})`);

/** In the fields of an input object, and in lists there. */
function* inside(input, around, pools) {
  for (const field of Object.values(input.getFields())) {
    const others = Object.values(input.getFields()).filter((each) => each !== field && isRequiredInputField(each));
    const given = (value) =>
      `{ ${[`${field.name}: ${value}`, ...others.map((each) => `${each.name}: ${some(each, input.name, pools)}`)].join(', ')} }`;
    yield { usage: around(given), types: typesFor(field, input.name, pools) };
    if (!isListType(getNullableType(field.type))) continue;

    const item = { name: field.name, type: getNullableType(field.type).ofType };
    yield { usage: around((value) => given(`[${value}]`)), types: typesFor(item, input.name, pools) };
    yield* inside(getNullableType(item.type), (within) => around((value) => given(`[${within(value)}]`)), pools);
  }
}

/** The place's own type, a stricter one, and looser ones that the place's default or the variable's own makes fit. */
function typesFor(place, owner, pools) {
  const nullable = getNullableType(place.type);
  const types = [String(place.type), `${nullable}!`, `${nullable} = ${some(place, owner, pools)}`, `${nullable}! = ${some(place, owner, pools)}`];
  if (!isNonNullType(place.type) || place.defaultValue !== undefined) types.push(String(nullable), `${nullable} = null`);
  return types;
}

/** A literal that fits. */
function some({ type, name }, owner, pools) {
  const value = (of, key, within) => {
    const nullable = getNullableType(of);
    if (isListType(nullable)) return [value(nullable.ofType, key, within)];
    if (isInputObjectType(nullable)) {
      return Object.fromEntries(Object.values(nullable.getFields()).map((each) => [each.name, value(each.type, each.name, nullable.name)]));
    }
    return nullable.name === 'Boolean' ? true : pool(pools, within, key)[0];
  };
  return print(literal(value(type, name, owner)));
}
