// A document that is valid by intention: operations, fragments, variables and values from the schema. What slips through
// as invalid (two fields that do not merge, a page size that is refused) is as welcome, as graphql-js judges it.
import {
  getNamedType,
  getNullableType,
  isAbstractType,
  isEnumType,
  isInputObjectType,
  isIntrospectionType,
  isLeafType,
  isListType,
  isNonNullType,
  isRequiredArgument,
  isRequiredInputField,
  Kind,
  SchemaMetaFieldDef,
  TypeMetaFieldDef,
} from 'graphql';
import {
  argument,
  directive,
  field,
  fragment,
  inlineFragment,
  literal,
  objectField,
  spread,
  variable,
  variableDefinition,
} from './nodes.mjs';
import { pool } from './world.mjs';

/** Nested selections. Deeper documents take longer, and tell no more. */
const DEPTH = 4;
const ALIASES = ['a', 'b', 'c', 'id', 'content', 'viewer', 'query', 'on', 'fragment', 'true', 'null', 'type', '_', 'A1', '__x'];
const OPERATION_NAMES = ['A', 'B', 'Viewer', 'query', 'on', 'mutation', 'null', '_1'];
const FRAGMENT_NAMES = ['F', 'G', 'H', 'User', 'query', 'fragment', 'true', 'I2', 'J', 'K'];
const VARIABLE_NAMES = ['v', 'w', 'id', 'first', 'on', 'null', 'query', 'input', '_', 'x1', 'y', 'z', 'n0', 'n1', 'n2', 'n3'];

/** A request by chance: `{document, variables, operationName}`, the document as a syntax tree. */
export function generate(chance, schema, pools) {
  return new Generator(chance, schema, pools).request();
}

class Generator {
  constructor(chance, schema, pools) {
    this.chance = chance;
    this.schema = schema;
    this.pools = pools;
    /** Name to `{on, node, uses}`. */
    this.fragments = new Map();
    /** Name to `{type, defaultValue, value}`, `value` being undefined where it is left out of the request. */
    this.variables = new Map();
    /** Response key to the field that it stands for: one key, one field. */
    this.keys = new Map();
  }

  request() {
    const { chance } = this;
    const kinds = Array.from({ length: chance.weighted([[8, 1], [2, 2], [1, 3]]) }, () =>
      chance.weighted([[15, 'query'], [3, 'mutation'], [2, 'subscription']]));
    const names = chance.some(OPERATION_NAMES, kinds.length);
    const anonymous = kinds.length === 1 && chance.happens(0.5);
    const operations = kinds.map((kind, index) => this.operation(kind, anonymous ? undefined : names[index]));
    const definitions = [...operations, ...[...this.fragments.values()].map(({ node }) => node)];
    const document = { kind: Kind.DOCUMENT, definitions: chance.some(definitions, definitions.length) };
    const values = [...this.variables].filter(([, { value }]) => value !== undefined);
    return {
      document,
      variables: Object.fromEntries(values.map(([key, { value }]) => [key, value])),
      operationName: kinds.length > 1 || (!anonymous && chance.happens(0.3)) ? chance.pick(names.slice(0, kinds.length)) : undefined,
    };
  }

  operation(kind, called) {
    const root = this.schema.getRootType(kind);
    const uses = { variables: new Set(), fragments: new Set() };
    const selections = kind === 'subscription' ? this.oneRoot(root, uses) : this.selections(root, DEPTH, uses);
    return {
      kind: Kind.OPERATION_DEFINITION,
      operation: kind,
      name: called && { kind: Kind.NAME, value: called },
      variableDefinitions: this.chance.some([...this.reached(uses)], 99).map((key) => {
        const { type, defaultValue } = this.variables.get(key);
        return variableDefinition(key, type, defaultValue);
      }),
      directives: [],
      selectionSet: { kind: Kind.SELECTION_SET, selections },
    };
  }

  /** The variables that a definition uses, also through fragments. */
  reached(uses, seen = new Set()) {
    const found = new Set(uses.variables);
    for (const key of uses.fragments) {
      if (seen.has(key)) continue;
      seen.add(key);
      for (const each of this.reached(this.fragments.get(key).uses, seen)) found.add(each);
    }
    return found;
  }

  oneRoot(root, uses) {
    const chosen = this.field(root, this.chance.pick(Object.values(root.getFields())), DEPTH, uses, []);
    return this.chance.happens(0.8) ? [chosen] : [inlineFragment(root.name, [chosen])];
  }

