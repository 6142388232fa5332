// graphql-js as the judge of the answers' shape. It executes a document by the specification; each root field asks
// the server for that one field alone, with everything selected, so only the putting together is graphql-js's own.
import assert from 'node:assert/strict';
import { buildSchema, execute, getNamedType, GraphQLError, isAbstractType, isLeafType, parse, validate } from 'graphql';
import { post } from './support.mjs';

export function reference(schemaText, token) {
  const idle = buildSchema(schemaText);
  const schema = buildSchema(schemaText);
  for (const field of Object.values(schema.getQueryType().getFields())) {
    const everything = selection(schema, field.type);
    field.resolve = (_root, given) => askAlone(field, given, everything, token);
  }
  return {
    /** What a server that follows the specification answers to a document that runs. */
    async execute(text, { variables, operationName } = {}) {
      const document = parse(text);
      assert.deepEqual(validate(schema, document), [], 'the document is one that graphql-js accepts');
      return execute({ schema, document, variableValues: variables, operationName });
    },
    /** Where graphql-js refuses a request: 'parse', 'validate' or 'execute' (before any field runs). */
    refusal(text, { variables, operationName } = {}) {
      let document;
      try {
        document = parse(text);
      } catch {
        return 'parse';
      }
      if (validate(idle, document).length > 0) return 'validate';
      const ran = 'data' in execute({ schema: idle, document, variableValues: variables, operationName });
      return ran ? undefined : 'execute';
    },
  };
}

/** Asks the server for one root field, with the arguments as graphql-js coerced them. */
export async function askAlone(field, given, everything, token, kind = 'query') {
  const passed = field.args.filter((argument) => argument.name in given);
  const declared = passed.map((argument) => `$${argument.name}: ${argument.type}`).join(', ');
  const handed = passed.map((argument) => `${argument.name}: $${argument.name}`).join(', ');
  const query = `${kind} ${declared && `(${declared})`} { ${field.name}${handed && `(${handed})`} ${everything} }`;

  const { answer } = await post(query, { variables: { ...given }, token });
  if (!answer.errors) return answer.data[field.name];
  assert.equal(answer.errors.length, 1, query);
  const [{ message, extensions }] = answer.errors;
  throw new GraphQLError(message, { extensions });
}

/** The selection of all there is below a type: the schema has no cycles, and only root fields take arguments. */
export function selection(schema, outputType) {
  const type = getNamedType(outputType);
  if (isLeafType(type)) return '';
  if (isAbstractType(type)) {
    const parts = schema.getPossibleTypes(type).map((each) => `... on ${each.name} ${selection(schema, each)}`);
    return `{ __typename ${parts.join(' ')} }`;
  }
  const fields = Object.values(type.getFields()).map((field) => {
    assert.deepEqual(field.args, [], `${type.name}.${field.name} takes arguments`);
    return `${field.name} ${selection(schema, field.type)}`;
  });
  return `{ ${fields.join(' ')} }`;
}
