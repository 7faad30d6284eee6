import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MockActivityEnvironment } from "@temporalio/testing";
import { createMaterialization } from "../../activities/materialization.ts";
import { withHeartbeats } from "../../activities/run-context.ts";
import { partitionOf } from "../../filling/run-facts.ts";
import { pointerRequest } from "../../store/ledger.ts";
import { createTrainingSets } from "../../activities/training-set.ts";
import { buildCatalogue, type Catalogue, viewNamed } from "../../engine/catalogue.ts";
import { decodeSnapshot } from "../../engine/snapshot.ts";
import {
  entity,
  featureService,
  featureView,
  float64,
  max,
  mean,
  source,
  string,
  timestamp,
} from "../../engine/index.ts";
import { createLedger } from "../../store/ledger.ts";
import { createOfflineStore } from "../../store/offline/offline-store.ts";
import { createOnlineStore } from "../../store/online-store.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import { type PublishInput, type RunRef, slicesOf } from "../../workflows/contract.ts";
import { randomPrefix, type RedisServer, startRedis } from "../support/redis/server.ts";
import { failsWith } from "../support/fails-with.ts";
import type { RedisConnection } from "../../store/redis/types.ts";

const thing = entity("thing", { key: "id" });

/** A small catalogue over one CSV file; `extra` adds an aggregate, as a newer build would. */
function catalogueOf(options: { eventTime?: boolean; aggregates?: boolean; extra?: boolean }) {
  const things = source("things", {
    files: "things.csv",
    entity: thing,
    columns: { id: string, at: timestamp, x: float64 },
    ...(options.eventTime === true ? { eventTime: "at" as const } : {}),
  });
  const { x } = things.columns;
  const x_mean = mean(x);
  const twice = x.mul(2);
  return buildCatalogue({
    things: {
      things,
      twice,
      ...(options.aggregates === false ? {} : { x_mean }),
      ...(options.extra === true ? { x_max: max(x) } : {}),
      view: featureView("things", { source: things, stores: [x] }),
      service: featureService("service", [twice]),
    },
  });
}

