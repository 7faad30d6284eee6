import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ApplicationFailure } from "@temporalio/common";
import fc from "fast-check";
import { Redis } from "ioredis";
import { buildCatalogue } from "../../engine/catalogue.ts";
import type { Source } from "../../engine/language/definitions.ts";
import type { ColumnType, Value } from "../../engine/language/dtypes.ts";
import {
  bool,
  count,
  entity,
  featureView,
  float64,
  int64,
  listFloat64,
  max,
  mean,
  min,
  nullable,
  source,
  std,
  string,
  timestamp,
  valueColumns,
} from "../../engine/index.ts";
import { toJson } from "../../engine/wire.ts";
import { createLookup } from "../../serving/lookup.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import { anyValueOf } from "../support/engine/arbitrary.ts";
import { dumpStore } from "../support/redis/dump-store.ts";
import { createMaterializer } from "../support/temporal/materializer.ts";
import { runsOf } from "../support/property.ts";
import { randomPrefix, type TestRedis, testRedis } from "../support/redis/server.ts";
import { temporaryFolder } from "../support/files/source-files.ts";
import { csvOf, writeParquet } from "../support/files/tables.ts";
import type { RedisConnection } from "../../store/redis/types.ts";

const events = source("events", {
  files: "events-*.*",
  entity: entity("thing", { key: "id" }),
  eventTime: "at",
  columns: {
    id: string,
    at: timestamp,
    flag: nullable(bool),
    n: nullable(int64),
    x: nullable(float64),
    note: nullable(string),
    seen: nullable(timestamp),
  },
});
/** The same with a column that CSV cannot hold. */
const vectors = source("vectors", {
  files: "vectors-*.parquet",
  entity: entity("thing", { key: "id" }),
  eventTime: "at",
  columns: { id: string, at: timestamp, x: nullable(float64), list: nullable(listFloat64) },
});
const { at, n, x } = events.columns;
const catalogue = buildCatalogue({
  events: {
    events,
    rows: count(at),
    n_max: max(n),
    n_min: min(n),
    x_mean: mean(x),
    x_std: std(x),
    events_view: featureView("events", { source: events, stores: valueColumns(events) }),
  },
  vectors: {
    vectors,
    list_x_mean: mean(vectors.columns.x),
    vectors_view: featureView("vectors", { source: vectors, stores: valueColumns(vectors) }),
  },
});
const aggregates = {
  events: ["rows", "n_max", "n_min", "x_mean", "x_std"],
  vectors: ["list_x_mean"],
} as const;

const dayUs = 86_400_000_000;
const firstUs = Date.parse("2026-01-01") * 1000;
/** The intervals of a case, of which none overlaps another. */
const days = [1, 2, 3].map((day) => [`2026-01-0${day}`, `2026-01-0${day + 1}`] as const);
const ids = ["a", "b", "{a}", "é", "e\u0301", "😀\n"];
/** On the bounds of the intervals and just beside them, outside all, and twice the same. */
const times = [-1, 0, 1, 2, 3, 3.5].flatMap((day) =>
  [-1, 0, 0.25 * dayUs].map((us) => firstUs + Math.round(day * dayUs) + us),
);

/** Rows of one file: values in the order of the source's columns. */
type File = readonly (readonly Value[])[];

/** A call of an activity, or several at once. */
type Step = "plan" | "read" | "validate" | "commit" | "record" | "publish" | "zombie";
const steps: readonly Step[] = [
  ...(["plan", "read", "validate", "commit"] as const),
  ...(["zombie", "record", "publish", "zombie"] as const),
];
/** Two of each interval: run i is of the interval i modulo their count. */
const runs = Array.from({ length: days.length * 2 }, (_, run) => run);

interface Case {
  readonly view: keyof typeof aggregates;
  readonly files: readonly File[];
  /** The run whose next step comes, as often as it has steps. */
  readonly order: readonly number[];
  /** How many steps of the order are under way at once, in turn. */
  readonly widths: readonly number[];
  /** Decide in turn which slices are repeated, in which order, and by which worker. */
  readonly dice: readonly number[];
}

/** Names and types of the columns, in the order of each row of a file. */
function typesOf(view: Case["view"]): [name: string, type: ColumnType][] {
  const { types }: Source = view === "events" ? events : vectors;
  return Object.entries(types);
}

