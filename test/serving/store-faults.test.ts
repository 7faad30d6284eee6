import assert from "node:assert/strict";
import { once } from "node:events";
import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FastifyInstance } from "fastify";
import { loadCatalogue, viewNamed } from "../../engine/catalogue.ts";
import type { Catalogue, View } from "../../engine/catalogue.ts";
import { buildApp } from "../../serving/http/app.ts";
import type { Lookup } from "../../serving/lookup.ts";
import { createLookup } from "../../serving/lookup.ts";
import { createMetrics } from "../../serving/telemetry/metrics.ts";
import { createLedger } from "../../store/ledger.ts";
import { createOnlineStore } from "../../store/online-store.ts";
import type { RedisConnection } from "../../store/redis/types.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import { readRunId } from "../../store/redis/run-id.ts";
import { aggregateValues } from "../support/http/example-store.ts";
import { parseScrape } from "../support/http/scrape.ts";
import { storedTable } from "../../filling/view-states.ts";
import { commitInterval, fillView } from "../support/redis/fill.ts";
import type { RedisServer } from "../support/redis/server.ts";
import { startRedis } from "../support/redis/server.ts";
import { until } from "../support/until.ts";

const prefix = "onceflow";
const stored = { features: ["has_children"], entities: [{ id: "11" }] };
const aggregate = { features: ["age_mean"] };

