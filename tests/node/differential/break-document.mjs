// Ways to break a document's syntax tree, one place at a time. Each takes the tree (to change), finds itself a place, and
// returns false where there is none. Not every change makes a document invalid: graphql-js says which do.
import { Kind, OperationTypeNode, parse } from 'graphql';
import {
  argument,
  copy,
  directive,
  field,
  fragment,
  inlineFragment,
  literal,
  name,
  named,
  objectField,
  places,
  spread,
  variable,
  variableDefinition,
} from './nodes.mjs';

const FIELDS = ['id', 'username', 'content', 'nodes', 'inbox', 'viewer', 'unreadCount', 'message', 'sender', 'nothing', '__typename', '__type'];
const TYPES = ['Query', 'Mutation', 'User', 'Message', 'Node', 'Inbox', 'MessageSent', 'ID', 'Int', 'DateTime', 'ErrorCode', 'UserInput', '__Type', 'Nothing'];
const INPUT_TYPES = ['ID', 'ID!', 'Int', 'Int!', 'String', 'String!', 'Boolean', 'Boolean!', '[ID!]!', '[Int]', 'Float', 'ErrorCode', 'DateTime', 'UserInput', 'UserInput!', '[UserInput]', '[UserInput!]', '[UserInput!]!', '[[UserInput!]!]', 'SendMessageInput', 'SendMessageInput!', 'ReadMessageInput!', 'Message', 'Node', 'Query!', 'Nothing', '[Nothing!]'];
const ARGUMENTS = ['id', 'partnerId', 'first', 'limit', 'after', 'markRead', 'reversed', 'input', 'if', 'name', 'nothing'];

/** Literals of every kind. */
export const LITERALS = [
  null, true, false, 0, 1, -1, 2147483647, 2147483648, -2147483649, 1.5, '', 'text', '1', 'true',
  [], [1], ['a', 'b'], [null], [[]], {}, { id: 'x' }, { id: 'x', username: 'y' }, { users: [] }, { nothing: 1 },
  { recipientId: 'x', content: 'y' }, { partnerId: 'x', upTo: null }, Symbol('BARE'), Symbol('INTERNAL'), Symbol('on'),
].map(literal).concat(['1.0', '1e2', '-0', '123456789012345678901', '1e400'].map((value) => ({
  kind: /[.e]/.test(value) ? Kind.FLOAT : Kind.INT, value,
})));

const VALUES = [...LITERALS, variable('v'), variable('undeclared')];

const find = (chance, document, fits) => {
  const found = places(document).filter((place) => fits(place.node, place));
  return found.length > 0 ? chance.pick(found) : undefined;
};
const ofKind = (...kinds) => (node) => kinds.includes(node.kind);
const definitions = (document, kind) => document.definitions.filter((each) => each.kind === kind);
const selectable = (node) => node.selectionSet !== undefined;
const isValue = (node, { around, key }) =>
  ['value', 'defaultValue'].includes(key) || around.at(-1)?.kind === Kind.LIST || node.kind === Kind.OBJECT;

/** On a node that fits; false where none does. */
const on = (fits, change) => (chance, document) => {
  const place = find(chance, document, fits);
  if (!place) return false;
  return change(place.node, chance, place, document) ?? true;
};

const insertSelection = (make) => on(selectable, (node, chance, _place, document) => {
  const { selections } = node.selectionSet;
  selections.splice(chance.between(0, selections.length), 0, make(chance, document));
});

const changeDirectives = (make) => on(
  (node) => Array.isArray(node.directives),
  (node, chance) => node.directives.splice(chance.between(0, node.directives.length), 0, ...make(chance)) && undefined,
);

const listed = (...kinds) => (node, { holder }) => kinds.includes(node.kind) && Array.isArray(holder);
const remove = (...kinds) => on(listed(...kinds), (_node, _chance, { holder, key }) => void holder.splice(key, 1));
const repeat = (...kinds) => on(listed(...kinds), (node, chance, { holder }) =>
  void holder.splice(chance.between(0, holder.length), 0, copy(node)));

