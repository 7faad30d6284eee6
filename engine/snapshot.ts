/**
 * Aggregate snapshots: the values of a view's aggregates as of a time, merged from the partial
 * states of committed intervals. States and snapshots travel as JSON text, exactly.
 */
import { aggregateOf, emptyState, type State } from "./aggregates.ts";
import { decodeExact, encodeExact } from "./exact.ts";
import type { ViewAggregate } from "./catalogue.ts";
import type { Value } from "./language/dtypes.ts";
import { hash } from "./fingerprint.ts";
import { formatInterval, type Interval } from "./calendar/interval.ts";
import { fromJson, type Json, toJson } from "./wire.ts";

/** The state of one aggregate over one committed interval, as the ledger keeps it. */
export interface CommittedState {
  readonly interval: Interval;
  readonly generation: number;
  /** Text by `encodeState`. */
  readonly state: string;
}

/** An immutable set of aggregate values as of a time. */
export interface Snapshot {
  /** Hash of what was merged: equal ids mean equal values. */
  readonly id: string;
  /** End of the newest interval merged, in milliseconds since the epoch. */
  readonly asOfMs: number;
  /** Values by aggregate fingerprint. */
  readonly values: ReadonlyMap<string, Value>;
}

/** The JSON text of a state. */
export function encodeState({ node }: ViewAggregate, state: State): string {
  const kinds = aggregateOf(node.aggregate).parts(node.input.dtype);
  return JSON.stringify(
    kinds.map((kind, part) =>
      kind === "exact" ? encodeExact(state[part] as bigint) : toJson(kind, state[part] ?? null),
    ),
  );
}

/** Reads what `encodeState` wrote. */
export function decodeState({ node }: ViewAggregate, text: string): State {
  const parts = JSON.parse(text) as readonly Json[];
  const kinds = aggregateOf(node.aggregate).parts(node.input.dtype);
  return kinds.map((kind, part) =>
    kind === "exact"
      ? decodeExact(parts[part] ?? null)
      : fromJson(kind, parts[part] ?? null, "an aggregate state"),
  );
}

/** Merges states; their order makes no difference. */
export function mergeStates({ node }: ViewAggregate, states: readonly State[]): State {
  const { merge } = aggregateOf(node.aggregate);
  return states.reduce<State>(merge, emptyState(node.aggregate, node.input.dtype));
}

/** The states of one interval, by aggregate fingerprint; those of newer aggregates may lack. */
export type IntervalStates = ReadonlyMap<string, Omit<CommittedState, "interval">>;

/** What the intervals up to one amount to. */
interface Merged {
  /** In the order of the aggregates. */
  readonly states: readonly State[];
  /** Hash of all that was merged. */
  readonly id: string;
  /** Whether every aggregate had a state in every interval. */
  readonly isWhole: boolean;
}

/** What a merge amounts to. */
export interface MergedSnapshot {
  readonly snapshot: Snapshot;
  /**
   * Whether every aggregate has a state for every interval that counts. A new aggregate of a view
   * with history gets a snapshot only once it is filled: before, its value would be of a part, or
   * of another time.
   */
  readonly isWhole: boolean;
}

/**
 * Merges the states of a view's intervals to snapshots, in order of time. It keeps the running
 * merges, so that one more interval costs as much as there are intervals after it.
 *
 * @param fullRefresh - whether each interval replaces the ones before, so only the newest counts
 */
