/** How long property tests run, and from which seed: the same for all of them. */
import type { Parameters } from "fast-check";

/** `PROPERTY_SCALE=10` makes the random part ten times as long. */
export const propertyScale = Number(process.env["PROPERTY_SCALE"] ?? 1);

const seed = process.env["PROPERTY_SEED"];

/** The seed of the values that a test takes by `fc.sample`; `PROPERTY_SEED` repeats a failure. */
export const propertySeed = Number(seed ?? Date.now() % 2 ** 31);

/** So many cases, times the scale. */
export function scaled(count: number): number {
  return Math.max(1, Math.round(count * propertyScale));
}

/** So many runs of a property, times the scale; `PROPERTY_SEED` repeats a failure. */
export function runsOf<T>(count: number): Parameters<T> {
  return {
    numRuns: scaled(count),
    ...(seed === undefined ? {} : { seed: propertySeed }),
  };
}
