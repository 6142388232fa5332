// What graphql-js makes of a request: where it refuses it, or the answer by its own execution. Each root field's value comes
// from the server, asked for that field alone, once for each set of arguments: nothing that runs here changes anything.
import {
  buildSchema,
  execute,
  getOperationAST,
  getVariableValues,
  GraphQLError,
  parse,
  specifiedRules,
  validate,
} from 'graphql';
import { askAlone, selection } from '../reference.mjs';
import { places } from './nodes.mjs';
import { KNOWN_KEY } from './world.mjs';

/** @param schemaText the schema that is judged by; the server's own unless a test wants to see a difference */
export function judge(schemaText, world, rules = specifiedRules) {
  const schema = buildSchema(schemaText);
  const known = new Map();
  for (const kind of ['query', 'mutation']) {
    for (const field of Object.values(schema.getRootType(kind).getFields())) {
      const everything = selection(schema, field.type);
      field.resolve = (_root, given, context) => {
        context.calls?.push({ field: field.name, given });
        if (context.calls) return null;
        const key = `${context.token ? 'ann' : 'nobody'} ${field.name} ${JSON.stringify(given)}`;
        if (!known.has(key)) known.set(key, askAlone(field, given, everything, context.token, kind));
        return known.get(key);
      };
    }
  }

  return {
    schema,
    /** `{outcome, messages}` of a refusal, or of none where graphql-js fails; `{outcome: 'accepted', operation, run}` of what runs. */
    judge({ text, variables, operationName: name }) {
      // An empty name is none, as the clients that send it mean it; graphql-js looks for an operation of that name.
      const operationName = name || undefined;
      const refused = (outcome, errors) => ({ outcome, messages: errors.map(({ message }) => message) });
      let document;
      try {
        document = parse(text);
      } catch (error) {
        return refused('GRAPHQL_PARSE_FAILED', [error]);
      }
      let invalid;
      try {
        invalid = validate(schema, document, rules);
      } catch {
        // graphql-js 16 evaluates @skip and @include on a subscription's root fields while it validates, without variables
        // and whatever their arguments are, and throws where it cannot: that is no verdict.
        return refused('none', []);
      }
      if (invalid.length > 0) return refused('GRAPHQL_VALIDATION_FAILED', invalid);
      const operation = getOperationAST(document, operationName);
      if (!operation) return refused('BAD_REQUEST', [new GraphQLError('no such operation')]);
      const { errors } = getVariableValues(schema, operation.variableDefinitions, variables ?? {});
      if (errors) return refused('BAD_USER_INPUT', errors);
      if (operation.operation === 'subscription') return refused('BAD_REQUEST', [new GraphQLError('a subscription by POST')]);
      const run = (contextValue) =>
        execute({ schema, document, variableValues: variables, operationName, contextValue });
      return { outcome: 'accepted', operation, run, introspected: introspected(document) };
    },
    /** The token to ask with; none for what is refused, so that nothing changes even where the server accepts it. */
    tokenFor: (verdict) => (verdict.outcome === 'accepted' ? tokenFor(verdict, world) : undefined),
    /** The answer to what was accepted: `{data, errors, introspected}`, with the keys that introspection may have. */
    async answer({ run, introspected }, token) {
      return { ...(await run({ token })), introspected };
    },
  };
}

/** The keys under which introspection stands. */
function introspected(document) {
  const found = places(document).map(({ node }) => node).filter((node) => ['__schema', '__type'].includes(node.name?.value));
  return new Set(found.map((node) => (node.alias ?? node.name).value));
}

/** Who runs it: ann, unless that could change something; then nobody, who is refused at every field. */
function tokenFor({ operation: { operation }, run }, { token, reachable, ben }) {
  if (operation === 'query') return token;
  const calls = [];
  const { errors } = run({ calls });
  const sends = calls.some(({ field, given: { input } }) => {
    const known = input.recipientId === ben && input.clientMessageId === KNOWN_KEY;
    return field === 'sendMessage' && reachable.has(input.recipientId) && !known;
  });
  // A field that graphql-js does not call, since its arguments or conditions cannot be, could still run here.
  return sends || errors ? undefined : token;
}
