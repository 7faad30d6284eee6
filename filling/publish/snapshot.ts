/** The aggregate snapshot that goes with a publish: merged from the states of its intervals. */
import type { View } from "../../engine/catalogue.ts";
import { parseInterval } from "../../engine/calendar/interval.ts";
import { createSnapshotMerge, encodeSnapshot } from "../../engine/snapshot.ts";
import type { OfflineStore } from "../../store/offline/offline-store.ts";
import type { CommittedView } from "../committed-views.ts";
import type { PublishPlan, PublishTarget } from "./plan.ts";

/** A snapshot as it is stored. */
export interface TargetSnapshot {
  readonly id: string;
  readonly asOfMs: number;
  readonly body: string;
}

/**
 * The snapshot of a target; undefined for a view without aggregates, and where one of them has no
 * state in some interval: its value would be of a part.
 */
export async function snapshotOf(
  offline: Pick<OfflineStore, "readSnapshot">,
  view: View,
  committed: CommittedView,
  target: PublishTarget | PublishPlan,
  last: PublishPlan | undefined,
): Promise<TargetSnapshot | undefined> {
  if (view.aggregates.length === 0) return undefined;
  const names = Object.keys(target.intervals);
  const isCommitted = names.every(
    (name) => committed.coverage.get(name)?.generation === target.intervals[name],
  );
  if (!isCommitted) {
    // Of generations that were replaced since, the snapshot of then.
    const then = "snapshot" in target ? target.snapshot : (last?.snapshot ?? null);
    if (then?.aggregates !== view.aggregatesFingerprint) return undefined;
    const body = await offline.readSnapshot(view.name, then.id);
    return body === undefined ? undefined : { id: then.id, asOfMs: target.endMs, body };
  }
  const { snapshot, isWhole } = mergeOf(view, committed, names).snapshot();
  if (!isWhole) return undefined;
  const { id, asOfMs } = snapshot;
  return { id, asOfMs, body: encodeSnapshot(view.aggregates, snapshot) };
}

/** The running merge of all intervals, or one of those that are named alone. */
function mergeOf(view: View, committed: CommittedView, names: readonly string[]) {
  if (names.length === committed.intervals.size) return committed.merge;
  const merge = createSnapshotMerge(view.aggregates, view.rows.isFullRefresh);
  for (const name of names) merge.put(parseInterval(name), committed.states.get(name) ?? new Map());
  return merge;
}
