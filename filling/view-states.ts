/** What the ledger and the stores know a view by, and what a run may add to it. */
import type { View } from "../engine/catalogue.ts";
import type { Value } from "../engine/language/dtypes.ts";
import { fingerprintOf } from "../engine/fingerprint.ts";
import { formatInterval, type Interval } from "../engine/calendar/interval.ts";
import type { IntervalStates, Snapshot } from "../engine/snapshot.ts";
import type { StoredTable } from "../store/namespace.ts";
import type { RunRef } from "../workflows/contract.ts";
import { OnceflowError } from "../engine/errors.ts";
import { intervalOfRun } from "./run-facts.ts";

/** The bounds of a run, ISO 8601. */
type RunRange = Pick<RunRef, "start" | "end">;

/** The table of entities that the online store keeps for a view. */
export function storedTable(view: View): StoredTable {
  return { view: view.name, kind: "entities", fingerprint: view.fingerprint, columns: view.stores };
}

/** Aggregate values by formula, as compiled programs want them. */
export function valuesByFormula(view: View, snapshot: Snapshot): ReadonlyMap<string, Value> {
  return new Map(
    view.aggregates.map(({ fingerprint, node }) => [
      fingerprintOf(node),
      snapshot.values.get(fingerprint) ?? null,
    ]),
  );
}

/** The fingerprints of a view's aggregates. */
export function aggregateFingerprints(view: View): string[] {
  return view.aggregates.map((aggregate) => aggregate.fingerprint);
}

/** The state of an aggregate among those of a run. A missing one is never taken for an empty one. */
export function requiredState(
  states: Readonly<Record<string, string>>,
  fingerprint: string,
): string {
  const state = states[fingerprint];
  if (state === undefined) throw new Error(`the run has no state of aggregate ${fingerprint}`);
  return state;
}

/** The states of a run, as they would be committed. */
export function statesOfRun(
  view: View,
  { generation }: Pick<RunRef, "generation">,
  states: Readonly<Record<string, string>>,
): IntervalStates {
  return new Map(
    view.aggregates.map(({ fingerprint }) => [
      fingerprint,
      { generation, state: requiredState(states, fingerprint) },
    ]),
  );
}

/**
 * Refuses an interval that cuts a committed one: aggregates would count its rows twice, and which
 * of two rows is the newer could not be told. Full refreshes replace each other and may overlap.
 *
 * @param committed - by `formatInterval`
 * @throws INTERVAL_INVALID
 */
export function assertNoOverlap(
  view: View,
  committed: ReadonlyMap<string, Interval>,
  run: RunRange,
): void {
  if (view.rows.isFullRefresh) return;
  const own = intervalOfRun(view, run);
  for (const [text, { startMs, endMs }] of committed) {
    const isSame = startMs === own.startMs && endMs === own.endMs;
    if (isSame || startMs >= own.endMs || endMs <= own.startMs) continue;
    throw new OnceflowError(
      "INTERVAL_INVALID",
      `the interval ${formatInterval(own)} of view "${view.name}" cuts ${text}, which is committed: aggregates would count rows twice. Materialize intervals that do not overlap. To compute ${text} again, materialize exactly it with --reprocess; to choose another grid, \`reset ${view.name}\` first.`,
      { view: view.name, committed: text },
    );
  }
}
