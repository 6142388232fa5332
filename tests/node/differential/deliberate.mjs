// Where the server differs from graphql-js on purpose, each with its reason. Every difference that is not here is a defect.
export const deliberate = [];
