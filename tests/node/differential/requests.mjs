// The requests: from a seed to a document with variables and an operation's name, valid or broken in one or two places.
import { print } from 'graphql';
import { documentBreakers } from './break-document.mjs';
import { requestBreakers } from './break-request.mjs';
import { chance as seeded } from './chance.mjs';
import { generate } from './generate.mjs';
import { disguise, textBreakers } from './text.mjs';

/** So many requests: the n-th has the seed `seed + n`. */
export function* requests(seed, count, schema, pools) {
  for (let index = 0; index < count; index += 1) {
    const own = (seed + index) % 2 ** 32;
    yield { seed: own, ...request(own, schema, pools) };
  }
}

/** The one request of a seed: `{text, variables, operationName, broken}`, `broken` naming what was done to it. */
export function request(seed, schema, pools) {
  const chance = seeded(seed);
  const made = generate(chance, schema, pools);
  const broken = [];
  const breakBy = (breakers, target) => {
    const [, name, change] = chance.weighted(breakers.map((each) => [each[0], each]));
    const result = change(chance, target);
    if (result !== false) broken.push(name);
    return result;
  };

  const places = chance.happens(0.42) ? 0 : chance.weighted([[4, 1], [1, 2]]);
  const kinds = Array.from({ length: places }, () => chance.weighted([[7, 'document'], [2, 'text'], [2, 'request']]));
  for (const kind of kinds) {
    if (kind === 'document') breakBy(documentBreakers, made.document);
    if (kind === 'request') breakBy(requestBreakers, made);
  }
  let text = print(made.document);
  if (chance.happens(0.5)) text = disguised(chance, text);
  if (kinds.includes('text')) text = wellFormed(breakBy(textBreakers, text));
  const { variables, operationName } = made;
  return { text, variables: given(chance, variables), operationName, broken };
}

/** Without half of a pair of surrogates: UTF-8 has none. */
const wellFormed = (text) => text.replace(/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g, '');

function disguised(chance, text) {
  try {
    return disguise(chance, text);
  } catch {
    return text; // what cannot be read cannot be dressed up either
  }
}

/** No variables at all may go out as an empty object, as null, or not. */
function given(chance, variables) {
  if (variables === undefined || Object.keys(variables).length > 0) return variables;
  return chance.pick([{}, null, undefined]);
}
