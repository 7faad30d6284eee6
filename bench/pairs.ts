/** How every benchmark measures: figure and limit in turn, so that both meet the same noise. */
import type { Detail } from "../dev/progress.ts";
import type { Pair } from "./report.ts";

/** What every benchmark takes. */
export interface BenchOptions {
  /** How often figure and limit are measured. */
  readonly pairs: number;
  /** Divides the rows of each case, to try a benchmark out. */
  readonly scale: number;
}

/**
 * Measures figure and limit in turn, the one first in every other pair, after both have run once
 * without being measured: a worker is warm, and what a benchmark has written settles.
 *
 * @param measure - each returns a quantity in the unit of the case
 * @param options - `warmUp: false` where each measurement has a process of its own
 */
export async function measurePairs(
  pairs: number,
  detail: Detail,
  measure: Readonly<Record<keyof Pair, () => Promise<number>>>,
  { warmUp = true }: { readonly warmUp?: boolean } = {},
): Promise<Pair[]> {
  const measured: Pair[] = [];
  if (warmUp) {
    detail("warm-up");
    await measure.figure();
    await measure.limit();
  }
  for (let pair = 0; pair < pairs; pair++) {
    const found: { figure?: number; limit?: number } = {};
    const order = pair % 2 === 0 ? (["figure", "limit"] as const) : (["limit", "figure"] as const);
    for (const which of order) {
      detail(`pair ${pair + 1} of ${pairs}: the ${which}`);
      globalThis.gc?.();
      found[which] = await measure[which]();
    }
    measured.push({ figure: found.figure ?? NaN, limit: found.limit ?? NaN });
  }
  return measured;
}

/** Seconds that work takes. */
export async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const startedAtMs = performance.now();
  await work();
  return (performance.now() - startedAtMs) / 1000;
}
