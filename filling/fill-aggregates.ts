/** Fills new aggregates over an interval whose rows are committed, from the offline rows alone. */
import type { State } from "../engine/aggregates.ts";
import type { View } from "../engine/catalogue.ts";
import { OnceflowError } from "../engine/errors.ts";
import { mergeStates } from "../engine/snapshot.ts";
import { lostFiles } from "../store/offline/objects.ts";
import type { Committed, RunRef } from "../workflows/contract.ts";
import { commitFindings } from "./commit.ts";
import type { CommittedViews } from "./committed-views.ts";
import { readParts } from "./offline-parts.ts";
import { addStates, encodeStates } from "./pass-one.ts";
import { findPartition } from "./publish/partitions.ts";
import { factsOf, intervalOfRun } from "./run-facts.ts";
import type { Stores } from "./stores.ts";
import { programOf } from "./view-program.ts";

/**
 * Computes the states of a view's aggregates over a committed generation, and commits them. They go
 * with that generation: where a newer run has begun, that one brings them.
 *
 * @param assertWanted - called between parts; it throws once the run is cancelled
 * @throws FENCED, OFFLINE_UNAVAILABLE where the rows are gone: the run is planned again
 */
export async function fillAggregates(
  stores: Pick<Stores, "ledger" | "offline">,
  committedViews: CommittedViews,
  view: View,
  run: RunRef,
  assertWanted: () => void,
): Promise<Committed> {
  const { offline } = stores;
  const program = programOf(view);
  const partition = await findPartition(offline, view, intervalOfRun(view, run), run.generation);
  if (partition === undefined)
    throw new OnceflowError(
      "OFFLINE_UNAVAILABLE",
      `the rows of view "${view.name}" from ${run.start} to ${run.end}, generation ${run.generation}, are no longer in the offline store ${offline.root}.`,
      { view: view.name, ...lostFiles },
    );
  const sums = new Map<string, State>(
    view.aggregates.map((each) => [each.fingerprint, mergeStates(each, [])]),
  );
  const { ref, parts } = partition;
  for await (const frame of readParts(offline, ref, parts, assertWanted, program.aggregated))
    addStates(view, sums, await program.states(frame));
  const states = encodeStates(view, sums);
  await factsOf(offline, view, run).writeStates(states);
  const findings = { coverage: undefined, states, files: [] };
  return commitFindings(stores, committedViews, view, run, findings);
}

/** Whether the offline rows of a committed interval have all that the view's aggregates read. */
export async function canFillAggregates(
  offline: Stores["offline"],
  view: View,
  run: Pick<RunRef, "start" | "end">,
  generation: number,
): Promise<boolean> {
  const partition = await findPartition(offline, view, intervalOfRun(view, run), generation);
  const [first] = partition?.parts ?? [];
  if (partition === undefined || first === undefined) return partition !== undefined;
  const { aggregated } = programOf(view);
  const columns = await offline.columnsOf(partition.ref, first);
  return aggregated.every((name) => columns.includes(name));
}
