import assert from "node:assert/strict";
import type { Catalogue, View } from "../../engine/catalogue.ts";
import { buildCatalogue, loadCatalogue, viewNamed } from "../../engine/catalogue.ts";
import {
  entity,
  featureView,
  float64,
  mean,
  source,
  string,
  timestamp,
} from "../../engine/index.ts";
import { interval } from "../../engine/calendar/interval.ts";
import { emptyRegistry, registryOf } from "../../engine/registry.ts";
import { createKnownKeys } from "../../serving/auth/known-keys.ts";
import type { Lookup } from "../../serving/lookup.ts";
import { createLookup } from "../../serving/lookup.ts";
import type { ReadyRule } from "../../serving/readiness.ts";
import { readUnfilled } from "../../status/filled.ts";
import { createLedger } from "../../store/ledger.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import { writeRegistry } from "../../store/registry.ts";
import { addKey, revokeKey } from "../support/http/access.ts";
import { aggregateValues } from "../support/http/example-store.ts";
import { failsWith } from "../support/fails-with.ts";
import { fillView } from "../support/redis/fill.ts";
import type { TestRedis } from "../support/redis/server.ts";
import { ownRedis, patient, readingUser } from "../support/redis/server.ts";
import type { RedisConnection } from "../../store/redis/types.ts";

/** A build with one view of days (or other intervals) from a time on, and an aggregate of it. */
function ordersFrom(start: string, every = "1 day"): Catalogue {
  const orders = source("orders", {
    files: "orders/{date}.csv",
    entity: entity("thing", { key: "id" }),
    eventTime: "at",
    columns: { id: string, at: timestamp, age: float64 },
  });
  const { age } = orders.columns;
  const orders_view = featureView("orders", {
    source: orders,
    stores: [age],
    schedule: { every, start },
  });
  return buildCatalogue({ orders: { orders, age_mean: mean(age), orders_view } });
}

