import assert from "node:assert/strict";
import { runsOf } from "../support/property.ts";
import fc from "fast-check";
import type { ViewAggregate } from "../../engine/catalogue.ts";
import type { Value } from "../../engine/language/dtypes.ts";
import { INT64_MAX } from "../../engine/language/int64.ts";
import { formatInterval, type Interval } from "../../engine/calendar/interval.ts";
import {
  type CommittedState,
  decodeSnapshot,
  encodeSnapshot,
  encodeState,
  createSnapshotMerge,
  mergeStates,
} from "../../engine/snapshot.ts";
import { aggregateCases, foldState, valueOfState, viewAggregate } from "../support/redis/states.ts";

describe("snapshots", () => {
  const aggregates = aggregateCases
    .filter(({ dtype }) => dtype !== "list_float64")
    .map(viewAggregate);
  const dayMs = 86_400_000;
  const day = (n: number): Interval => ({ startMs: n * dayMs, endMs: (n + 1) * dayMs });

  /** States of the aggregates over some days, each of the values given. */
  function committed(days: readonly Readonly<Record<string, readonly Value[]>>[]) {
    return new Map(
      aggregates.map((aggregate): [string, CommittedState[]] => [
        aggregate.fingerprint,
        days.map((values, n) => {
          const { aggregate: name, input } = aggregate.node;
          const state = foldState({ name, dtype: input.dtype }, values[input.dtype] ?? []);
          return { interval: day(n), generation: n + 1, state: encodeState(aggregate, state) };
        }),
      ]),
    );
  }
  const dayOne = {
    float64: [1.5, NaN, -0],
    int64: [INT64_MAX, null],
    timestamp: [-1],
    string: [""],
  };
  const dayTwo = { float64: [Infinity], int64: [-5], timestamp: [7, null], bool: [true] };

  /** Puts the intervals one by one, and merges. */
  function mergeSnapshot(
    of: readonly ViewAggregate[],
    states: ReadonlyMap<string, readonly CommittedState[]>,
    fullRefresh: boolean,
  ) {
    const merge = createSnapshotMerge(of, fullRefresh);
    for (const [interval, each] of byInterval(states)) merge.put(interval, each);
    return merge.snapshot().snapshot;
  }

  function byInterval(states: ReadonlyMap<string, readonly CommittedState[]>) {
    const intervals = new Map<string, [Interval, Map<string, CommittedState>]>();
    for (const [fingerprint, list] of states)
      for (const state of list) {
        const text = formatInterval(state.interval);
        const [, own] = intervals.get(text) ?? [state.interval, new Map<string, CommittedState>()];
        intervals.set(text, [state.interval, own.set(fingerprint, state)]);
      }
    return [...intervals.values()];
  }

  it("are the same after any puts and trials as of the intervals put once", () => {
    const values = fc.record({
      float64: fc.array(fc.double()),
      int64: fc.array(fc.integer()),
      string: fc.array(fc.string()),
    });
    const step = fc.record({ day: fc.nat(6), generation: fc.nat(3), values, kept: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), fc.boolean(), (steps, fullRefresh) => {
        const merge = createSnapshotMerge(aggregates, fullRefresh);
        const kept = new Map<number, Map<string, CommittedState>>();
        const oneShot = (days: typeof kept) => {
          const other = createSnapshotMerge(aggregates, fullRefresh);
          for (const [n, states] of days) other.put(day(n), states);
          return other.snapshot();
        };
        for (const { day: n, generation, values: each, kept: isKept } of steps) {
          const states = new Map(
            [...committed([each])].map(([fingerprint, [state]]) => {
              assert.ok(state);
              return [fingerprint, { ...state, interval: day(n), generation }];
            }),
          );
          assert.deepStrictEqual(
            merge.snapshotWith(day(n), states),
            oneShot(new Map([...kept, [n, states]])),
          );
          if (!isKept) continue;
          merge.put(day(n), states);
          kept.set(n, states);
        }
        assert.deepStrictEqual(merge.snapshot(), oneShot(kept));
      }),
      runsOf(100),
    );
  });

  it("are whole where every interval has a state of every aggregate", () => {
    const [first, ...others] = aggregates;
    assert.ok(first);
    const states = byInterval(committed([dayOne, dayTwo]));
    const whole = (lacking: number | undefined, fullRefresh = false) => {
      const merge = createSnapshotMerge(aggregates, fullRefresh);
      states.forEach(([interval, each], n) => {
        const lacks = new Map([...each].filter(([key]) => key !== first.fingerprint));
        merge.put(interval, n === lacking ? lacks : each);
      });
      return merge.snapshot().isWhole;
    };
    assert.equal(others.length > 0, true);
    assert.deepEqual(
      [whole(undefined), whole(0), whole(1), whole(0, true), whole(1, true)],
      [true, false, false, true, false],
    );
  });

  it("merge the committed intervals in order of time, whatever order they come in", () => {
    const states = committed([dayOne, dayTwo]);
    const snapshot = mergeSnapshot(aggregates, states, false);
    assert.equal(snapshot.asOfMs, day(1).endMs);
    for (const { fingerprint, node } of aggregates) {
      const values = [dayOne, dayTwo].flatMap(
        (each: Readonly<Record<string, readonly Value[]>>) => each[node.input.dtype] ?? [],
      );
      const each = { name: node.aggregate, dtype: node.input.dtype };
      assert.deepStrictEqual(
        snapshot.values.get(fingerprint),
        valueOfState(each, foldState(each, values)),
      );
    }
    const reversed = new Map([...states].map(([key, list]) => [key, [...list].reverse()]));
    assert.deepStrictEqual(mergeSnapshot(aggregates, reversed, false), snapshot);
  });

  it("of a full refresh hold the newest interval alone", () => {
    const newest = mergeSnapshot(aggregates, committed([dayOne, dayTwo]), true);
    const sums = aggregates.find(
      ({ node }) => node.aggregate === "sum" && node.input.dtype === "int64",
    );
    assert.equal(newest.values.get(sums?.fingerprint ?? ""), -5);
  });

  it("have an id that changes with each part of the content", () => {
    const states = committed([dayOne, dayTwo]);
    const id = (change: (state: CommittedState) => CommittedState) => {
      const changed = new Map(states);
      const [first] = aggregates;
      const key = first?.fingerprint ?? "";
      changed.set(key, (states.get(key) ?? []).map(change));
      return mergeSnapshot(aggregates, changed, false).id;
    };
    const ids = [
      id((state) => state),
      id((state) => ({
        ...state,
        interval: { ...state.interval, endMs: state.interval.endMs + 1 },
      })),
      id((state) => ({ ...state, state: state.state.replace("1", "2") })),
      mergeSnapshot(aggregates, committed([dayOne]), false).id,
      mergeSnapshot(aggregates.slice(1), states, false).id,
      mergeSnapshot(aggregates, new Map(), false).id,
    ];
    assert.equal(new Set(ids).size, ids.length);
    // A generation is none of the content: what was lost and put back has the id that it had.
    assert.equal(
      ids[0],
      id((state) => ({ ...state, generation: state.generation + 1 })),
    );
    assert.match(ids[0] ?? "", /^[0-9a-f]{32}$/);
  });

  it("come back exactly from their text", () => {
    const snapshot = mergeSnapshot(aggregates, committed([dayOne, dayTwo]), false);
    const text = encodeSnapshot(aggregates, snapshot);
    assert.deepStrictEqual(decodeSnapshot(aggregates, snapshot.id, text), snapshot);
    assert.match(text, /"as_of":"1970-01-03T00:00:00.000Z"/);
  });

  it("lack the aggregates that a newer build has added", () => {
    const snapshot = mergeSnapshot(aggregates.slice(1), committed([dayOne]), false);
    const text = encodeSnapshot(aggregates.slice(1), snapshot);
    const read = decodeSnapshot(aggregates, snapshot.id, text);
    assert.equal(read.values.has(aggregates[0]?.fingerprint ?? ""), false);
    assert.equal(read.values.size, aggregates.length - 1);
  });

  it("merge states in the order given, from no state to many", () => {
    const [each] = aggregateCases.filter(({ name }) => name === "count");
    assert.ok(each);
    const aggregate = viewAggregate(each);
    assert.deepStrictEqual(mergeStates(aggregate, []), [0]);
    assert.deepStrictEqual(mergeStates(aggregate, [[2], [3]]), [5]);
    assert.equal(formatInterval(day(0)), "1970-01-01T00:00:00.000Z/1970-01-02T00:00:00.000Z");
  });
});
