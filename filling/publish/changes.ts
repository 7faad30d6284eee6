/** What a publish has to write: every entity, or those that a changed interval holds or once held. */
import type { View } from "../../engine/catalogue.ts";
import { parseInterval } from "../../engine/calendar/interval.ts";
import type { Namespace } from "../../store/namespace.ts";
import type { OfflineStore } from "../../store/offline/offline-store.ts";
import type { OnlineStore } from "../../store/online-store.ts";
import type { CommittedView } from "../committed-views.ts";
import { allRows, type EntitiesOptions, keysOf, rowsOfKeys } from "./entities.ts";
import type { Generations } from "./generations.ts";
import { type CommittedPartition, findPartition, readPartition } from "./partitions.ts";
import { changedIntervals, type PublishHistory, type PublishTarget } from "./plan.ts";

/**
 * How a publish comes from what is there to its target:
 *
 * - `whole`: all rows of all intervals. What it does not write has gone by its mark.
 * - `append`: all rows of intervals that are new and later than all others.
 * - `rewrite`: for each key of the changed partitions, the newest row that any interval has, or none.
 */
export type Change =
  | { readonly kind: "whole" | "append"; readonly partitions: Partitions }
  | {
      readonly kind: "rewrite";
      readonly changed: readonly CommittedPartition[];
      readonly partitions: Partitions;
    };

/** Partitions, the newest first, each read when it is asked for. */
type Partitions = AsyncIterable<CommittedPartition>;

/**
 * What is to be written.
 *
 * @param history - undefined where everything has to be
 */
export async function changeOf(
  offline: OfflineStore,
  view: View,
  history: PublishHistory | undefined,
  target: PublishTarget,
  { coverage }: Pick<CommittedView, "coverage">,
): Promise<Change> {
  const all = Object.keys(target.intervals);
  const whole: Change = {
    kind: "whole",
    partitions: partitionsOf(offline, view, target.intervals, all),
  };
  if (history?.last === undefined || view.rows.isFullRefresh) return whole;
  // Of any entity, one that was whole and did not end may have left a row that is not its newest.
  if (history.begun.some((each) => each.whole)) return whole;
  const before = [history.last, ...history.begun];
  const changed = changedIntervals(before, target);
  const isAppend = appends(changed, before, target);
  if (isAppend)
    return { kind: "append", partitions: partitionsOf(offline, view, target.intervals, changed) };
  const touched: CommittedPartition[] = [];
  for (const interval of changed)
    for (const generation of generationsOf(interval, [...before, target])) {
      const found = await findPartition(offline, view, parseInterval(interval), generation);
      // What it held cannot be told any more.
      if (found === undefined) return whole;
      touched.push(found);
    }
  const rows = touched.reduce((sum, each) => sum + each.rows, 0);
  const total = all.reduce((sum, each) => sum + (coverage.get(each)?.rows ?? 0), 0);
  if (rows * 2 > total) return whole;
  return { kind: "rewrite", changed: touched, partitions: whole.partitions };
}

/** Whether the changed intervals are new and later than all others, so that their rows win. */
function appends(
  changed: readonly string[],
  before: readonly { readonly intervals: Generations }[],
  target: PublishTarget,
): boolean {
  const [first] = changed;
  if (first === undefined) return true;
  const isNew = changed.every((each) => {
    const generation = target.intervals[each];
    return (
      generation !== undefined &&
      before.every(({ intervals }) => [undefined, generation].includes(intervals[each]))
    );
  });
  if (!isNew) return false;
  // One by one: a call takes no more arguments than the stack has room for.
  const fromMs = changed.reduce(
    (from, each) => Math.min(from, parseInterval(each).startMs),
    Infinity,
  );
  const isChanged = new Set(changed);
  return Object.keys(target.intervals).every(
    (each) => isChanged.has(each) || parseInterval(each).endMs <= fromMs,
  );
}

function generationsOf(
  interval: string,
  plans: readonly { readonly intervals: Generations }[],
): number[] {
  return [...new Set(plans.flatMap(({ intervals }) => intervals[interval] ?? []))];
}

async function* partitionsOf(
  offline: OfflineStore,
  view: View,
  generations: Generations,
  intervals: readonly string[],
): Partitions {
  const newestFirst = intervals
    .map((text) => ({ text, interval: parseInterval(text) }))
    .sort((a, b) => b.interval.endMs - a.interval.endMs);
  for (const { text, interval } of newestFirst)
    yield readPartition(offline, view, interval, generations[text] ?? 0);
}

/** Where entities are written to. */
export interface WriteOptions extends EntitiesOptions {
  readonly online: OnlineStore;
  readonly namespace: Namespace;
}

/** Writes what a change comes to. @throws OFFLINE_UNAVAILABLE, and what `writeRows` does */
export async function writeEntities(
  options: WriteOptions,
  change: Change,
): Promise<{ readonly written: number; readonly withdrawn: number }> {
  const { online, namespace, mark } = options;
  if (change.kind !== "rewrite") {
    const { written } = await online.writeRows(namespace, allRows(options, change.partitions));
    return { written, withdrawn: 0 };
  }
  const keys = await keysOf(options, change.changed);
  if (keys === undefined) return { written: 0, withdrawn: 0 };
  let gone: readonly Buffer[] = [];
  const rows = rowsOfKeys(options, change.partitions, keys, (none) => (gone = none));
  const { written } = await online.writeRows(namespace, rows);
  const tombstone = { ...mark, eventTimeUs: 0, ordinal: 0 };
  const { written: withdrawn } = await online.deleteRows(namespace, gone, tombstone);
  return { written, withdrawn };
}
