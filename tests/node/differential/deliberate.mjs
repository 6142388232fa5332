// Where the server differs from graphql-js on purpose, each with its reason. Every difference that is not here is a defect.
export const deliberate = [
  {
    reason:
      'The specification of September 2025 forbids @skip and @include on the root of a subscription, since whether it has ' +
      'one root field would depend on variables. graphql-js 16 is older, and fails over such conditions or ignores them.',
    applies: ({ theirs, ours }) =>
      theirs.outcome !== 'GRAPHQL_PARSE_FAILED' &&
      ours?.errors?.[0]?.extensions?.code === 'GRAPHQL_VALIDATION_FAILED' &&
      ours.errors.every(({ message }) => message.includes('can not specify @skip or @include on root fields')),
  },
];
