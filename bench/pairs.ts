/** How every benchmark measures: figure and limit in turn, so that both meet the same noise. */
import type { Detail } from "../cli/progress.ts";

/** What one measurement of each gave. */
export type Sides<T> = Readonly<Record<"figure" | "limit", T>>;

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
 * @param measure - each returns a quantity in the unit of the case, or several
 * @param options - `warmUp: false` where each measurement has a process of its own
 */
export async function measurePairs<T = number>(
  pairs: number,
  detail: Detail,
  measure: Sides<() => Promise<T>>,
  { warmUp = true }: { readonly warmUp?: boolean } = {},
): Promise<Sides<T>[]> {
  const measured: Sides<T>[] = [];
  if (warmUp) {
    detail("warm-up");
    await measure.figure();
    await measure.limit();
  }
  for (let pair = 0; pair < pairs; pair++) {
    const one = (which: "figure" | "limit"): Promise<T> => {
      detail(`pair ${pair + 1} of ${pairs}: the ${which}`);
      return measure[which]();
    };
    if (pair % 2 === 0) measured.push({ figure: await one("figure"), limit: await one("limit") });
    else measured.push({ limit: await one("limit"), figure: await one("figure") });
  }
  return measured;
}

/** Seconds that work takes. */
export async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const startedAtMs = performance.now();
  await work();
  return (performance.now() - startedAtMs) / 1000;
}