/** `[weight, name, change]`. */
export const documentBreakers = [
  // Fields
  [3, 'another field', on(ofKind(Kind.FIELD), (node, chance) => void (node.name = name(chance.pick(FIELDS))))],
  [2, 'a field inserted', insertSelection((chance) => field(chance.pick(FIELDS)))],
  [2, 'a selection removed', remove(Kind.FIELD, Kind.INLINE_FRAGMENT, Kind.FRAGMENT_SPREAD)],
  [1, 'a selection repeated', repeat(Kind.FIELD, Kind.INLINE_FRAGMENT, Kind.FRAGMENT_SPREAD)],
  [2, 'a leaf with a selection', on(
    (node) => node.kind === Kind.FIELD && !node.selectionSet,
    (node, chance) => void (node.selectionSet = { kind: Kind.SELECTION_SET, selections: [field(chance.pick(FIELDS))] }),
  )],
  [2, 'an object without one', on(
    (node) => node.kind === Kind.FIELD && selectable(node),
    (node) => void (node.selectionSet = undefined),
  )],
  [3, 'an alias that another has', on(ofKind(Kind.FIELD), (node, chance, { holder }) => {
    const others = Array.isArray(holder) ? holder.filter((each) => each.kind === Kind.FIELD && each !== node) : [];
    node.alias = name(others.length > 0 ? (chance.pick(others).alias ?? chance.pick(others).name).value : chance.pick(FIELDS));
  })],
  [2, 'a field again under another’s key, deeper', insertSelection((chance, document) => {
    const fields = [field('id'), ...places(document).map(({ node }) => node).filter(ofKind(Kind.FIELD))];
    return inlineFragment(undefined, [{ ...copy(chance.pick(fields)), alias: chance.pick(fields).alias }]);
  })],
  [2, 'a selection moved elsewhere', insertSelection((chance, document) => {
    const movable = places(document).map(({ node }) => node).filter(ofKind(Kind.FIELD, Kind.INLINE_FRAGMENT));
    return movable.length > 0 ? copy(chance.pick(movable)) : field('id');
  })],
  // Arguments and values
  [2, 'an unknown argument', on(ofKind(Kind.FIELD, Kind.DIRECTIVE), (node, chance) =>
    void node.arguments.push(argument(chance.pick(ARGUMENTS), copy(chance.pick(VALUES)))))],
  [1, 'an argument renamed', on(ofKind(Kind.ARGUMENT), (node, chance) => void (node.name = name(chance.pick(ARGUMENTS))))],
  [2, 'an argument removed', remove(Kind.ARGUMENT)],
  [1, 'an argument repeated', repeat(Kind.ARGUMENT)],
  [6, 'another value', on(isValue, (_node, chance, { holder, key }) => void (holder[key] = copy(chance.pick(VALUES))))],
  [2, 'null for a value', on(isValue, (_node, _chance, { holder, key }) => void (holder[key] = literal(null)))],
  [1, 'a value in a list', on(isValue, (node, _chance, { holder, key }) => void (holder[key] = { kind: Kind.LIST, values: [node] }))],
  [2, 'an input field renamed', on(ofKind(Kind.OBJECT_FIELD), (node, chance) => void (node.name = name(chance.pick(ARGUMENTS))))],
  [1, 'an input field removed', remove(Kind.OBJECT_FIELD)],
  [1, 'an input field repeated', repeat(Kind.OBJECT_FIELD)],
  [1, 'an input field more', on(ofKind(Kind.OBJECT), (node, chance) =>
    void node.fields.push(objectField(chance.pick(ARGUMENTS), copy(chance.pick(VALUES)))))],
  // Fragments
  [2, 'a spread renamed', on(ofKind(Kind.FRAGMENT_SPREAD), (node, chance) => void (node.name = name(chance.pick(['F', 'G', 'Nothing']))))],
  [1, 'a fragment renamed', on(ofKind(Kind.FRAGMENT_DEFINITION), (node, chance) => void (node.name = name(chance.pick(['F', 'G', 'Other']))))],
  [2, 'a fragment that is not used', (chance, document) =>
    void document.definitions.push(fragment('Unused', chance.pick(TYPES), [field(chance.pick(FIELDS))]))],
  [3, 'a spread of any fragment anywhere', insertSelection((chance, document) => {
    const known = definitions(document, Kind.FRAGMENT_DEFINITION);
    return spread(known.length > 0 ? chance.pick(known).name.value : 'Nothing');
  })],
  [2, 'a fragment that spreads another or itself', (chance, document) => {
    const known = definitions(document, Kind.FRAGMENT_DEFINITION);
    if (known.length === 0) return false;
    chance.pick(known).selectionSet.selections.push(spread(chance.pick(known).name.value));
  }],
  [2, 'another type condition', on(
    (node) => node.typeCondition !== undefined,
    (node, chance) => void (node.typeCondition = named(chance.pick(TYPES))),
  )],
  [2, 'an inline fragment on any type', insertSelection((chance) =>
    inlineFragment(chance.pick(TYPES), [field(chance.pick(['id', '__typename', 'username', 'content']))]))],
  // Directives
  [2, 'any directive anywhere', changeDirectives((chance) =>
    [directive(chance.pick(['nothing', 'deprecated', 'specifiedBy', 'oneOf', 'defer', 'skip', 'include']))])],
  [3, 'a condition anywhere', changeDirectives((chance) =>
    [directive(chance.pick(['skip', 'include']), [argument('if', copy(chance.pick([literal(true), literal(false), literal(null), ...VALUES])))])])],
  [1, 'a directive repeated', changeDirectives((chance) => {
    const twice = directive(chance.pick(['skip', 'include']), [argument('if', literal(chance.happens(0.5)))]);
    return [twice, copy(twice)];
  })],
  [1, 'a directive removed', remove(Kind.DIRECTIVE)],
  // Variables
  [2, 'a variable’s definition removed', remove(Kind.VARIABLE_DEFINITION)],
  [1, 'a variable’s definition repeated', repeat(Kind.VARIABLE_DEFINITION)],
  [2, 'a variable that is not used', on(ofKind(Kind.OPERATION_DEFINITION), (node, chance) =>
    void node.variableDefinitions.push(variableDefinition(chance.pick(['v', 'unused']), chance.pick(INPUT_TYPES))))],
  [4, 'a variable of another type', on(ofKind(Kind.VARIABLE_DEFINITION), (node, chance) =>
    void (node.type = variableDefinition('v', chance.pick(INPUT_TYPES)).type))],
  [4, 'a variable that may be null, or may not', on(ofKind(Kind.VARIABLE_DEFINITION), (node) =>
    void (node.type = node.type.kind === Kind.NON_NULL_TYPE ? node.type.type : { kind: Kind.NON_NULL_TYPE, type: node.type }))],
  [3, 'another default', on(ofKind(Kind.VARIABLE_DEFINITION), (node, chance) =>
    void (node.defaultValue = chance.happens(0.3) ? undefined : copy(chance.pick(VALUES.filter((each) => each.kind !== Kind.VARIABLE)))))],
  [2, 'a variable in the place of a value', on(isValue, (_node, chance, { holder, key, around }, document) => {
    if (around.some(ofKind(Kind.VARIABLE_DEFINITION))) return false;
    const type = chance.pick(INPUT_TYPES);
    for (const each of definitions(document, Kind.OPERATION_DEFINITION)) {
      each.variableDefinitions.push(variableDefinition('new', type, chance.happens(0.3) ? copy(chance.pick(VALUES)) : undefined));
    }
    holder[key] = variable('new');
  })],
  [1, 'a variable renamed', on(ofKind(Kind.VARIABLE), (node) => void (node.name = name('undeclared')))],
  // Operations and definitions
  [1, 'another kind of operation', on(ofKind(Kind.OPERATION_DEFINITION), (node, chance) =>
    void (node.operation = chance.pick(Object.values(OperationTypeNode))))],
  [1, 'an operation renamed, or without a name', on(ofKind(Kind.OPERATION_DEFINITION), (node, chance) =>
    void (node.name = chance.happens(0.4) ? undefined : name(chance.pick(['A', 'B', 'Same']))))],
  [1, 'a definition repeated', repeat(Kind.OPERATION_DEFINITION, Kind.FRAGMENT_DEFINITION)],
  [1, 'a definition removed', remove(Kind.OPERATION_DEFINITION, Kind.FRAGMENT_DEFINITION)],
  [2, 'a second root of a subscription', on(
    (node) => node.operation === 'subscription',
    (node, chance) => {
      const more = chance.pick([
        () => field(chance.pick(['messageSent', 'messageRead']), { selections: [field('cursor')] }),
        () => field('messageSent', { alias: 'more', selections: [field('cursor')] }),
        () => field('__typename'),
        () => inlineFragment('Subscription', [field('messageRead', { selections: [field('cursor')] })]),
      ]);
      node.selectionSet.selections.push(more());
    },
  )],
  [1, 'a definition of types', (chance, document) => {
    const text = chance.pick(['type T { id: ID }', 'extend type Query { x: Int }', 'directive @x on FIELD', 'schema { query: Query }', 'scalar S', '"described" enum E { A }']);
    document.definitions.splice(chance.between(0, document.definitions.length), 0, ...parse(text, { noLocation: true }).definitions);
  }],
  // Introspection
  [1, 'introspection, deep or in the wrong place', insertSelection((chance) => {
    let inner = [field('name')];
    for (let depth = chance.between(0, 4); depth > 0; depth -= 1) {
      const link = chance.pick(['fields', 'ofType', 'interfaces', 'possibleTypes', 'inputFields']);
      inner = [field(link, { selections: ['fields', 'inputFields'].includes(link) ? [field('type', { selections: inner })] : inner })];
    }
    return chance.happens(0.5)
      ? field('__type', { args: [argument('name', literal('User'))], selections: inner })
      : field('__schema', { selections: [field('queryType', { selections: inner })] });
  })],
];
