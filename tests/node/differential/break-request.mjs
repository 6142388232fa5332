// Ways to change what goes with a document: its variables and the name of the operation. Each returns false where there is
// nothing to change.

/** What a variable may be given, of every kind that JSON has. */
export const JSON_VALUES = [
  null, true, false, 0, 1, -1, 3, 1.5, 2147483647, 2147483648, -2147483648, -2147483649, 9007199254740991, 1e21,
  '', '3', 'true', 'text', 'dm_x', [], [1], ['a'], [null], [[]], [[{ id: 'x', username: 'y' }]], {}, { id: 'x' },
  { id: 'x', username: 'y' }, [{ id: 'x', username: 'y' }], [{ id: 7, username: 'y' }, null], [{ id: 'x' }],
  { users: { id: 'x', username: 'y' } }, { users: null }, { users: [{ id: 'x', username: 'y', more: 1 }] },
  { recipientId: 'x', content: 'y' }, { recipientId: 1, content: 'y', clientMessageId: null },
  { recipientId: 'x', content: 5 }, { recipientId: 'x', content: null }, { partnerId: 'x' }, { partnerId: 'x', upTo: 1.5 },
];

const key = (chance, { variables }) => {
  const keys = Object.keys(variables ?? {});
  return keys.length > 0 ? chance.pick(keys) : undefined;
};

const onVariable = (change) => (chance, request) => {
  const chosen = key(chance, request);
  if (chosen === undefined) return false;
  change(request.variables, chosen, chance);
};

/** `[weight, name, change]`. */
export const requestBreakers = [
  [3, 'a variable left out', onVariable((variables, chosen) => delete variables[chosen])],
  [2, 'a variable that is null', onVariable((variables, chosen) => (variables[chosen] = null))],
  [6, 'a variable with another value', onVariable((variables, chosen, chance) => (variables[chosen] = chance.pick(JSON_VALUES)))],
  [2, 'a variable in a list', onVariable((variables, chosen) => (variables[chosen] = [variables[chosen]]))],
  [2, 'a list without its brackets', onVariable((variables, chosen) => ([variables[chosen] = null] = [variables[chosen]].flat()))],
  [2, 'a variable’s field changed', onVariable((variables, chosen, chance) => {
    const value = variables[chosen];
    if (value === null || typeof value !== 'object') return;
    const part = chance.pick([...Object.keys(value), 'more']);
    variables[chosen] = Array.isArray(value) ? [...value] : { ...value };
    if (chance.happens(0.3)) delete variables[chosen][part];
    else variables[chosen][part] = chance.pick(JSON_VALUES);
  })],
  [1, 'a variable that nobody asked for', (chance, request) =>
    void (request.variables = { ...request.variables, nobody: chance.pick(JSON_VALUES) })],
  [1, 'all variables left out', (_chance, request) => void (request.variables = undefined)],
  [2, 'another operation’s name', (chance, request) => void (request.operationName = chance.pick(['A', 'B', 'Nothing', '', undefined]))],
];
