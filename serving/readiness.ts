/** What a process waits for before it takes traffic: that the views of its build are filled. */
import type { View } from "../engine/catalogue.ts";
import { invocation } from "../engine/invocation.ts";
import { readLacking } from "../status/filled.ts";
import type { RedisConnection } from "../store/redis/connection.ts";
import type { PointerSet, ViewPointers } from "./pointers.ts";

/**
 * When a process is ready, besides that Redis answers and has lost nothing: `filled`, once each
 * view has what other definitions of it had committed; `materialized`, once each view has also
 * been materialized; `store`, at once.
 */
export const readyRules = ["filled", "materialized", "store"] as const;
export type ReadyRule = (typeof readyRules)[number];

export interface Filling {
  /** Whether a view was found filled. */
  readonly isFilled: (view: View) => boolean;
  /** Why the process waits, a sentence for each view; none where it does not. */
  readonly reasons: (set: PointerSet) => Promise<readonly string[]>;
}

/** Looks at each view until it is filled, and from then on no more. */
export function createFilling(
  redis: RedisConnection,
  options: { readonly prefix?: string | undefined; readonly rule: ReadyRule },
): Filling {
  const filled = new Set<View>();

  async function lacksOf(view: View, { head }: ViewPointers): Promise<readonly string[]> {
    if (options.rule === "store" || filled.has(view)) return [];
    const { intervals, snapshot } = await readLacking(redis, options, view);
    const lacks = [
      ...(intervals === 0
        ? []
        : [`${intervals} interval${intervals === 1 ? "" : "s"} that other definitions have`]),
      ...(snapshot ? ["a snapshot of its aggregates, which other definitions have"] : []),
    ];
    if (lacks.length > 0)
      return [
        `view "${view.name}" lacks ${lacks.join(" and ")}. Run from this build: ${invocation} apply --fill`,
      ];
    if (options.rule === "materialized" && head === null)
      return [
        `view "${view.name}" has never been materialized. Run: ${invocation} materialize ${view.name}`,
      ];
    filled.add(view);
    return [];
  }

  return {
    isFilled: (view) => filled.has(view),
    async reasons({ views }) {
      const all = await Promise.all([...views].map(([view, each]) => lacksOf(view, each)));
      return all.flat();
    },
  };
}