const cases: fc.Arbitrary<Case> = fc
  .record({
    view: fc.constantFrom("events", "vectors"),
    // Few in one case, so that event times tie.
    ids: fc.subarray(ids, { minLength: 1, maxLength: 4 }),
    times: fc.subarray(times, { minLength: 2, maxLength: 5 }),
  })
  .chain((pool) => {
    const row = fc.tuple(
      ...typesOf(pool.view).map(([name, { dtype }]): fc.Arbitrary<Value> => {
        if (name === "id") return fc.constantFrom(...pool.ids);
        return name === "at" ? fc.constantFrom(...pool.times) : anyValueOf(dtype);
      }),
    );
    const order = runs.flatMap((run) => steps.map(() => run));
    return fc.record({
      view: fc.constant(pool.view),
      files: fc.array(fc.array(row, { minLength: 1, maxLength: 20 }), {
        minLength: 2,
        maxLength: 3,
      }),
      order: fc.shuffledSubarray(order, { minLength: order.length }),
      widths: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 4 }),
      dice: fc.array(fc.nat(1000), { minLength: 1, maxLength: 50 }),
    });
  });

/** Of each id, the values that must be served: those of the newest row in any of the intervals. */
function newestOf({ view, files }: Case): Map<Value, readonly Value[]> {
  const names = typesOf(view).map(([name]) => name);
  const [id, time] = [names.indexOf("id"), names.indexOf("at")];
  const newest = new Map<Value, readonly Value[]>();
  for (const row of files.flat()) {
    const us = Number(row[time]);
    if (us < firstUs || us >= firstUs + days.length * dayUs) continue;
    const held = newest.get(row[id] ?? null);
    // Of rows of one time, the later in the ordered list of files is the newer.
    if (held === undefined || us >= Number(held[time])) newest.set(row[id] ?? null, row);
  }
  return newest;
}

