import assert from "node:assert/strict";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ApplicationFailure } from "@temporalio/common";
import { MockActivityEnvironment } from "@temporalio/testing";
import { DefaultLogger } from "@temporalio/worker";
import { createOfflineActivities } from "../../activities/offline.ts";
import { partitionOf } from "../../filling/run-facts.ts";
import { buildCatalogue, type Catalogue, viewNamed } from "../../engine/catalogue.ts";
import {
  count,
  entity,
  featureService,
  featureView,
  float64,
  mean,
  source,
  string,
} from "../../engine/index.ts";
import { createLookup } from "../../serving/lookup.ts";
import { createLedger } from "../../store/ledger.ts";
import { createOfflineStore } from "../../store/offline/offline-store.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import type { RedisConnection } from "../../store/redis/types.ts";
import { type RunRef, slicesOf } from "../../workflows/contract.ts";
import { patient, randomPrefix, type RedisServer, startRedis } from "../support/redis/server.ts";

const start = "1970-01-01T00:00:00Z";
const end = "2026-02-01T00:00:00Z";

/** A full refresh of one file; `stored` more makes another definition that shares the aggregates. */
function catalogueOf(stored: "x" | "x and y" = "x"): Catalogue {
  const things = source("things", {
    files: "things.csv",
    entity: entity("thing", { key: "id" }),
    columns: { id: string, x: float64, y: float64 },
  });
  const { x, y } = things.columns;
  const x_mean = mean(x);
  const x_count = count(x);
  const twice = x.mul(2);
  return buildCatalogue({
    things: {
      things,
      x_mean,
      x_count,
      twice,
      view: featureView("things", { source: things, stores: stored === "x" ? [x] : [x, y] }),
      service: featureService("service", [twice, x_mean, x_count]),
    },
  });
}

