import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createCommittedViews } from "../../filling/committed-views.ts";
import { singleState } from "../../engine/aggregates.ts";
import type { ViewAggregate } from "../../engine/catalogue.ts";
import { encodeState, mergeStates } from "../../engine/snapshot.ts";
import { storedTable } from "../../filling/view-states.ts";
import { buildCatalogue, viewNamed } from "../../engine/catalogue.ts";
import {
  entity,
  featureView,
  int64,
  max,
  mean,
  source,
  string,
  timestamp,
} from "../../engine/index.ts";
import { formatInterval, type Interval } from "../../engine/calendar/interval.ts";
import { createLedger } from "../../store/ledger.ts";
import { createOfflineStore } from "../../store/offline/offline-store.ts";
import { createOnlineStore } from "../../store/online-store.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import { failsWith } from "../support/fails-with.ts";
import { randomPrefix, type RedisServer, startRedis } from "../support/redis/server.ts";
import type { RedisConnection } from "../../store/redis/types.ts";

const events = source("events", {
  files: "events.csv",
  entity: entity("thing", { key: "id" }),
  columns: { id: string, at: timestamp, x: int64 },
  eventTime: "at",
});
const { x } = events.columns;
const catalogue = buildCatalogue({
  events: {
    events,
    x_mean: mean(x),
    x_max: max(x),
    view: featureView("events", { source: events, stores: [x] }),
  },
});
const view = viewNamed(catalogue, "events");
const msPerDay = 86_400_000;
const day = (n: number): Interval => ({ startMs: n * msPerDay, endMs: (n + 1) * msPerDay });

/** The text of the state of an aggregate over some rows of one value. */
function stateOf(aggregate: ViewAggregate, value: number, rows: number): string {
  const { aggregate: name, input } = aggregate.node;
  const states = Array.from({ length: rows }, () => singleState(name, value, input.dtype));
  return encodeState(aggregate, mergeStates(aggregate, states));
}