describe("The activities of materialize converge", function () {
  this.timeout(60_000);
  const { folder, remove } = temporaryFolder();
  let redis: TestRedis;
  let client: Redis;
  let connections: readonly [RedisConnection, RedisConnection];
  before(async () => {
    redis = await testRedis();
    client = new Redis(redis.url, { protocol: 2 });
    connections = [connectRedis(redis.url, "writing"), connectRedis(redis.url, "writing")];
  });
  after(async () => {
    await Promise.all(connections.map((connection) => connection.close()));
    await client.quit();
    await redis.stop();
    remove();
  });

  /** Writes the source files: in turn CSV and parquet of small row groups, where CSV can hold them. */
  async function writeFiles({ view, files }: Case): Promise<string> {
    const dataDir = join(folder, randomPrefix());
    mkdirSync(dataDir);
    for (const [i, rows] of files.entries()) {
      const columns = typesOf(view).map(([name, { dtype }], column) => ({
        name,
        dtype,
        values: rows.map((row) => row[column] ?? null),
      }));
      const path = join(dataDir, `${view}-${i}`);
      if (view === "events" && i % 2 === 0) await writeFile(`${path}.csv`, csvOf(columns));
      else await writeParquet(`${path}.parquet`, columns, 5);
    }
    return dataDir;
  }

  /** An empty store, two workers over it, and the runs that they do. */
  function newStore({ view, dice }: Case, dataDir: string, isCanonical: boolean) {
    const prefix = `${redis.prefix}:${randomPrefix()}`;
    const offlineDir = join(dataDir, randomPrefix());
    const workers = connections.map((connection) =>
      createMaterializer({ catalogue, redis: connection, prefix, dataDir, offlineDir }),
    );
    let rolls = 0;
    const roll = (sides: number) => (dice[rolls++ % dice.length] ?? 0) % sides;
    const worker = () => workers[isCanonical ? 0 : roll(2)] as (typeof workers)[number];
    /** All of them; in any order and some twice, unless the store is the canonical one. */
    const some = <T>(all: readonly T[]): T[] => {
      if (isCanonical) return [...all];
      const drawn = all.flatMap((each) => (roll(3) === 0 ? [each, each] : [each]));
      return drawn
        .map((each) => ({ each, rank: roll(1000) }))
        .sort((a, b) => a.rank - b.rank)
        .map(({ each }) => each);
    };
    /** Runs of each interval that have asked for a generation. */
    const begun = days.map(() => 0);

    /** Publishes; one that a later publish has overtaken leaves it to that one. */
    async function publishBy({ publish }: (typeof workers)[number]): Promise<void> {
      try {
        await publish(view);
      } catch (error) {
        if (!(error instanceof ApplicationFailure) || error.type !== "FENCED") throw error;
      }
    }

    function createRun(index: number) {
      const place = index % days.length;
      const [start, end] = days[place] as (typeof days)[number];
      let planned: Awaited<ReturnType<(typeof workers)[number]["plan"]>>;
      let hasFailed = false;
      const commit = () =>
        Promise.all(
          some([worker()]).map(({ call, activities }) => call(activities.commitRun, planned.run)),
        );
      const does: Readonly<Record<Step, () => Promise<unknown>>> = {
        async plan() {
          begun[place] = (begun[place] ?? 0) + 1;
          planned = await worker().plan(view, start, end);
        },
        read: () =>
          Promise.all(
            some(planned.slices).map((slice) => {
              const { call, activities } = worker();
              return call(activities.readSlice, planned.run, slice);
            }),
          ),
        validate: () => worker().call(worker().activities.validateRun, planned.run),
        commit,
        record: () => worker().record(planned.run),
        publish: () => Promise.all(some([worker()]).map(publishBy)),
        // A commit and a publish that their workflows know nothing of any more.
        zombie: async () =>
          isCanonical ? undefined : Promise.all([commit(), publishBy(worker())]),
      };
      return async (step: Step): Promise<void> => {
        // The workflow ends with its first failure.
        if (hasFailed) return;
        try {
          await does[step]();
        } catch (error) {
          hasFailed = true;
          const isOvertaken = planned.run.generation < (begun[place] ?? 0);
          if (!isOvertaken || !(error instanceof ApplicationFailure)) throw error;
          // Its commit is refused, and what it staged is removed once the newer one has committed.
          assert.match(error.type ?? "", /^(FENCED|OFFLINE_UNAVAILABLE)$/);
        }
      };
    }

    return {
      runs: runs.map(createRun),
      /** What the next run would do: of publishes at once the last may be one that saw less. */
      publish: () => worker().publish(view),
      dump: () => dumpStore(client, prefix, { publishes: false }),
      /** What is served of every id, and of the aggregates. */
      async answer() {
        const lookup = createLookup({
          catalogue,
          redis: connections[0],
          prefix,
          clock: () => 2e12,
        });
        const columns = typesOf(view).filter(([name]) => name !== "id" && name !== "at");
        const { results, snapshot, as_of } = await lookup
          .answer({
            features: [...columns.map(([name]) => `${view}.${name}`), ...aggregates[view]],
            entities: ids.map((id) => ({ id })),
          })
          .finally(lookup.close);
        return { results, snapshot, as_of };
      },
    };
  }

  it("on the newest rows and one snapshot, whatever is repeated, late, overtaken or at once", async () => {
    await fc.assert(
      fc.asyncProperty(cases, async (given) => {
        const { view, order, widths } = given;
        const dataDir = await writeFiles(given);
        const canonical = newStore(given, dataDir, true);
        for (const run of canonical.runs) for (const step of steps) await run(step);

        const other = newStore(given, dataDir, false);
        const next = runs.map(() => 0);
        const last = runs.map(() => Promise.resolve());
        for (let from = 0, turn = 0; from < order.length; turn++) {
          const to = from + (widths[turn % widths.length] ?? 1);
          for (const index of order.slice(from, to)) {
            const step = steps[next[index] ?? 0] as Step;
            next[index] = (next[index] ?? 0) + 1;
            last[index] = (last[index] as Promise<void>).then(() => other.runs[index]?.(step));
          }
          await Promise.all(last);
          from = to;
        }

        for (const store of [canonical, other]) await store.publish();
        assert.equal(await other.dump(), await canonical.dump());
        const answer = await other.answer();
        assert.deepStrictEqual(answer, await canonical.answer());
        const newest = newestOf(given);
        for (const [i, id] of ids.entries())
          for (const [column, [name, { dtype }]] of typesOf(view).entries()) {
            if (name === "id" || name === "at") continue;
            const value = newest.get(id)?.[column] ?? null;
            const served = answer.results[i]?.features[`${view}.${name}`];
            assert.deepStrictEqual(served, toJson(dtype, value), `${name} of ${id}`);
          }
      }),
      { ...runsOf(6), endOnFailure: true },
    );
  });
});
