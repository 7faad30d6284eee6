/** Two answers to one request that are given at different times. */
import type { FeatureAnswer } from "../../serving/answer.ts";

/** An answer whose ages are only named: they grow from call to call. */
export function withoutAges({ results, ...head }: FeatureAnswer): object {
  return { ...head, results: results.map((row) => ({ ...row, ages: Object.keys(row.ages) })) };
}
