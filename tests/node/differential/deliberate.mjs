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
  {
    reason:
      'An ID that comes as a number which JSON need not keep exactly is refused: JavaScript itself would have made the id of ' +
      'another user of it. graphql-js takes every whole number.',
    applies: ({ theirs, ours }) =>
      theirs.outcome === 'accepted' &&
      ours?.errors?.every(({ message, extensions }) => extensions.code === 'BAD_USER_INPUT' && /send ids as strings$/.test(message)),
  },
  {
    reason:
      'Introspection of lists within lists of the schema is a matter of price here, told once operation and variables are ' +
      'known. graphql-js has a rule of validation for it that newer releases recommend.',
    applies: ({ theirs, ours, ...request }) =>
      theirs.outcome === 'GRAPHQL_VALIDATION_FAILED' && /__schema|__type/.test(request.text) && nestsIntrospection(theirs, ours),
  },
  {
    reason:
      'A variable that is null where @skip or @include asks for its condition: graphql-js fails while it collects the ' +
      'fields around it, when others may have run. Here nothing runs.',
    applies: ({ ours }) =>
      ours?.errors?.length === 1 &&
      /is the condition of @skip or @include, and may not be null/.test(ours.errors[0].message),
  },
];

/** graphql-js refuses nothing but the depth of introspection, and we refuse that, or what comes first here. */
function nestsIntrospection(theirs, ours) {
  const codes = ['QUERY_TOO_COMPLEX', 'BAD_USER_INPUT', 'BAD_REQUEST'];
  const onlyDepth = theirs.messages?.every((message) => message === 'Maximum introspection depth exceeded');
  return onlyDepth && (ours?.data !== undefined || ours?.errors?.every(({ extensions }) => codes.includes(extensions.code)));
}

/** We refuse the document for this reason alone, and graphql-js got further with it. */
function invalidHere(reason, text) {
  return ({ theirs, ours, ...request }) =>
    !theirs.outcome.startsWith('GRAPHQL') &&
    text.test(request.text) &&
    ours?.errors?.every(({ message, extensions }) => extensions.code === 'GRAPHQL_VALIDATION_FAILED' && reason.test(message));
}
