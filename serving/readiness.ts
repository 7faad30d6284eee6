/** Whether a process may take traffic, and what it waits for: that the views of its build are filled. */
import { countOf } from "../engine/words.ts";
import type { View } from "../engine/catalogue.ts";
import { messageOf } from "../engine/errors.ts";
import { invocation } from "../engine/invocation.ts";
import { readAwaited } from "../status/filled.ts";
import type { LookupCounters } from "./counters.ts";
import { lostView, type PointerCache, type PointerSet, type ViewPointers } from "./pointers.ts";
import type { RedisConnection } from "../store/redis/types.ts";

/**
 * When a process is ready, besides that Redis answers and has lost nothing: `filled`, once each
 * view has what other definitions of it had committed; `materialized`, once each view has also
 * been materialized; `store`, at once.
 */
export const readyRules = ["filled", "materialized", "store"] as const;
export type ReadyRule = (typeof readyRules)[number];

/** What the store holds of one view for this build. */
export interface ViewReadiness {
  readonly view: string;
  readonly fingerprint: string;
  /** Whether anything is published under the fingerprint; if not, every entity is NOT_FOUND. */
  readonly materialized: boolean;
  /** Whether it has what other definitions of the view had committed; see `ReadyRule`. */
  readonly filled: boolean;
  /** Id of the latest snapshot; null where the view's aggregates have no value yet. */
  readonly snapshot: string | null;
}

/** Whether requests can be answered. */
export interface Readiness {
  readonly ready: boolean;
  /** Why not. */
  readonly reason?: string;
  readonly views: readonly ViewReadiness[];
}

/** What readiness is told from. */
export interface ReadinessOptions {
  readonly redis: RedisConnection;
  readonly prefix?: string | undefined;
  readonly rule: ReadyRule;
  readonly pointers: Pick<PointerCache, "current" | "newest">;
  readonly counters: Pick<LookupCounters, "lastRefreshError">;
}

/**
 * Makes the function that says whether requests can be answered. Anybody may ask, so that many ask
 * at once costs no more than one.
 */
export function createReadiness({
  redis,
  prefix,
  rule,
  pointers,
  counters,
}: ReadinessOptions): () => Promise<Readiness> {
  const filling = createFilling(redis, { prefix, rule });

  const describe = (): ViewReadiness[] =>
    [...(pointers.newest()?.views ?? [])].map(([view, { published, latest }]) => ({
      view: view.name,
      fingerprint: view.fingerprint,
      materialized: published !== null,
      filled: filling.isFilled(view),
      snapshot: latest?.id ?? null,
    }));

  async function readNow(): Promise<Readiness> {
    try {
      const set = await pointers.current();
      await Promise.all((await redis.masters()).map(({ send }) => send(["ping"])));
      const lost = [...set.views].flatMap(([view, { lost }]) =>
        lost ? lostView(view).message : [],
      );
      const waits = [...lost, ...(await filling.reasons(set))];
      const reason = counters.lastRefreshError ?? waits.join("; ");
      if (reason !== "") return { ready: false, reason, views: describe() };
      return { ready: true, views: describe() };
    } catch (error) {
      return { ready: false, reason: messageOf(error), views: describe() };
    }
  }

  let reading: Promise<Readiness> | undefined;
  return () => (reading ??= readNow().finally(() => (reading = undefined)));
}

interface Filling {
  /** Whether a view was found filled. */
  readonly isFilled: (view: View) => boolean;
  /** Why the process waits, a sentence for each view; none where it does not. */
  readonly reasons: (set: PointerSet) => Promise<readonly string[]>;
}

/** Looks at each view until it is filled, and from then on no more. */
function createFilling(
  redis: RedisConnection,
  options: { readonly prefix?: string | undefined; readonly rule: ReadyRule },
): Filling {
  const filled = new Set<View>();

  async function lacksOf(view: View, { published }: ViewPointers): Promise<readonly string[]> {
    if (options.rule === "store" || filled.has(view)) return [];
    const { intervals, snapshot, publish } = await readAwaited(redis, options, view);
    const lacks = [
      ...(intervals === 0 ? [] : [`${countOf(intervals, "interval")} that other definitions have`]),
      ...(snapshot ? ["a snapshot of its aggregates, which other definitions have"] : []),
      ...(publish ? ["a publish of what is committed"] : []),
    ];
    if (lacks.length > 0)
      return [
        `view "${view.name}" lacks ${lacks.join(" and ")}. Run from this build: ${invocation} apply --fill`,
      ];
    if (options.rule === "materialized" && published === null)
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