describe("What a process knows to be committed", () => {
  let server: RedisServer;
  let redis: RedisConnection;
  let ledger: ReturnType<typeof createLedger>;
  let prefix: string;
  let folder: string;
  let readings: number;

  before(async () => {
    server = await startRedis();
    redis = connectRedis(server.url, "writing");
  });
  after(async () => {
    await redis.close();
    await server.stop();
  });
  beforeEach(() => {
    prefix = randomPrefix();
    folder = mkdtempSync(join(tmpdir(), "onceflow-test-"));
    ledger = createLedger(redis, { prefix });
    readings = 0;
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** The memory of one process; `readings` counts how often the ledger sent all it has. */
  const memory = () =>
    createCommittedViews(
      {
        async readCommitted(request) {
          const entry = await ledger.readCommitted(request);
          if (entry !== null) readings++;
          return entry;
        },
      },
      createOfflineStore({ root: folder }),
    );
  type Memory = ReturnType<typeof memory>;

  async function commit(process: Memory, n: number, rows = 1): Promise<void> {
    const interval = day(n);
    const run = { view: view.name, fingerprint: view.fingerprint, interval, runId: `${n}/${rows}` };
    const generation = await ledger.beginRun(run, 0);
    const [first, second] = view.aggregates.map(({ fingerprint }) => fingerprint);
    assert.ok(first !== undefined && second !== undefined);
    const states = Object.fromEntries(
      view.aggregates.map((aggregate) => [aggregate.fingerprint, stateOf(aggregate, n, rows)]),
    );
    const committed = await process.read(view);
    const { revision } = await ledger.commitRun({
      ...run,
      generation,
      expectedRevision: committed.revision,
      coverage: { rows },
      states,
    });
    committed.follow(revision, interval, {
      coverage: { rows, generation },
      states: new Map(
        Object.entries(states).map(([fingerprint, state]) => [fingerprint, { generation, state }]),
      ),
    });
  }

  const seenBy = async (process: Memory) => {
    const { revision, coverage, states, intervals, merge } = await process.read(view);
    const sorted = <T>(map: ReadonlyMap<string, T>) =>
      [...map].sort(([a], [b]) => (a < b ? -1 : 1));
    return {
      revision,
      coverage: sorted(coverage),
      states: sorted(states).map(([text, each]) => [text, sorted(each)]),
      intervals: sorted(intervals),
      snapshot: merge.snapshotWith(day(50), new Map()).snapshot,
    };
  };

  it("is read once by a process that alone commits, and is what a new process reads", async () => {
    const process = memory();
    for (const n of [3, 1, 4, 2]) await commit(process, n);
    await commit(process, 3, 7);
    assert.equal(readings, 1);
    const seen = await seenBy(process);
    assert.equal(readings, 1);
    assert.equal(seen.coverage.length, 4);
    assert.deepStrictEqual(seen, await seenBy(memory()));
    assert.equal(readings, 2);
  });

  it("follows the commits of other processes, and a reset", async () => {
    const [one, other] = [memory(), memory()];
    for (const [i, n] of [5, 1, 3, 3, 2, 9, 5].entries()) {
      await commit(i % 3 === 0 ? other : one, n, i + 1);
      assert.deepStrictEqual(await seenBy(one), await seenBy(memory()));
      assert.deepStrictEqual(await seenBy(other), await seenBy(memory()));
    }
    await createOnlineStore(redis, { prefix }).resetNamespace(storedTable(view), {
      buckets: 16,
      aggregates: view.aggregates.map(({ fingerprint }) => fingerprint),
      aggregatesFingerprint: view.aggregatesFingerprint,
    });
    assert.deepEqual((await seenBy(one)).coverage, []);
    assert.deepStrictEqual(await seenBy(one), await seenBy(memory()));
  });

  it("has no whole snapshot while an interval has rows but no states", async () => {
    const process = memory();
    const [first] = view.aggregates;
    assert.ok(first);
    const interval = day(1);
    const run = { view: view.name, fingerprint: view.fingerprint, interval, runId: "rows" };
    const generation = await ledger.beginRun(run, 0);
    const { revision } = await process.read(view);
    await ledger.commitRun({
      ...run,
      generation,
      expectedRevision: revision,
      coverage: { rows: 1 },
      states: {},
    });
    const { merge, intervals } = await process.read(view);
    assert.deepEqual([...intervals.keys()], [formatInterval(interval)]);
    const whole = (n: number) => {
      const states = new Map(
        view.aggregates.map((aggregate) => [
          aggregate.fingerprint,
          { generation: 1, state: stateOf(aggregate, 2, 1) },
        ]),
      );
      return merge.snapshotWith(day(n), states).isWhole;
    };
    assert.deepEqual([whole(1), whole(2)], [true, false]);
  });

  it("is lost where the ledger is behind what the offline store has seen of it", async () => {
    const process = memory();
    await commit(process, 1);
    const { revision } = await process.read(view);
    const { journal } = createOfflineStore({ root: folder });
    await journal.noteRevision(view.name, revision);
    await process.read(view);
    // As in a Redis that was restored from an older copy, and went on from there.
    const other = `${Number.parseInt(revision, 10) + 1}.0123456789abcdef`;
    await journal.noteRevision(view.name, other);
    await failsWith(process.read(view), "STORE_LOST", new RegExp(other), /publish events/);
    await failsWith(memory().read(view), "STORE_LOST");
  });

  it("lets the commits of one process take turns, also after one that failed", async () => {
    const process = memory();
    const order: string[] = [];
    const turn = (name: string, fails = false) =>
      process.inTurn(view, async () => {
        order.push(`${name} begins`);
        await new Promise((resolve) => setTimeout(resolve, 5));
        order.push(`${name} ends`);
        if (fails) throw new Error(name);
      });
    const turns = await Promise.allSettled([turn("a"), turn("b", true), turn("c")]);
    assert.deepEqual(
      turns.map(({ status }) => status),
      ["fulfilled", "rejected", "fulfilled"],
    );
    assert.deepEqual(
      order,
      ["a", "b", "c"].flatMap((name) => [`${name} begins`, `${name} ends`]),
    );
  });
});
