// GraphQL's syntax tree, as graphql-js holds it: how to make its nodes, walk over them, and copy them.
import { Kind, parseType } from 'graphql';

export const name = (value) => ({ kind: Kind.NAME, value });
export const variable = (value) => ({ kind: Kind.VARIABLE, name: name(value) });
export const argument = (key, value) => ({ kind: Kind.ARGUMENT, name: name(key), value });
export const objectField = (key, value) => ({ kind: Kind.OBJECT_FIELD, name: name(key), value });
export const selectionSet = (selections) => ({ kind: Kind.SELECTION_SET, selections });
export const spread = (fragment, directives = []) => ({ kind: Kind.FRAGMENT_SPREAD, name: name(fragment), directives });

export const directive = (key, args = []) => ({ kind: Kind.DIRECTIVE, name: name(key), arguments: args });

export const field = (key, { alias, args = [], directives = [], selections } = {}) => ({
  kind: Kind.FIELD,
  name: name(key),
  alias: alias && name(alias),
  arguments: args,
  directives,
  selectionSet: selections && selectionSet(selections),
});

export const named = (key) => ({ kind: Kind.NAMED_TYPE, name: name(key) });

export const inlineFragment = (on, selections, directives = []) => ({
  kind: Kind.INLINE_FRAGMENT,
  typeCondition: on && named(on),
  directives,
  selectionSet: selectionSet(selections),
});

export const fragment = (key, on, selections) => ({
  kind: Kind.FRAGMENT_DEFINITION,
  name: name(key),
  typeCondition: named(on),
  directives: [],
  selectionSet: selectionSet(selections),
});

export const variableDefinition = (key, type, defaultValue) => ({
  kind: Kind.VARIABLE_DEFINITION,
  variable: variable(key),
  type: parseType(type, { noLocation: true }),
  defaultValue,
  directives: [],
});

/** A literal for a value of JSON. A name in `Symbol` stands for an enum's value, or for any bare name. */
export function literal(value) {
  if (value === null) return { kind: Kind.NULL };
  if (Array.isArray(value)) return { kind: Kind.LIST, values: value.map(literal) };
  switch (typeof value) {
    case 'symbol':
      return { kind: Kind.ENUM, value: value.description };
    case 'boolean':
      return { kind: Kind.BOOLEAN, value };
    case 'number':
      return { kind: Number.isInteger(value) ? Kind.INT : Kind.FLOAT, value: String(value) };
    case 'string':
      return { kind: Kind.STRING, value, block: false };
    default:
      return { kind: Kind.OBJECT, fields: Object.entries(value).map(([key, each]) => objectField(key, literal(each))) };
  }
}

export const isNode = (value) => typeof value?.kind === 'string';

/**
 * Every node of a tree, parents first, each with its place: `holder[key]`, and the nodes around it, the closest last.
 */
export function places(root) {
  const found = [];
  const visit = (holder, key, around) => {
    const value = holder[key];
    if (Array.isArray(value)) {
      value.forEach((_, index) => visit(value, index, around));
    } else if (isNode(value)) {
      found.push({ node: value, holder, key, around });
      const inner = [...around, value];
      for (const part of Object.keys(value)) if (part !== 'loc') visit(value, part, inner);
    }
  };
  visit({ root }, 'root', []);
  return found;
}

/** A copy that shares nothing with the tree. */
export function copy(value) {
  if (Array.isArray(value)) return value.map(copy);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).filter(([key]) => key !== 'loc').map(([key, part]) => [key, copy(part)]));
}
