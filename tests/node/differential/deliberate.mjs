// Where the server differs from graphql-js on purpose, each with its reason. Every difference that is not here is a defect.
export const deliberate = [
  {
    reason:
      'The specification of September 2025 forbids @skip and @include on the root of a subscription, since whether it has ' +
      'one root field would depend on variables. graphql-js 16 is older, and fails over such conditions or ignores them.',
    applies: invalidHere(/can not specify @skip or @include on root fields/, /subscription/),
  },
  {
    reason:
      'graphql-js does not know the type of __typename where it merges fields: id: __typename beside an id that is an ID! ' +
      'of another object type is valid to it, though the specification wants one response shape for one key.',
    applies: invalidHere(/conflict because they return conflicting types/, /__typename/),
  },
];

/** We refuse the document for this reason alone, and graphql-js got further with it. */
function invalidHere(reason, text) {
  return ({ theirs, ours, ...request }) =>
    !theirs.outcome.startsWith('GRAPHQL') &&
    text.test(request.text) &&
    ours?.errors?.every(({ message, extensions }) => extensions.code === 'GRAPHQL_VALIDATION_FAILED' && reason.test(message));
}