describe("Plans of runs", () => {
  let server: RedisServer;
  let redis: RedisConnection;
  let folder: string;
  let prefix: string;
  let runs = 0;

  before(async () => {
    server = await startRedis();
    redis = connectRedis(server.url, "writing");
  });
  after(async () => {
    await redis.close();
    await server.stop();
  });
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "onceflow-plans-"));
    prefix = randomPrefix();
    put({ a: 1, b: 3 });
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** Puts a file in place by rename, as whoever delivers one should. */
  function put(rows: Readonly<Record<string, number>>): void {
    const lines = Object.entries(rows).map(([id, x]) => `${id},${x},${x}`);
    writeFileSync(join(folder, "next.csv"), ["id,x,y", ...lines, ""].join("\n"));
    renameSync(join(folder, "next.csv"), join(folder, "things.csv"));
  }

  function build(catalogue: Catalogue = catalogueOf()) {
    const offlineDir = join(folder, "offline");
    const settings = { prefix, dataDir: folder, offlineDir, sources: {}, webhooks: {} };
    const activities = createOfflineActivities({ catalogue, redis, settings });
    const view = viewNamed(catalogue, "things");
    const call = <A extends unknown[], R>(
      activity: (...args: A) => Promise<R>,
      ...args: A
    ): Promise<R> => attempt(1, activity, ...args);
    const attempt = <A extends unknown[], R>(
      number: number,
      activity: (...args: A) => Promise<R>,
      ...args: A
    ): Promise<R> =>
      new MockActivityEnvironment({ attempt: number }, { logger: new DefaultLogger("ERROR") }).run<
        A,
        R,
        typeof activity
      >(activity, ...args);
    const { fingerprint, definition } = view;
    const request = (to = end) => {
      const runId = `run-${runs++}`;
      return { view: "things", start, end: to, fingerprint, definition, runId };
    };
    const plan = async (asked: ReturnType<typeof request>, before = 0) => {
      const planned = await call(activities.planRun, {
        ...asked,
        reprocess: true,
        sensed: false,
        ...(before === 0 ? {} : { plan: before }),
      });
      assert.ok(planned.due === "rows" || planned.due === "aggregates", planned.due);
      const run: RunRef = { ...asked, generation: planned.generation };
      return { run, slices: slicesOf(planned.files) };
    };
    const read = async ({ run, slices }: Awaited<ReturnType<typeof plan>>) => {
      for (const slice of slices) await call(activities.readSlice, run, slice);
      return call(activities.validateRun, run);
    };
    const publish = () => call(activities.publishView, { view: "things", fingerprint, definition });
    const commit = async (run: RunRef) => {
      await call(activities.commitRun, run);
      await call(activities.recordCommit, run, { rows: 0, warnings: [] });
      await publish();
    };
    const materialize = async (to = end) => {
      const planned = await plan(request(to));
      await read(planned);
      await commit(planned.run);
      return planned.run;
    };
    return { activities, view, call, attempt, request, plan, read, publish, commit, materialize };
  }

  /** What is served of a, b and c: values or statuses, and the aggregates. */
  async function served(catalogue: Catalogue = catalogueOf()) {
    const serving = connectRedis(server.url, "serving", patient);
    const lookup = createLookup({ catalogue, redis: serving, prefix });
    try {
      const { results } = await lookup.answer({
        service: "service",
        entities: ["a", "b", "c"].map((id) => ({ id })),
      });
      return {
        rows: results.map(({ features, statuses }) =>
          statuses["twice"] === "PRESENT" ? features["twice"] : statuses["twice"],
        ),
        mean: results[0]?.features["x_mean"],
        count: results[0]?.features["x_count"],
      };
    } finally {
      lookup.close();
      await serving.close();
    }
  }

  async function failureOf(work: Promise<unknown>): Promise<ApplicationFailure> {
    try {
      await work;
    } catch (error) {
      if (error instanceof ApplicationFailure) return error;
      throw error;
    }
    throw new Error("nothing failed");
  }

  it("of an end that lies ahead of the clock are refused, by the time of Redis", async () => {
    const { plan, request, call, activities } = build();
    const at = (ms: number) => new Date(Date.now() + ms).toISOString();
    for (const ahead of [60_000, 86_400_000, 10 * 366 * 86_400_000]) {
      const failure = await failureOf(plan(request(at(ahead))));
      assert.equal(failure.type, "INTERVAL_INVALID");
      assert.match(failure.message, /ahead of the clock/);
      assert.equal(failure.nonRetryable, true);
    }
    const asked = { ...request(at(60_000)), reprocess: false, sensed: false };
    assert.equal((await failureOf(call(activities.checkReady, asked))).type, "INTERVAL_INVALID");
    await plan(request(at(5_000)));
  });

  it("of a full refresh beside one that is committed ahead of the clock are refused", async () => {
    const { plan, request, view } = build();
    const ledger = createLedger(redis, { prefix });
    const { fingerprint } = view;
    const interval = { startMs: 0, endMs: Date.now() + 86_400_000 };
    const before = { view: "things", fingerprint, interval, runId: "of an older release" };
    const generation = await ledger.beginRun(before, 0);
    await ledger.commitRun({
      ...before,
      generation,
      expectedRevision: "0",
      coverage: { rows: 1 },
      states: {},
    });
    const failure = await failureOf(plan(request()));
    assert.equal(failure.type, "INTERVAL_INVALID");
    assert.match(
      failure.message,
      /committed a full refresh as of .* ahead of .*reset things --yes/,
    );
  });

  it("of one interval: the rows and aggregates of the later replace all of the older's", async () => {
    const { materialize } = build();
    await materialize();
    assert.deepEqual(await served(), { rows: [2, 6, "NOT_FOUND"], mean: 2, count: 2 });
    put({ a: 5, c: 6 });
    await materialize();
    assert.deepEqual(await served(), { rows: [10, "NOT_FOUND", 12], mean: 5.5, count: 2 });
  });

  it("of one interval at once: the one that began first does not commit", async () => {
    const { request, plan, read, commit } = build();
    const first = await plan(request());
    await read(first);
    put({ a: 5, c: 6 });
    const second = await plan(request());
    await read(second);
    await commit(second.run);
    assert.equal((await failureOf(commit(first.run))).type, "FENCED");
    assert.deepEqual(await served(), { rows: [10, "NOT_FOUND", 12], mean: 5.5, count: 2 });
  });

  it("do not hold once a source file was replaced; the next takes the new file", async () => {
    const { request, plan, read, commit, activities, call } = build();
    const asked = request();
    const first = await plan(asked);
    put({ a: 5, c: 6 });
    const failure = await failureOf(read(first));
    assert.equal(failure.type, "SOURCE_CHANGED");
    assert.equal(failure.nonRetryable, true);
    const second = await plan(asked, 1);
    assert.equal(second.run.generation, first.run.generation + 1);
    const again = await plan(asked, 1);
    assert.equal(again.run.generation, second.run.generation, "a retry has the same plan");
    await read(second);
    const [slice] = first.slices;
    assert.ok(slice);
    assert.equal((await failureOf(call(activities.readSlice, first.run, slice))).type, "FENCED");
    assert.equal((await failureOf(call(activities.commitRun, first.run))).type, "FENCED");
    await commit(second.run);
    assert.deepEqual(await served(), { rows: [10, "NOT_FOUND", 12], mean: 5.5, count: 2 });
  });

  it("do not hold once a source file is gone, or is wrong because it is another", async () => {
    const { request, plan, read } = build();
    const gone = await plan(request());
    rmSync(join(folder, "things.csv"));
    assert.equal((await failureOf(read(gone))).type, "SOURCE_CHANGED");
    put({ a: 1 });
    const other = await plan(request());
    writeFileSync(join(folder, "things.csv"), "id,x\n");
    const failure = await failureOf(read(other));
    assert.deepEqual([failure.type, failure.nonRetryable], ["SOURCE_CHANGED", true]);
  });

  it("share states of aggregates: the one whose file has changed since does not commit", async () => {
    const [old, next] = [build(), build(catalogueOf("x and y"))];
    const first = await old.plan(old.request());
    await old.read(first);
    put({ a: 5, c: 6 });
    await next.materialize();
    const failure = await failureOf(old.commit(first.run));
    assert.deepEqual([failure.type, failure.nonRetryable], ["SOURCE_CHANGED", true]);
    assert.equal((await served(catalogueOf("x and y"))).mean, 5.5);
    await old.materialize();
    assert.equal((await served()).mean, 5.5);
  });

  it("commit again where the reply was lost, also once the file has changed", async () => {
    const { request, plan, read, call, activities } = build();
    const planned = await plan(request());
    await read(planned);
    const done = await call(activities.commitRun, planned.run);
    put({ a: 5 });
    assert.deepEqual(await call(activities.commitRun, planned.run), done);
  });

  it("that are gone with the offline store are OFFLINE_UNAVAILABLE, at last for good", async () => {
    const { request, plan, read, attempt, activities } = build();
    const planned = await plan(request());
    const { run } = planned;
    await read(planned);
    const slice = { from: 0, to: 1 };
    const steps = {
      readSlice: (number: number) => attempt(number, activities.readSlice, run, slice),
      validateRun: (number: number) => attempt(number, activities.validateRun, run),
      commitRun: (number: number) => attempt(number, activities.commitRun, run),
    };
    for (const lose of [
      () => rmSync(join(folder, "offline"), { recursive: true }),
      () => writeFileSync(join(folder, "offline"), "no folder"),
    ]) {
      lose();
      for (const [name, step] of Object.entries(steps)) {
        const failure = await failureOf(step(1));
        assert.deepEqual(
          [failure.type, failure.nonRetryable],
          ["OFFLINE_UNAVAILABLE", false],
          name,
        );
      }
    }
    rmSync(join(folder, "offline"));
    for (const [name, step] of Object.entries(steps))
      assert.equal((await failureOf(step(5))).nonRetryable, true, name);
  });

  it("are followed by a publish that is OFFLINE_UNAVAILABLE where a part is gone or damaged", async () => {
    const { request, plan, read, attempt, activities, view, call } = build();
    const planned = await plan(request());
    await read(planned);
    const { run } = planned;
    await call(activities.commitRun, run);
    const offline = createOfflineStore({ root: join(folder, "offline") });
    const part = join(
      offline.root,
      `views/things/fingerprint=${view.fingerprint}`,
      `interval=1970-01-01T00-00-00.000Z_2026-02-01T00-00-00.000Z/generation=${run.generation}`,
      "part-00000-000.parquet",
    );
    assert.ok((await offline.listGenerations(partitionOf(view, run))).includes(run.generation));
    const { fingerprint, definition } = view;
    const input = { view: "things", fingerprint, definition };
    for (const spoil of [() => writeFileSync(part, "no parquet"), () => rmSync(part)]) {
      spoil();
      for (const number of [1, 5]) {
        const failure = await failureOf(attempt(number, activities.publishView, input));
        assert.equal(failure.type, "OFFLINE_UNAVAILABLE");
        assert.equal(failure.nonRetryable, number === 5);
      }
    }
  });

  it("are not published in a Redis that was told meanwhile to evict", async () => {
    const { request, plan, read, commit, publish } = build();
    const planned = await plan(request());
    await read(planned);
    const [master] = await redis.masters();
    assert.ok(master);
    await master.send(["config", "SET", "maxmemory-policy", "allkeys-lru"]);
    try {
      assert.equal((await failureOf(commit(planned.run))).type, "STORE_EVICTS");
    } finally {
      await master.send(["config", "SET", "maxmemory-policy", "noeviction"]);
    }
    assert.equal((await publish()).outcome, "published");
  });

  it("of a training set without a snapshot fail at once", async () => {
    const { call, activities } = build();
    const failure = await failureOf(call(activities.buildTrainingSet, { service: "service" }));
    assert.deepEqual([failure.type, failure.nonRetryable], ["NO_SNAPSHOT", true]);
    assert.match(failure.message, /materialize things/);
  });
});