describe("The activities of materialize", () => {
  let runs = 0;
  let server: RedisServer;
  let redis: RedisConnection;
  let folder: string;
  let prefix: string;

  before(async () => {
    server = await startRedis({ args: ["--appendonly", "yes", "--appendfsync", "always"] });
    redis = connectRedis(server.url, "writing");
  });
  after(async () => {
    await redis.close();
    await server.stop();
  });
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "onceflow-test-"));
    prefix = randomPrefix();
    writeRows(["a,2026-01-01T10:00:00Z,1", "b,2026-01-02T10:00:00Z,3"]);
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  function writeRows(rows: readonly string[]) {
    writeFileSync(join(folder, "things.csv"), `id,at,x\n${rows.join("\n")}\n`);
  }

  function build(catalogue: Catalogue) {
    const ledger = createLedger(redis, { prefix });
    const offline = createOfflineStore({ root: join(folder, "offline") });
    const dependencies = {
      catalogue,
      redis,
      online: createOnlineStore(redis, { prefix }),
      ledger,
      offline,
      sources: { dataDir: folder },
      tasks: {},
      webhooks: {},
      folders: { dataDir: folder, offlineDir: join(folder, "offline") },
    };
    const activities = withHeartbeats(createMaterialization(dependencies));
    const trainingSets = withHeartbeats(createTrainingSets(dependencies));
    const environment = new MockActivityEnvironment();
    const view = viewNamed(catalogue, "things");
    const request = (start: string, end: string, reprocess = false) => ({
      view: "things",
      start,
      end,
      fingerprint: view.fingerprint,
      definition: view.definition,
      runId: `run-${runs++}`,
      reprocess,
      sensed: false,
    });
    const call = <A extends unknown[], R>(
      activity: (...args: A) => Promise<R>,
      ...args: A
    ): Promise<R> => environment.run<A, R, typeof activity>(activity, ...args);
    /** Everything before the commit. */
    const stage = async (start: string, end: string, reprocess = false) => {
      const asked = request(start, end, reprocess);
      const plan = await call(activities.planRun, asked);
      if (plan.due === "waiting") throw new Error("nothing comes first");
      const run: RunRef = { ...asked, generation: plan.generation };
      if (plan.due === "rows") {
        for (const slice of slicesOf(plan.files)) await call(activities.readSlice, run, slice);
        await call(activities.validateRun, run);
      }
      return { plan, run };
    };
    const publish = (how: Partial<PublishInput> = {}) => {
      const { name, fingerprint, definition } = view;
      return call(activities.publishView, { view: name, fingerprint, definition, ...how });
    };
    /** The whole of a run but its publish. */
    const commit = async (start: string, end: string, reprocess = false) => {
      const { plan, run } = await stage(start, end, reprocess);
      if (plan.due === "nothing") return { plan, run };
      const commits = plan.due === "rows" ? activities.commitRun : activities.fillAggregates;
      await call(commits, run);
      const counts = plan.due === "rows" ? { rows: 2, warnings: [] } : null;
      await call(activities.recordCommit, run, counts);
      return { plan, run };
    };
    const materialize = async (start: string, end: string, reprocess = false) => ({
      ...(await commit(start, end, reprocess)),
      ...(await publish()),
    });
    const generations = (start: string, end: string) =>
      offline.listGenerations({
        view: "things",
        fingerprint: view.fingerprint,
        interval: { startMs: Date.parse(start), endMs: Date.parse(end) },
      });
    const pointers = async () => (await ledger.readPointers([pointerRequest(view)]))[0];
    return {
      activities,
      trainingSets,
      call,
      stage,
      publish,
      commit,
      materialize,
      generations,
      pointers,
      ledger,
      offline,
      view,
    };
  }

  it("keep what is committed when the run fails after its commit", async () => {
    const { activities, call, stage, generations, ledger } = build(catalogueOf({}));
    const { run } = await stage("1970-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
    await call(activities.commitRun, run);
    await call(activities.recordFailure, run, run.generation, "failed", "the disk is full", 0);
    assert.deepEqual(await generations("1970-01-01T00:00:00Z", run.end), [1]);
    const [logged] = await ledger.readRuns("things", 1);
    assert.equal(logged?.outcome, "committed");
  });

  it("remove what a run staged that fails before its commit", async () => {
    const { activities, call, stage, generations, ledger } = build(catalogueOf({}));
    const { run } = await stage("1970-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
    await call(activities.recordFailure, run, run.generation, "failed", "x", 0);
    assert.deepEqual(await generations("1970-01-01T00:00:00Z", run.end), []);
    assert.equal((await ledger.readRuns("things", 1))[0]?.outcome, "failed");
  });

  it("commit again without harm when the reply was lost and a newer run has begun", async () => {
    const { activities, call, stage } = build(catalogueOf({}));
    const { run } = await stage("1970-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
    const first = await call(activities.commitRun, run);
    await stage("1970-01-01T00:00:00Z", "2026-02-01T00:00:00Z", true);
    assert.deepEqual(await call(activities.commitRun, run), first);
  });

  it("refuse the commit of a run that a newer one has overtaken", async () => {
    const { activities, call, stage } = build(catalogueOf({}));
    const { run } = await stage("1970-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
    await stage("1970-01-01T00:00:00Z", "2026-02-01T00:00:00Z", true);
    await failsWith(call(activities.commitRun, run), "FENCED");
  });

  it("serve no rows but those that were validated, whoever has put others in their place", async () => {
    const built = build(catalogueOf({ eventTime: true }));
    const { run } = await built.commit("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    const part = partitionOf(built.view, run);
    const rows = await built.offline.readPart(part, { file: 0, chunk: 0 });
    await built.offline.writePart(part, { file: 0, chunk: 0 }, rows.head(0));
    await failsWith(built.publish(), "OFFLINE_UNAVAILABLE", /has 0 rows, and 1 were validated/);
    assert.equal((await built.pointers())?.published, null);
  });

  it("say FENCED where a newer run has removed what an older one had read", async () => {
    const built = build(catalogueOf({ eventTime: true }));
    const day = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"] as const;
    const old = await built.stage(...day);
    await built.materialize(...day, true);
    await failsWith(built.call(built.activities.readSlice, old.run, { from: 0, to: 1 }), "FENCED");
  });

  it("leave a run to workers with the same aggregates and expectations", async () => {
    const old = build(catalogueOf({}));
    const { run } = await old.stage("1970-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
    const next = build(catalogueOf({ extra: true }));
    assert.equal(next.view.fingerprint, old.view.fingerprint);
    await failsWith(
      next.call(next.activities.readSlice, run, { from: 0, to: 1 }),
      "FINGERPRINT_UNKNOWN",
    );
    await failsWith(next.call(next.activities.commitRun, run), "FINGERPRINT_UNKNOWN");
  });

  it("refuse overlapping intervals also of a view without aggregates, before a row is read", async () => {
    const { materialize, stage } = build(catalogueOf({ eventTime: true, aggregates: false }));
    await materialize("2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z");
    await failsWith(stage("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"), "INTERVAL_INVALID");
  });

  it("refuse the commit of the later of two runs at once that overlap", async () => {
    const { activities, call, stage } = build(catalogueOf({ eventTime: true }));
    const wide = await stage("2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z");
    const narrow = await stage("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z");
    await call(activities.commitRun, wide.run);
    await failsWith(call(activities.commitRun, narrow.run), "INTERVAL_INVALID");
  });

  it("know a full refresh by its end alone", async () => {
    const { materialize } = build(catalogueOf({}));
    const first = await materialize("1970-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
    const second = await materialize("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
    assert.equal(second.plan.due, "nothing");
    assert.equal(second.outcome, "current");
    assert.equal(second.snapshot, first.snapshot);
  });

  it("make no snapshot of aggregates of different times", async () => {
    const old = build(catalogueOf({}));
    await old.materialize("1970-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
    await old.materialize("1970-01-01T00:00:00Z", "2026-02-02T00:00:00Z");
    const next = build(catalogueOf({ extra: true }));
    const older = await next.materialize("1970-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
    assert.equal(older.plan.due, "aggregates");
    assert.equal(older.snapshot, null);
    assert.equal((await next.pointers())?.latest, null);
    const newest = await next.materialize("1970-01-01T00:00:00Z", "2026-02-02T00:00:00Z");
    assert.equal((await next.pointers())?.latest?.id, newest.snapshot);
    assert.ok(newest.snapshot);
  });

  it("fill a new aggregate from the offline rows, whatever has become of the files", async () => {
    const end = "2026-02-01T00:00:00Z";
    const old = build(catalogueOf({}));
    await old.materialize("1970-01-01T00:00:00Z", end);
    writeRows(["a,2026-01-01T10:00:00Z,7"]);
    const next = build(catalogueOf({ extra: true }));
    const { plan, outcome } = await next.materialize("1970-01-01T00:00:00Z", end);
    assert.deepEqual([plan.due, outcome], ["aggregates", "published"]);
    assert.deepEqual(await next.generations("1970-01-01T00:00:00Z", end), [1]);
    const { aggregates } = next.view;
    const { id = "", body = "" } = (await next.pointers())?.latest ?? {};
    const { values } = decodeSnapshot(aggregates, id, body);
    assert.deepEqual(
      aggregates.map(({ node, fingerprint }) => [node.aggregate, values.get(fingerprint)]).sort(),
      [
        ["max", 3],
        ["mean", 2],
      ],
    );
  });

  it("are refused to a worker whose clock is not that of Redis", async () => {
    const { stage } = build(catalogueOf({}));
    const { now } = Date;
    for (const skewMs of [-300_000, 300_000])
      try {
        Date.now = () => now() + skewMs;
        await failsWith(
          stage("1970-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
          "CLOCK_SKEW",
          skewMs > 0 ? /(299|30[01]) s ahead of/ : /(299|30[01]) s behind/,
        );
      } finally {
        Date.now = now;
      }
    await stage("1970-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
  });

  it("serve nothing before the publish", async () => {
    const { commit, publish, pointers } = build(catalogueOf({}));
    await commit("1970-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
    const before = await pointers();
    assert.deepEqual([before?.published, before?.namespace, before?.latest], [null, null, null]);
    const { outcome, written } = await publish();
    assert.deepEqual([outcome, written], ["published", 2]);
    assert.equal((await pointers())?.published?.generation, 1);
    assert.ok((await pointers())?.latest);
  });

  it("keep training sets of different ranges apart", async () => {
    const { trainingSets, call } = build(catalogueOf({ eventTime: true, aggregates: false }));
    const build_ = (start: string, end: string) =>
      call(trainingSets.buildTrainingSet, { service: "service", start, end });
    const first = await build_("2026-01-01", "2026-01-02");
    const second = await build_("2026-01-02", "2026-01-03");
    assert.notEqual(first.path, second.path);
    assert.deepEqual([first.rows, second.rows], [1, 1]);
  });
});
