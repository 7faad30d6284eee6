/** A small seeded generator of numbers: sfc32, by Chris Doty-Humphrey (PractRand). */

/** Draws numbers; the same seed gives the same ones. */
export interface Random {
  /** In [0, 1), with 32 random bits. */
  readonly uniform: () => number;
  /** A double in [−1, 1) whose 53 bits are all random. */
  readonly float64: () => number;
}

/** Makes a generator from a 32-bit seed. */
export function createRandom(seed: number): Random {
  let [a, b, c, counter] = [seed | 0, 0x9e3779b9 | 0, 0x243f6a88 | 0, 1];
  const next = (): number => {
    const drawn = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + drawn;
    c |= 0;
    return drawn >>> 0;
  };
  for (let i = 0; i < 12; i++) next();
  return {
    uniform: () => next() / 2 ** 32,
    float64: () => ((next() >>> 5) * 2 ** 26 + (next() >>> 6)) / 2 ** 52 - 1,
  };
}
