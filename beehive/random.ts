/** Chance as a parameter: jitter and random choices come from here, so that a run can be repeated from its seed. */

export interface Random {
  /** 0 <= x < 1 */
  next(): number;
}

export const systemRandom: Random = { next: () => Math.random() };

/** The same numbers for the same seed (mulberry32). */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return {
    next() {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = state;
      t = Math.imul(t ^ (t >>> 15), t | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    },
  };
}
