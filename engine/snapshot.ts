/**
 * Aggregate snapshots: the values of a view's aggregates as of a time, merged from the partial
 * states of committed intervals. States and snapshots travel as JSON text, exactly.
 */
import { aggregateOf, type State } from "./aggregates.ts";
import type { ViewAggregate } from "./catalogue.ts";
import type { Value } from "./dtypes.ts";
import { hash } from "./fingerprint.ts";
import { formatInterval, type Interval } from "./interval.ts";
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
  const dtypes = aggregateOf(node.aggregate).parts(node.input.dtype);
  return JSON.stringify(dtypes.map((dtype, part) => toJson(dtype, state[part] ?? null)));
}

/** Reads what `encodeState` wrote. */
export function decodeState({ node }: ViewAggregate, text: string): State {
  const parts = JSON.parse(text) as readonly Json[];
  const dtypes = aggregateOf(node.aggregate).parts(node.input.dtype);
  return dtypes.map((dtype, part) => fromJson(dtype, parts[part] ?? null, "an aggregate state"));
}

/** Merges states in the order given. */
export function mergeStates({ node }: ViewAggregate, states: readonly State[]): State {
  const row = aggregateOf(node.aggregate);
  const { dtype } = node.input;
  return states.reduce<State>((merged, state) => row.merge(merged, state, dtype), row.empty(dtype));
}

/** The states of committed intervals, by aggregate fingerprint. */
export type Committed = ReadonlyMap<string, readonly CommittedState[]>;

/** The intervals that count for a snapshot, in order: all, or the newest of a full refresh. */
function countedIntervals(committed: Committed, fullRefresh: boolean): string[] {
  const byText = new Map<string, Interval>();
  for (const states of committed.values())
    for (const { interval } of states) byText.set(formatInterval(interval), interval);
  const ordered = [...byText].sort(([, a], [, b]) => a.endMs - b.endMs || a.startMs - b.startMs);
  return (fullRefresh ? ordered.slice(-1) : ordered).map(([text]) => text);
}

/**
 * Whether every aggregate has a state for every interval that counts. A new aggregate of a view
 * with history gets a snapshot only once it is filled: before, its value would be of a part, or of
 * another time.
 */
export function isWhole(committed: Committed, fullRefresh: boolean): boolean {
  const counted = countedIntervals(committed, fullRefresh);
  return [...committed.values()].every((states) => {
    const has = new Set(states.map(({ interval }) => formatInterval(interval)));
    return counted.every((text) => has.has(text));
  });
}

/**
 * Merges the intervals that count to a snapshot, in order of time.
 *
 * @param fullRefresh - whether each interval replaces the ones before, so only the newest counts
 */
export function mergeSnapshot(
  aggregates: readonly ViewAggregate[],
  committed: Committed,
  fullRefresh: boolean,
): Snapshot {
  const counted = countedIntervals(committed, fullRefresh);
  let asOfMs = 0;
  const merged: unknown[] = [];
  const values = new Map<string, Value>();
  for (const aggregate of aggregates) {
    const { fingerprint, node } = aggregate;
    const states = new Map(
      committed.get(fingerprint)?.map((each) => [formatInterval(each.interval), each]),
    );
    const ordered = counted.flatMap((text) => states.get(text) ?? []);
    const state = mergeStates(
      aggregate,
      ordered.map((each) => decodeState(aggregate, each.state)),
    );
    values.set(fingerprint, aggregateOf(node.aggregate).value(state, node.input.dtype));
    asOfMs = Math.max(asOfMs, ...ordered.map((each) => each.interval.endMs));
    merged.push([
      fingerprint,
      ordered.map((each) => [formatInterval(each.interval), each.generation, each.state]),
    ]);
  }
  return Object.freeze({ id: hash(["snapshot", merged]), asOfMs, values });
}

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