  selections(type, depth, uses) {
    const { chance } = this;
    const chosen = [];
    const count = chance.weighted([[10, 1], [8, 2], [3, 3], [1, 5]]);
    while (chosen.length < count) chosen.push(this.selection(type, depth, uses));
    return chosen;
  }

  selection(type, depth, uses) {
    const { chance } = this;
    if (depth > 0 && chance.happens(0.14)) return this.inline(type, depth, uses);
    if (depth > 0 && chance.happens(0.12) && !isIntrospectionType(type)) return this.named(type, depth, uses);
    const directives = this.directives(uses);
    if (chance.happens(0.07)) return field('__typename', { directives, alias: chance.happens(0.3) ? this.alias('__typename', 'String!') : undefined });
    if (type === this.schema.getQueryType() && chance.happens(0.06)) {
      return this.field(type, chance.pick([SchemaMetaFieldDef, TypeMetaFieldDef]), 2, uses, directives);
    }
    const all = Object.values(type.getFields());
    const leaves = all.filter((each) => isLeafType(getNamedType(each.type)));
    const fields = depth > 0 || leaves.length === 0 ? all : leaves;
    return this.field(type, chance.pick(fields), depth, uses, directives);
  }

  /** Narrower, wider or the same: what may stand in a selection of this type. */
  condition(type) {
    const { chance, schema } = this;
    const options = isAbstractType(type) ? [type, ...schema.getPossibleTypes(type)] : [type, ...(type.getInterfaces?.() ?? [])];
    return chance.pick(options);
  }

  inline(type, depth, uses) {
    const on = this.chance.happens(0.3) ? undefined : this.condition(type);
    return inlineFragment(on?.name, this.selections(on ?? type, depth - 1, uses), this.directives(uses));
  }

  named(type, depth, uses) {
    const { chance } = this;
    const on = this.condition(type);
    const known = [...this.fragments].filter(([, each]) => each.on === on && each.node);
    let key = known.length > 0 && chance.happens(0.5) ? chance.pick(known)[0] : undefined;
    if (!key) {
      key = FRAGMENT_NAMES.find((free) => !this.fragments.has(free));
      if (!key) return this.inline(type, depth, uses);
      const made = { on, uses: { variables: new Set(), fragments: new Set() } };
      this.fragments.set(key, made);
      made.node = fragment(key, on.name, this.selections(on, depth - 1, made.uses));
    }
    uses.fragments.add(key);
    return spread(key, this.directives(uses));
  }

  field(parent, definition, depth, uses, directives) {
    const { chance } = this;
    const type = getNamedType(definition.type);
    const args = this.args(definition, uses);
    const needsOwnKey = args.length > 0 || definition.args.length > 0;
    const alias = chance.happens(0.2) || (needsOwnKey && this.keys.has(definition.name))
      ? this.alias(definition.name, String(definition.type), needsOwnKey)
      : undefined;
    if (needsOwnKey && !alias) this.keys.set(definition.name, '');
    const inner = isIntrospectionType(type) && !isIntrospectionType(parent) ? 2 : depth - 1;
    const selections = isLeafType(type) ? undefined : this.selections(type, inner, uses);
    return field(definition.name, { alias, args, directives, selections });
  }

  /** A key that stands for this field everywhere. With arguments, it is used once. */
  alias(key, type, once = false) {
    const meaning = `${key}: ${type}`;
    const free = ALIASES.filter((each) => !this.keys.has(each) || (!once && this.keys.get(each) === meaning));
    const chosen = free.length > 0 ? this.chance.pick(free) : `${key}${this.keys.size}`;
    this.keys.set(chosen, once ? '' : meaning);
    return chosen;
  }

  directives(uses) {
    const { chance } = this;
    if (!chance.happens(0.08)) return [];
    return chance.some(['skip', 'include'], chance.happens(0.85) ? 1 : 2).map((key) => {
      const value = this.value({ type: this.schema.getDirective(key).args[0].type }, key, 'if', uses);
      return directive(key, [argument('if', value)]);
    });
  }

  args(definition, uses) {
    const { chance } = this;
    // A page of the default's size is long: most documents ask for less.
    const given = definition.args.filter((each) =>
      isRequiredArgument(each) || chance.happens(['first', 'limit'].includes(each.name) ? 0.5 : 0.25));
    return chance.some(given, given.length).map((each) =>
      argument(each.name, this.value(each, definition.name, each.name, uses)));
  }

