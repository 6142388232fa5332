// Chance that can be repeated: the same seed, the same choices.

/** Choices from a seed, a whole number; each seed gives its own sequence. */
export function chance(seed) {
  const next = mulberry32(mix(seed));
  const self = {
    /** A whole number from 0 up to, not including, `end`. */
    below: (end) => Math.floor(next() * end),
    /** A whole number from `low` to `high`, both included. */
    between: (low, high) => low + self.below(high - low + 1),
    /** True in this share of the cases. */
    happens: (share) => next() < share,
    pick: (list) => list[self.below(list.length)],
    /** One of `[weight, value]` pairs. */
    weighted(pairs) {
      let left = next() * pairs.reduce((sum, [weight]) => sum + weight, 0);
      for (const [weight, value] of pairs) {
        left -= weight;
        if (left < 0) return value;
      }
      return pairs.at(-1)[1];
    },
    /** `count` of a list, in an order of their own. */
    some(list, count) {
      const rest = [...list];
      const taken = [];
      while (taken.length < count && rest.length > 0) taken.push(...rest.splice(self.below(rest.length), 1));
      return taken;
    },
  };
  return self;
}

/** Spreads neighbouring seeds far apart (the finaliser of MurmurHash3). */
function mix(seed) {
  let hash = seed >>> 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Tommy Ettinger's generator: 32 bits of state, fractions from 0 up to 1. */
function mulberry32(start) {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), bits | 61)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}
