// Many requests, several at a time, and what to say about those that differ.
import { compare } from './compare.mjs';
import { shrink } from './shrink.mjs';

const AT_A_TIME = 8;
/** So many sorts of differences are shrunk and told. */
const TOLD = 60;

/** Compares each of `requests`. Returns the differences, the seconds, and how many requests had which outcome. */
export async function run(judge, requests) {
  const differences = [];
  const outcomes = {};
  const start = performance.now();
  const queue = requests[Symbol.iterator]();
  const worker = async () => {
    for (const request of queue) {
      const difference = await compare(judge, request, (outcome) => {
        outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      });
      if (difference) differences.push({ request, ...difference });
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, worker));
  return { differences, outcomes, seconds: (performance.now() - start) / 1000 };
}

/** Each sort of difference once: how often, where it comes from, the smallest request that shows it, and both answers. */
export async function report(judge, differences) {
  const sorts = new Map();
  for (const each of differences) sorts.set(each.kind, [...(sorts.get(each.kind) ?? []), each]);
  const told = [];
  for (const [kind, same] of [...sorts].sort((a, b) => b[1].length - a[1].length).slice(0, TOLD)) {
    const [{ request }] = same.sort((a, b) => a.request.text.length - b.request.text.length);
    const small = request.body ? request : await shrink(request, async (candidate) => (await compare(judge, candidate))?.kind === kind);
    const again = await compare(judge, small);
    const { theirs, ours } = again ?? same[0];
    const origin = request.seed === undefined ? '' : `\n  SEED=${request.seed} has it; broken by: ${request.broken.join(', ') || 'nothing'}`;
    told.push(`${kind} (${same.length} times${again ? '' : '; not when asked again'})${origin}
  document:   ${JSON.stringify(small.text)}
  variables:  ${small.body ?? JSON.stringify(small.variables)}, operationName: ${JSON.stringify(small.operationName)}
  graphql-js: ${theirs.slice(0, 700)}
  ours:       ${ours.slice(0, 700)}`);
  }
  return `${differences.length} differences of ${sorts.size} sorts\n\n${told.join('\n\n')}\n`;
}