  /** A literal or a variable, where `place` says the type and the default. */
  value(place, owner, key, uses) {
    const { chance } = this;
    if (chance.happens(0.35)) return this.variableFor(place, owner, key, uses);
    const type = getNullableType(place.type);
    if (!isNonNullType(place.type) && chance.happens(0.08)) return literal(null);
    if (isListType(type)) {
      const items = Array.from({ length: chance.between(0, 2) }, () => this.value({ type: type.ofType }, owner, key, uses));
      return items.length === 1 && chance.happens(0.3) ? items[0] : { kind: Kind.LIST, values: items };
    }
    if (isInputObjectType(type)) {
      const fields = Object.values(type.getFields()).filter((each) => isRequiredInputField(each) || chance.happens(0.4));
      return {
        kind: Kind.OBJECT,
        fields: chance.some(fields, 9).map((each) => objectField(each.name, this.value(each, type.name, each.name, uses))),
      };
    }
    return this.leaf(literal(this.json(type, owner, key)));
  }

  leaf(node) {
    if (node.kind === Kind.STRING && this.chance.happens(0.15)) return { ...node, block: true };
    return node;
  }

  variableFor(place, owner, key, uses) {
    const { chance } = this;
    const type = this.variableType(place);
    const known = [...this.variables].filter(([, each]) => each.type === type.text);
    let chosen = known.length > 0 && chance.happens(0.4) ? chance.pick(known)[0] : undefined;
    if (!chosen) {
      chosen = VARIABLE_NAMES.find((free) => !this.variables.has(free)) ?? `v${this.variables.size}`;
      this.variables.set(chosen, this.declare(type, owner, key));
    }
    uses.variables.add(chosen);
    return variable(chosen);
  }

  /** A type that a variable may have in a place: the place's own, a stricter one, or a looser one with a default. */
  variableType(place) {
    const { chance } = this;
    const nullable = getNullableType(place.type);
    if (isNonNullType(place.type)) {
      if (place.defaultValue !== undefined && chance.happens(0.4)) return { text: String(nullable), type: nullable };
      if (chance.happens(0.15)) return { text: String(nullable), type: nullable, needsDefault: true };
      return { text: String(place.type), type: place.type };
    }
    if (chance.happens(0.2)) return { text: `${nullable}!`, type: nullable, required: true };
    return { text: String(nullable), type: nullable };
  }

  declare({ text, type, required, needsDefault }, owner, key) {
    const { chance } = this;
    const mayBeNull = !required && !isNonNullType(type);
    const some = () => this.json(getNullableType(type), owner, key);
    const hasDefault = needsDefault || chance.happens(0.25);
    const defaultValue = hasDefault
      ? this.leaf(literal(mayBeNull && !needsDefault && chance.happens(0.2) ? null : some()))
      : undefined;
    let value = some();
    if ((mayBeNull || hasDefault) && chance.happens(0.3)) value = undefined;
    else if (mayBeNull && chance.happens(0.15)) value = null;
    return { type: text, defaultValue, value };
  }

  /** A value of a type as JSON; a symbol would be an enum's, but no input of ours takes one. */
  json(type, owner, key) {
    const { chance } = this;
    const nullable = getNullableType(type);
    if (isListType(nullable)) {
      return Array.from({ length: chance.between(0, 2) }, () => this.json(nullable.ofType, owner, key));
    }
    if (isInputObjectType(nullable)) {
      const fields = Object.values(nullable.getFields()).filter((each) => isRequiredInputField(each) || chance.happens(0.4));
      return Object.fromEntries(chance.some(fields, 9).map((each) => [
        each.name,
        !isNonNullType(each.type) && chance.happens(0.2) ? null : this.json(each.type, nullable.name, each.name),
      ]));
    }
    if (isEnumType(nullable)) return Symbol.for(chance.pick(nullable.getValues()).name);
    switch (nullable.name) {
      case 'Boolean':
        return chance.happens(0.5);
      case 'Int':
        return chance.pick(this.pools.pageSizes);
      case 'ID':
        return chance.pick(pool(this.pools, owner, key));
      default:
        return String(chance.pick(pool(this.pools, owner, key)));
    }
  }
}