describe("readiness of a build", () => {
  let redis: TestRedis;
  let writing: RedisConnection;
  let serving: RedisConnection;
  let catalogue: Catalogue;
  let absences: View;
  let badges: View;
  let prefix: string;
  let tries = 0;
  const lookups: Lookup[] = [];
  before(async () => {
    // A test makes a user of it.
    redis = await ownRedis();
    writing = connectRedis(redis.url, "writing");
    serving = connectRedis(redis.url, "serving", patient);
    await serving.ready();
    catalogue = await loadCatalogue(() => import("../../features/index.ts"));
    absences = viewNamed(catalogue, "absences");
    badges = viewNamed(catalogue, "badges");
  });
  beforeEach(() => {
    prefix = `${redis.prefix}-${tries++}`;
  });
  afterEach(() => {
    for (const lookup of lookups.splice(0)) lookup.close();
  });
  after(async () => {
    await Promise.all([writing.close(), serving.close()]);
    await redis.stop();
  });

  /** The same view in the build before: it stored other columns and kept other aggregates. */
  const olderOf = (view: View): View => ({
    ...view,
    fingerprint: "ab".repeat(16),
    aggregatesFingerprint: "cd".repeat(16),
  });
  /** Commits a day of March under the definitions of a build; `atMs` is when its run ended. */
  async function commit(view: View, day: number, atMs = day): Promise<void> {
    const [first = "", end = ""] = [day, day + 1].map(
      (each) => `2026-03-${String(each).padStart(2, "0")}`,
    );
    const start = view.rows.isFullRefresh ? "1970-01-01" : first;
    await fillView(writing, view, {
      prefix,
      start,
      end,
      rows: [{ key: ["11"], values: { age: 33 } }],
      aggregates: aggregateValues(view, { mean: 36.5, std: 7, count: 1 }),
      hasStates: true,
    });
    const times = { startedAtMs: atMs, finishedAtMs: atMs };
    await createLedger(writing, { prefix }).recordOutcome(
      { view: view.name, fingerprint: view.fingerprint, interval: interval(start, end) },
      { outcome: "committed", reason: null, rows: 1, runId: "run", ...times },
    );
  }
  /** A process of a build that starts now. */
  function start(readyRule?: ReadyRule, connection = serving, build = catalogue): Lookup {
    const lookup = createLookup({
      catalogue: build,
      redis: connection,
      prefix,
      refreshMs: 1e9,
      ...(readyRule === undefined ? {} : { readyRule }),
    });
    lookups.push(lookup);
    return lookup;
  }
  async function reasonOf(lookup: Lookup): Promise<string | undefined> {
    await lookup.refresh();
    const { ready, reason } = await lookup.ready();
    assert.equal(ready, reason === undefined);
    return reason;
  }
  /** The days that `apply --fill` would run, as the last two digits of where each range begins. */
  async function fillsOf(build = catalogue): Promise<string[]> {
    const unfilled = await readUnfilled(writing, build, { prefix });
    return unfilled.flatMap(({ ranges }) =>
      ranges.map(({ start, end }) => `${start.slice(5, 10)}/${end.slice(5, 10)}`),
    );
  }
  const lacks = (view: View, what: string) =>
    `view "${view.name}" lacks ${what}. Run from this build: npm run --silent cli -- apply --fill`;
  const both = "and a snapshot of its aggregates, which other definitions have";

  it("waits until its definitions have what older ones had committed", async () => {
    for (const day of [1, 2, 3]) await commit(olderOf(badges), day);
    const lookup = start();
    assert.equal(
      await reasonOf(lookup),
      lacks(badges, `3 intervals that other definitions have ${both}`),
    );
    assert.deepEqual(await fillsOf(), ["03-01/03-04"]);
    // The newest day first: a head that is level says nothing of the days before.
    for (const day of [3, 1]) await commit(badges, day, 10 + day);
    assert.equal(await reasonOf(lookup), lacks(badges, "1 interval that other definitions have"));
    assert.deepEqual(await fillsOf(), ["03-02/03-03"]);
    assert.equal((await lookup.ready()).views[1]?.filled, false);
    await commit(badges, 2, 20);
    assert.equal(await reasonOf(lookup), undefined);
    assert.equal((await lookup.ready()).views[1]?.filled, true);
    assert.deepEqual(await fillsOf(), []);
  });

  it("waits for the newest state of a full refresh alone, since each replaces those before", async () => {
    for (const day of [1, 2, 3]) await commit(olderOf(absences), day);
    const lookup = start();
    assert.equal(
      await reasonOf(lookup),
      lacks(absences, `1 interval that other definitions have ${both}`),
    );
    await commit(absences, 3, 10);
    assert.equal(await reasonOf(lookup), undefined);
    assert.deepEqual(await fillsOf(), []);
  });

  it("does not wait for what no interval of its schedule holds, which nothing can fill", async () => {
    const [before, now] = [ordersFrom("2026-03-01"), ordersFrom("2026-03-03")];
    const older = olderOf(viewNamed(before, "orders"));
    const view = viewNamed(now, "orders");
    for (const day of [1, 2]) await commit(older, day);
    assert.equal(await reasonOf(start(undefined, serving, now)), undefined);
    assert.deepEqual(await fillsOf(now), []);
    await commit(older, 3);
    assert.equal(
      await reasonOf(start(undefined, serving, now)),
      lacks(view, `1 interval that other definitions have ${both}`),
    );
    const [unfilled] = await readUnfilled(writing, now, { prefix });
    assert.deepEqual(
      [unfilled?.ranges, unfilled?.unplaced].map((spans) => spans?.map(({ start }) => start)),
      [["2026-03-03T00:00:00.000Z"], ["2026-03-01T00:00:00.000Z"]],
    );
    await commit(view, 3, 10);
    assert.equal(await reasonOf(start(undefined, serving, now)), undefined);
  });

  it("waits for the longer intervals of its own schedule that meet what others had", async () => {
    const [days, weeks] = [ordersFrom("2026-03-01"), ordersFrom("2026-02-26", "7 days")];
    const view = viewNamed(weeks, "orders");
    for (const day of [3, 6]) await commit(olderOf(viewNamed(days, "orders")), day);
    assert.equal(
      await reasonOf(start(undefined, serving, weeks)),
      lacks(view, `2 intervals that other definitions have ${both}`),
    );
    assert.deepEqual(await fillsOf(weeks), ["02-26/03-12"]);
  });

  it("does not wait for what the old schedule commits after the fill, before it moves over", async () => {
    const older = olderOf(badges);
    await commit(older, 1);
    await commit(badges, 1, 10);
    await commit(older, 2, 11);
    assert.equal(await reasonOf(start()), undefined);
    assert.deepEqual(await fillsOf(), ["03-02/03-03"]);
    await commit(older, 3, 9);
    assert.equal(await reasonOf(start()), lacks(badges, "1 interval that other definitions have"));
  });

  it("asks nothing of Redis that a user who may only read has no right to", async () => {
    const url = await readingUser(redis.url, prefix);
    const reading = connectRedis(url, "serving", patient);
    try {
      const { id, key } = await addKey(writing, prefix, ["describe"]);
      for (const day of [1, 2]) await commit(olderOf(absences), day);
      const lookup = start(undefined, reading);
      assert.equal(
        await reasonOf(lookup),
        lacks(absences, `1 interval that other definitions have ${both}`),
      );
      for (const day of [1, 2]) await commit(absences, day, 10 + day);
      assert.equal(await reasonOf(lookup), undefined);
      const keys = createKnownKeys({ redis: reading, prefix, refreshMs: 1e9 });
      await keys.refresh();
      assert.equal(keys.check(key).ok, true);
      await revokeKey(writing, prefix, id);
      await keys.refresh();
      assert.equal(keys.check(key).ok, false);
      keys.close();
      const request = { features: ["age_zero_mean"], entities: [{ id: "11" }] };
      const { results } = await lookup.answer(request);
      assert.equal(results[0]?.features["age_zero_mean"], -3.5);
      await failsWith(reading.send(["hset", `${prefix}:registry`, "x", "1"]), "CONFIG_INVALID");
    } finally {
      await reading.close();
    }
  });

  it("stays ready once it was, whatever older builds do", async () => {
    await commit(olderOf(absences), 1);
    await commit(absences, 1, 10);
    const lookup = start();
    assert.equal(await reasonOf(lookup), undefined);
    await commit(olderOf(absences), 2, 9);
    assert.equal(await reasonOf(lookup), undefined);
  });

  it("takes what was applied as its own for filled, so that history does not hold up a restart", async () => {
    await commit(olderOf(absences), 1);
    assert.notEqual(await reasonOf(start()), undefined);
    const after = registryOf(catalogue);
    await writeRegistry(writing, { before: emptyRegistry, after }, { prefix });
    assert.equal(await reasonOf(start()), undefined);
  });

  it("waits for the snapshot alone where only the aggregates are others", async () => {
    await commit({ ...olderOf(absences), fingerprint: absences.fingerprint }, 1);
    const lookup = start();
    assert.equal(
      await reasonOf(lookup),
      lacks(absences, "a snapshot of its aggregates, which other definitions have"),
    );
    // Its states are there, so that the run that merges them is to compute again.
    const [unfilled] = await readUnfilled(writing, catalogue, { prefix });
    assert.deepEqual([unfilled?.intervals, unfilled?.outdated], [1, 1]);
    await commit(absences, 1);
    assert.equal(await reasonOf(lookup), undefined);
  });

  it("is ready on a first installation, which names what was never materialized, unless told to wait", async () => {
    const lookup = start();
    assert.equal(await reasonOf(lookup), undefined);
    assert.deepEqual(
      (await lookup.ready()).views.map(({ view, materialized }) => [view, materialized]),
      [
        ["absences", false],
        ["badges", false],
      ],
    );
    const patient = start("materialized");
    assert.match((await reasonOf(patient)) ?? "", /^view "absences" has never been materialized/);
    await commit(absences, 1);
    assert.match((await reasonOf(patient)) ?? "", /^view "badges" has never been materialized/);
    await commit(viewNamed(catalogue, "badges"), 1);
    assert.equal(await reasonOf(patient), undefined);
  });

  it("asks for the store alone where it is told so", async () => {
    await commit(olderOf(absences), 1);
    assert.equal(await reasonOf(start("store")), undefined);
  });
});