describe("lookup while the store fails", () => {
  let server: RedisServer;
  let redis: RedisConnection;
  let writing: RedisConnection;
  let lookup: Lookup;
  let catalogue: Catalogue;
  let absences: View;
  before(async () => {
    catalogue = await loadCatalogue(() => import("../../features/index.ts"));
    absences = viewNamed(catalogue, "absences");
  });
  beforeEach(async () => {
    server = await startRedis();
    redis = connectRedis(server.url, "serving");
    writing = connectRedis(server.url, "writing");
    lookup = createLookup({ catalogue, redis, prefix, refreshMs: 20 });
  });
  afterEach(async () => {
    lookup.close();
    await Promise.all([redis.close(), writing.close()]);
    await server.stop();
  });

  const fill = (end: string, mean = 36.5) =>
    fillView(writing, absences, {
      prefix,
      start: "2026-03-01",
      end,
      rows: [{ key: ["11"], values: { age: 33, has_children: 1 } }],
      aggregates: aggregateValues(absences, { mean, std: 7 }),
    });
  const statusOf = async () => (await lookup.answer(stored)).results[0]!.statuses["has_children"];
  const meanOf = async () => (await lookup.answer(aggregate)).results[0]!.features["age_mean"];
  /** Answers DEADLINE_EXCEEDED where the store is waited for without an end. */
  const open = () => buildApp({ catalogue, lookup, log: "silent", load: { deadlineMs: 10_000 } });
  const ask = (app: FastifyInstance) =>
    app.inject({ method: "POST", url: "/v1/features", payload: stored });
  const emptied = async () => {
    const { listNamespaces, resetNamespace } = createOnlineStore(writing, { prefix });
    const [namespace] = await listNamespaces("absences");
    await resetNamespace(storedTable(absences), {
      buckets: namespace!.buckets,
      aggregates: [],
      aggregatesFingerprint: absences.aggregatesFingerprint,
    });
  };

  it("answers NOT_FOUND for rows and NO_SNAPSHOT for aggregates of a view never materialized", async () => {
    assert.equal(await statusOf(), "NOT_FOUND");
    await assert.rejects(lookup.answer({ service: "model_x", entities: [{ id: "11" }] }), {
      code: "NO_SNAPSHOT",
      message:
        'view "absences" has no aggregate snapshot for this build, so age_zero_mean_unit_variance has no value. What fills it says: npm run --silent cli -- status absences',
    });
    const { ready, views } = await lookup.ready();
    assert.equal(ready, true);
    assert.deepEqual(
      views.map(({ view, materialized, snapshot }) => ({ view, materialized, snapshot })),
      ["absences", "badges"].map((view) => ({ view, materialized: false, snapshot: null })),
    );
  });

  it("follows a materialization in the background", async () => {
    assert.equal(await statusOf(), "NOT_FOUND");
    const id = await fill("2026-03-02");
    await until(
      "its snapshot is known",
      async () => (await lookup.ready()).views[0]?.snapshot === id,
    );
    assert.equal(await meanOf(), 36.5);
    assert.equal(await statusOf(), "PRESENT");
  });

  it("answers STORE_UNAVAILABLE in time while Redis is dead, and again once it is back", async () => {
    await fill("2026-03-02");
    await lookup.refresh();
    assert.equal(await statusOf(), "PRESENT");
    await server.kill();
    const app = open();
    const response = await ask(app);
    assert.equal(response.statusCode, 503);
    assert.equal(response.json<{ code: string }>().code, "STORE_UNAVAILABLE");
    // Where the store is, is nothing that callers need to know.
    assert.doesNotMatch(response.body, /127\.0\.0\.1|hmget/);
    assert.equal((await app.inject("/readyz")).statusCode, 503);
    assert.equal((await app.inject("/healthz")).statusCode, 200);
    // What needs no row is answered from the pointers there are.
    assert.equal(await meanOf(), 36.5);
    const { failedRefreshes } = lookup.counters;
    await until("a refresh has failed", () => lookup.counters.failedRefreshes > failedRefreshes);
    assert.match(
      lookup.counters.lastRefreshError ?? "",
      /^Redis at .* Start it, or correct REDIS_URL\.$/,
    );

    const again = await startRedis({ port: server.port });
    try {
      // It came back empty: that is no reason to call an entity unknown.
      await until("it is known to be empty", async () =>
        /emptied/.test((await lookup.ready()).reason ?? ""),
      );
      await assert.rejects(lookup.answer(stored), {
        code: "STORE_LOST",
        message: `view "absences": Redis no longer has what it had under fingerprint ${absences.fingerprint}, so it was emptied, restored from an older copy or swept, and nobody has put it back since. A worker does so by itself; at once: npm run --silent cli -- publish absences`,
      });
      assert.equal(await meanOf(), 36.5);
      const id = await fill("2026-03-03", 40);
      await until(
        "its snapshot is known",
        async () => (await lookup.ready()).views[0]?.snapshot === id,
      );
      assert.equal(await meanOf(), 40);
      assert.equal((await app.inject("/readyz")).statusCode, 200);
      assert.equal((await ask(app)).statusCode, 200);
    } finally {
      await again.stop();
    }
  });

  it("waits for no store that nothing asked rests on, not even after a start without one", async () => {
    await server.kill();
    const app = open();
    const payload = { features: ["has_pet"], inputs: { pet: 2 } };
    const response = await app.inject({ method: "POST", url: "/v1/features", payload });
    assert.equal(response.statusCode, 200);
    const { refreshes, failedRefreshes } = lookup.counters;
    assert.deepEqual([refreshes, failedRefreshes], [0, 0]);
    await assert.rejects(lookup.answer(stored), { code: "STORE_UNAVAILABLE" });
    await assert.rejects(lookup.answer(stored), { code: "STORE_UNAVAILABLE" });
    assert.equal(lookup.counters.failedRefreshes, 1, "the second waited for a read of its own");
  });

  it("answers STORE_UNAVAILABLE in time while Redis hangs", async () => {
    await fill("2026-03-02");
    await lookup.refresh();
    server.signal("SIGSTOP");
    const response = await ask(open());
    assert.equal(response.json<{ code: string }>().code, "STORE_UNAVAILABLE");
    server.signal("SIGCONT");
    await until("it is answered again", () =>
      statusOf().then(
        (status) => status === "PRESENT",
        () => false,
      ),
    );
  });

  it("refreshes and tries once more where the namespace began anew", async () => {
    await fill("2026-03-02");
    const slow = createLookup({ catalogue, redis, prefix, refreshMs: 1e9 });
    assert.equal((await slow.answer(stored)).results[0]!.statuses["has_children"], "PRESENT");
    await emptied();
    await fill("2026-03-03");
    assert.equal((await slow.answer(stored)).results[0]!.statuses["has_children"], "PRESENT");
    assert.equal(slow.counters.storeRetries, 1);
    slow.close();
  });

  it("answers STORE_LOST until what was lost is published again", async () => {
    await fill("2026-03-02");
    await lookup.refresh();
    await emptied();
    // The publish is under way: the table is there, and some of its entities.
    await lookup.refresh();
    await assert.rejects(lookup.answer(stored), { code: "STORE_LOST" });
    await assert.rejects(lookup.answer(stored), { code: "STORE_LOST" });
    await fill("2026-03-03");
    assert.equal(await statusOf(), "PRESENT");
  });

  it("answers STORE_LOST where rows are gone that the pointers name", async () => {
    await fill("2026-03-02");
    await lookup.refresh();
    const keys = (await writing.send(["keys", "onceflow:entities:*"])) as Buffer[];
    await writing.send(["del", ...keys]);
    await assert.rejects(lookup.answer(stored), { code: "STORE_LOST" });
    assert.equal(lookup.counters.storeRetries, 1);
  });

  it("answers STORE_LOST for the one view that an emptied store lacks, and serves the other", async () => {
    const badges = viewNamed(catalogue, "badges");
    const fillBadges = (count: number) =>
      fillView(writing, badges, {
        prefix,
        start: "2026-03-01",
        end: "2026-03-02",
        rows: [{ key: ["11"], values: {} }],
        aggregates: aggregateValues(badges, { count, mean: 400 }),
      });
    const ofBadges = { features: ["badges.door"], entities: [{ id: "11" }] };
    const ofBoth = { features: ["has_children", "badges.door"], entities: [{ id: "11" }] };
    const eventsOf = async () =>
      (await lookup.answer({ features: ["badge_events"] })).results[0]!.features["badge_events"];
    await fill("2026-03-02");
    await fillBadges(10);
    await lookup.refresh();
    await writing.send(["flushall"]);
    const id = await fill("2026-03-03", 40);
    await until(
      "its snapshot is known",
      async () => (await lookup.ready()).views[0]?.snapshot === id,
    );

    assert.equal(await statusOf(), "PRESENT");
    assert.equal(await meanOf(), 40);
    const lost = `view "badges": Redis no longer has what it had under fingerprint ${badges.fingerprint}, so it was emptied, restored from an older copy or swept, and nobody has put it back since. A worker does so by itself; at once: npm run --silent cli -- publish badges`;
    for (const asked of [ofBadges, ofBoth])
      await assert.rejects(lookup.answer(asked), { code: "STORE_LOST", message: lost });
    assert.equal(await eventsOf(), 10);
    const app = buildApp({ catalogue, lookup, log: "silent" });
    const notReady = await app.inject("/readyz");
    assert.equal(notReady.statusCode, 503);
    assert.equal(notReady.json<{ reason: string }>().reason, lost);

    await fillBadges(12);
    await lookup.refresh();
    assert.equal((await lookup.answer(ofBoth)).results.length, 1);
    assert.equal(await eventsOf(), 12);
    assert.equal((await app.inject("/readyz")).statusCode, 200);
  });

  const commitNext = () =>
    commitInterval(writing, absences, {
      prefix,
      start: "2026-03-01",
      end: "2026-03-03",
      rows: [],
    });
  async function publishAgain(): Promise<void> {
    const ledger = createLedger(writing, { prefix });
    const { name, fingerprint } = absences;
    const { namespace, published } = await ledger.readLedger(name, fingerprint);
    assert.ok(namespace && published);
    const generation = await ledger.beginPublish(name, fingerprint, 1);
    await ledger.commitPublish({
      namespace,
      redisRunId: await readRunId(writing),
      published: { ...published, generation },
      snapshot: undefined,
    });
  }

  for (const what of ["commit", "publish"] as const)
    it(`tells within seconds that Redis is an older copy, which lacks a ${what}, and recovers by a publish`, async () => {
      await fill("2026-03-02");
      await writing.send(["save"]);
      const older = await mkdtemp(join(tmpdir(), "onceflow-older-"));
      await copyFile(join(server.directory, "dump.rdb"), join(older, "dump.rdb"));
      await (what === "publish" ? publishAgain() : commitNext());
      const metrics = createMetrics(catalogue);
      // As often as by default.
      const serving = createLookup({ catalogue, redis, prefix, observe: metrics.observer });
      metrics.watch(serving);
      const app = buildApp({ catalogue, lookup: serving, metrics, log: "silent" });
      const lostOf = async () =>
        parseScrape(await metrics.registry.metrics()).value("onceflow_view_lost", {
          view: "absences",
        });
      const readyz = async () => (await app.inject("/readyz")).statusCode;
      await serving.refresh();
      assert.deepEqual([await readyz(), await lostOf()], [200, 0]);

      await server.kill();
      const again = await startRedis({ port: server.port, args: ["--dir", older] });
      try {
        await writing.ready();
        const isKnown = async () => /older copy/.test((await serving.ready()).reason ?? "");
        await until("it is known to be older", isKnown, 5_000);
        assert.equal(await readyz(), 503);
        assert.equal((await ask(app)).json<{ code: string }>().code, "STORE_LOST");
        assert.equal(await lostOf(), 1);
        // What needs no row is answered as before.
        assert.equal((await serving.answer(aggregate)).results[0]?.features["age_mean"], 36.5);

        await fill("2026-03-03", 40);
        await serving.refresh();
        assert.deepEqual([await readyz(), await lostOf()], [200, 0]);
        assert.equal((await ask(app)).statusCode, 200);
      } finally {
        await app.close();
        serving.close();
        await again.stop();
        await rm(older, { recursive: true });
      }
    });

  it("serves no entity of a first publish before its end", async () => {
    await fillView(writing, absences, {
      prefix,
      start: "2026-03-01",
      end: "2026-03-02",
      rows: [{ key: ["11"], values: { has_children: 1 } }],
      publish: false,
    });
    await lookup.refresh();
    assert.equal(await statusOf(), "NOT_FOUND");
    const { as_of } = await lookup.answer(stored);
    assert.deepEqual(as_of, { absences: null });
    assert.equal((await lookup.ready()).views[0]?.materialized, false);
  });

  it("refreshes at once after a reconnect", async () => {
    const slow = createLookup({ catalogue, redis, prefix, refreshMs: 1e9 });
    await slow.refresh();
    const { refreshes } = slow.counters;
    await writing.send(["client", "KILL", "TYPE", "normal"]).catch(() => undefined);
    await until("it has refreshed", () => slow.counters.refreshes > refreshes);
    slow.close();
  });

  it("does not keep a process alive by its background reads", async () => {
    const { spawn } = await import("node:child_process");
    const script = [
      'import { createLookup } from "./serving/lookup.ts";',
      'import { loadCatalogue } from "./engine/catalogue.ts";',
      'import { connectRedis } from "./store/redis/connection.ts";',
      'const catalogue = await loadCatalogue(() => import("./features/index.ts"));',
      `const redis = connectRedis("${server.url}", "serving");`,
      "const lookup = createLookup({ catalogue, redis });",
      "await lookup.refresh();",
      "await redis.close();",
    ].join("\n");
    const child = spawn(
      process.execPath,
      ["--import", "tsx", "--input-type=module", "--eval", script],
      { stdio: "inherit", timeout: 15_000 },
    );
    const [code] = (await once(child, "exit")) as [number];
    assert.equal(code, 0);
  });
});