export function createSnapshotMerge(aggregates: readonly ViewAggregate[], fullRefresh: boolean) {
  /** In order of time. */
  const entries: { readonly interval: Interval; readonly states: IntervalStates }[] = [];
  /** The merges up to each of the first entries, as far as they were asked for and still hold. */
  const running: Merged[] = [];
  const none: Merged = {
    states: aggregates.map((aggregate) => mergeStates(aggregate, [])),
    id: hash(["snapshot", aggregates.map(({ fingerprint }) => fingerprint)]),
    isWhole: true,
  };

  /** Where an interval is, or would be. */
  function indexOf({ startMs, endMs }: Interval): { index: number; found: boolean } {
    let [low, high] = [0, entries.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const at = entries[middle]?.interval;
      if (at === undefined) break;
      if (at.endMs < endMs || (at.endMs === endMs && at.startMs < startMs)) low = middle + 1;
      else high = middle;
    }
    const at = entries[low]?.interval;
    return { index: low, found: at?.startMs === startMs && at.endMs === endMs };
  }

  /** Replaces `count` entries, and forgets the merges that they were part of. */
  function replace(index: number, count: number, ...by: typeof entries): void {
    entries.splice(index, count, ...by);
    running.splice(index);
  }

  function put(interval: Interval, states: IntervalStates): void {
    const { index, found } = indexOf(interval);
    replace(index, found ? 1 : 0, { interval, states });
  }

  function merge(before: Merged, { interval, states }: (typeof entries)[number]): Merged {
    const merged = aggregates.map((aggregate, i) => {
      const { node, fingerprint } = aggregate;
      const sum = before.states[i] ?? [];
      const own = states.get(fingerprint);
      if (own === undefined) return sum;
      return aggregateOf(node.aggregate).merge(sum, decodeState(aggregate, own.state));
    });
    const facts = aggregates.map(({ fingerprint }) => {
      return states.get(fingerprint)?.state ?? null;
    });
    return {
      states: merged,
      id: hash([before.id, formatInterval(interval), facts]),
      isWhole: before.isWhole && !facts.includes(null),
    };
  }

  function snapshot(): MergedSnapshot {
    const newest = entries.at(-1);
    if (!fullRefresh)
      for (const entry of entries.slice(running.length))
        running.push(merge(running.at(-1) ?? none, entry));
    const last = fullRefresh ? newest && merge(none, newest) : running.at(-1);
    const { states, id, isWhole } = last ?? none;
    const values = new Map(
      aggregates.map(({ fingerprint, node }, i): [string, Value] => [
        fingerprint,
        aggregateOf(node.aggregate).value(states[i] ?? [], node.input.dtype),
      ]),
    );
    const asOfMs = newest?.interval.endMs ?? 0;
    return { snapshot: Object.freeze({ id, asOfMs, values }), isWhole };
  }

  return {
    /** Takes the states of an interval, in place of those that it had. */
    put,
    /** The snapshot of all intervals. */
    snapshot,
    /** The snapshot that there would be with an interval, which is not kept. */
    snapshotWith(interval: Interval, states: IntervalStates): MergedSnapshot {
      const { index, found } = indexOf(interval);
      const before = entries.slice(index, index + (found ? 1 : 0));
      put(interval, states);
      try {
        return snapshot();
      } finally {
        replace(index, 1, ...before);
      }
    },
  };
}

export type SnapshotMerge = ReturnType<typeof createSnapshotMerge>;

/** The JSON text of a snapshot's content. */
export function encodeSnapshot(
  aggregates: readonly ViewAggregate[],
  { asOfMs, values }: Snapshot,
): string {
  const entries = aggregates.map(({ fingerprint, node }) => [
    fingerprint,
    toJson(node.dtype, values.get(fingerprint) ?? null),
  ]);
  return JSON.stringify({
    as_of: new Date(asOfMs).toISOString(),
    values: Object.fromEntries(entries) as Json,
  });
}

/** Reads what `encodeSnapshot` wrote; aggregates that it lacks are absent from the values. */
export function decodeSnapshot(
  aggregates: readonly ViewAggregate[],
  id: string,
  text: string,
): Snapshot {
  const body = JSON.parse(text) as { as_of: string; values: Readonly<Record<string, Json>> };
  const values = new Map<string, Value>();
  for (const { fingerprint, node } of aggregates) {
    const json = body.values[fingerprint];
    if (json !== undefined)
      values.set(fingerprint, fromJson(node.dtype, json, `snapshot ${id} of an aggregate`));
  }
  return Object.freeze({ id, asOfMs: Date.parse(body.as_of), values });
}
