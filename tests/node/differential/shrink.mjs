// From a request that shows a difference to a small one that shows the same.
import { parse, print } from 'graphql';
import { copy, places } from './nodes.mjs';
import { tokens } from './text.mjs';

/** The most requests that one shrinking tries. */
const TRIES = 800;

/** `shows(request)` says, asynchronously, whether a request still shows the difference. */
export async function shrink(request, shows) {
  let smallest = request;
  let tries = 0;
  const better = async (change) => {
    const candidate = { ...smallest, ...change };
    tries += 1;
    if (tries > TRIES || !(await shows(candidate))) return false;
    smallest = candidate;
    return true;
  };
  for (let size = Infinity; measure(smallest) < size && tries < TRIES; ) {
    size = measure(smallest);
    await withoutExtras(smallest, better);
    await plainly(smallest, better);
    await withoutNodes(() => smallest.text, better);
    await withoutPieces(() => smallest.text, better);
  }
  return smallest;
}

const measure = ({ text, variables }) => text.length + (JSON.stringify(variables)?.length ?? 0);

async function withoutExtras({ operationName, variables }, better) {
  if (operationName !== undefined) await better({ operationName: undefined });
  if (variables === undefined || (await better({ variables: undefined }))) return;
  let rest = variables;
  for (const key of Object.keys(variables ?? {})) {
    const { [key]: _left, ...fewer } = rest;
    if (await better({ variables: fewer })) rest = fewer;
  }
}

/** Without the disguise. */
async function plainly({ text }, better) {
  const document = attempt(() => parse(text, { noLocation: true }));
  if (document && (await better({ text: printed(document) }))) return;
  const parts = attempt(() => tokens(text));
  if (parts && parts.join(' ').length < text.length) await better({ text: parts.join(' ') });
}

/** Every part of a list left out, or replaced by what is selected inside; then every part that a node need not have. */
async function withoutNodes(text, better) {
  const document = () => attempt(() => parse(text(), { noLocation: true }));
  const changed = (index, change) => {
    const tree = copy(document());
    change(places(tree)[index]);
    return { text: printed(tree) };
  };
  for (let index = 1; document() && index < places(document()).length; ) {
    const { node, holder, key } = places(document())[index];
    const optional = ['alias', 'defaultValue', 'typeCondition'].includes(key) || (key === 'name' && node.kind === 'Name');
    const inner = node.selectionSet?.selections;
    const shorter =
      (Array.isArray(holder) && (await better(changed(index, (place) => place.holder.splice(place.key, 1))))) ||
      (Array.isArray(holder) && inner && (await better(changed(index, (place) => place.holder.splice(place.key, 1, ...place.node.selectionSet.selections))))) ||
      (optional && (await better(changed(index, (place) => (place.holder[place.key] = undefined)))));
    if (!shorter) index += 1;
  }
}

/** Without a run of pieces, the long runs first, and with a space for every gap that need not be as it is. */
async function withoutPieces(text, better) {
  for (let length = Math.ceil(pieces(text()).length / 2); length >= 1; length = length === 1 ? 0 : Math.ceil(length / 2)) {
    for (let at = 0; at < pieces(text()).length; ) {
      const parts = pieces(text());
      const shorter = [...parts.slice(0, at), ...parts.slice(at + length)].join('');
      if (!(await better({ text: shorter }))) at += length;
    }
  }
  for (let at = 0; at < pieces(text()).length; at += 1) {
    const parts = pieces(text());
    if (parts[at].length > 1) await better({ text: parts.with(at, ' ').join('') });
  }
}

/** Tokens and the gaps between them, as they are written; the single characters of what is no GraphQL. */
function pieces(text) {
  const found = attempt(() => tokens(text));
  if (!found) return [...text];
  const parts = [];
  let end = 0;
  for (const token of found) {
    const start = text.indexOf(token, end);
    if (start > end) parts.push(text.slice(end, start));
    parts.push(token);
    end = start + token.length;
  }
  return end < text.length ? [...parts, text.slice(end)] : parts;
}

const printed = (document) => print(document).replace(/\s+/g, ' ');

function attempt(make) {
  try {
    return make();
  } catch {
    return undefined;
  }
}
