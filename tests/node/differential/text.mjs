// A document as text: printed with noise that means nothing, and ways to break its tokens.
import { Lexer, Source, TokenKind } from 'graphql';

const GAPS = [' ', ' ', ' ', '\n', '\n  ', ',', ', ', '\t', '\r\n', '\r', '\uFEFF', ' # comment } { "\n', '#\u{1F3C3}\r', ',,\n'];
const PUNCTUATION = '!$&()...:=@[]{|}';
const ODD = [
  '{', '}', '(', ')', '[', ']', ':', '=', '!', '|', '&', '@', '$', '...', '..', '.', '?', '%', '-', '+', '\\', "'x'", '/', '~', '^', ';', '<', '*',
  'on', 'fragment', 'query', 'mutation', 'subscription', 'true', 'null', 'extend', 'type', '@skip', '$v', '$', '@',
  '0', '-1', '00', '01', '-01', '1.', '.5', '1.e1', '1e', '1e+', '0x1', '1_000', '--1', '+1', '1a', '1.5f', '123456789012345678901', '1e400', '0.0',
  '""', '"text"', '"', '"""', '"""block"""', '"un\nended"', '"\\x"', '"\\u12"', '"\\u{110000}"', '"\\u{}"', '"\\uD83D"', '"\\uDE00"', '"\\uD83D\\uDE00"',
  '"\\u{1F3C3}"', '"\\u{D83D}"', '"\u0007"', '"\u007f"', '"\t"', '"\\/\\b\\f\\n\\r\\t"', '"""\\u0041"""', '"""\\""""""', '"""a\u0007"""', '# end', '#', '\uFEFF',
  '\u00A0', '\u200B', '\u2028', 'é', '\u{1F3C3}', '\u0000', '\u0007', '\u007f', '\v', '\f',
];

/** The tokens of a document, as they are written, without comments. */
export function tokens(text) {
  const lexer = new Lexer(new Source(text));
  const found = [];
  while (lexer.advance().kind !== TokenKind.EOF) found.push(text.slice(lexer.token.start, lexer.token.end));
  return found;
}

/** The same document in another dress: other gaps, commas, comments, a byte order mark, escapes. */
export function disguise(chance, text) {
  const parts = tokens(text).map((token) => (token.startsWith('"') ? escape(chance, token) : token));
  const start = chance.happens(0.1) ? '\uFEFF' : '';
  const end = chance.pick(['', '', '\n', '# end', '\uFEFF', ',']);
  return start + join(chance, parts) + end;
}

function join(chance, parts) {
  return parts.reduce((text, part, index) => {
    const free = index > 0 && (PUNCTUATION.includes(part) || PUNCTUATION.includes(parts[index - 1]));
    // A number runs into three dots, and a string into another.
    const apart = /\d$/.test(parts[index - 1] ?? '') && part === '...';
    return text + (index === 0 || (free && !apart && chance.happens(0.5)) ? '' : chance.pick(GAPS)) + part;
  }, '');
}

/** Some characters of a string as escapes. */
function escape(chance, token) {
  if (token.startsWith('"""') || !chance.happens(0.3)) return token;
  const inner = [...token.slice(1, -1)];
  const escaped = inner.map((character, index) => {
    if (character === '\\' || inner[index - 1] === '\\' || /[0-9a-fA-F]/.test(character) || !chance.happens(0.2)) return character;
    const code = character.codePointAt(0);
    if (code > 0xffff || chance.happens(0.4)) return `\\u{${code.toString(16)}}`;
    return `\\u${code.toString(16).padStart(4, '0')}`;
  });
  return `"${escaped.join('')}"`;
}

const changed = (change) => (chance, text) => {
  let parts;
  try {
    parts = tokens(text);
  } catch {
    return text + chance.pick(ODD); // broken before
  }
  if (parts.length === 0) return chance.pick(ODD);
  change(parts, chance.below(parts.length), chance);
  return parts.join(' ');
};

/** `[weight, name, change]`: from text to text. */
export const textBreakers = [
  [4, 'a token deleted', changed((parts, at) => parts.splice(at, 1))],
  [1, 'several tokens deleted', changed((parts, at, chance) => parts.splice(at, chance.between(2, 5)))],
  [2, 'a token doubled', changed((parts, at) => parts.splice(at, 0, parts[at]))],
  [2, 'two tokens swapped', changed((parts, at) => parts.splice(at, 2, ...parts.slice(at, at + 2).reverse()))],
  [5, 'an odd token inserted', changed((parts, at, chance) => parts.splice(at, 0, chance.pick(ODD)))],
  [5, 'an odd token in the place of one', changed((parts, at, chance) => (parts[at] = chance.pick(ODD)))],
  [2, 'a token from elsewhere in its place', changed((parts, at, chance) => (parts[at] = chance.pick(parts)))],
  [1, 'a character deleted', (chance, text) => {
    const at = chance.below(text.length);
    return text.slice(0, at) + text.slice(at + 1);
  }],
  [1, 'an odd character inserted', (chance, text) => {
    const at = chance.between(0, text.length);
    return text.slice(0, at) + chance.pick(ODD) + text.slice(at);
  }],
  [1, 'the end cut off', (chance, text) => text.slice(0, chance.below(text.length))],
];
