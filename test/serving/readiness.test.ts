import assert from "node:assert/strict";
import type { Catalogue, View } from "../../engine/catalogue.ts";
import { loadCatalogue, viewNamed } from "../../engine/catalogue.ts";
import { interval } from "../../engine/calendar/interval.ts";
import { emptyRegistry, registryOf } from "../../engine/registry.ts";
import { createKnownKeys } from "../../serving/auth/known-keys.ts";
import type { Lookup } from "../../serving/lookup.ts";
import { createLookup } from "../../serving/lookup.ts";
import type { ReadyRule } from "../../serving/readiness.ts";
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

describe("readiness of a build", () => {
  let redis: TestRedis;
  let writing: RedisConnection;
  let serving: RedisConnection;
  let catalogue: Catalogue;
  let absences: View;
  /** The same view in the build before: it stored other columns and kept other aggregates. */
  let older: View;
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
    const [fingerprint, aggregatesFingerprint] = ["ab".repeat(16), "cd".repeat(16)] as const;
    older = { ...absences, fingerprint, aggregatesFingerprint };
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

  /** Commits a day of March under the definitions of a build; `atMs` is when its run ended. */
  async function commit(view: View, day: number, atMs = day): Promise<void> {
    const [start, end] = [day, day + 1].map((each) => `2026-03-${String(each).padStart(2, "0")}`);
    await fillView(writing, view, {
      prefix,
      start: start ?? "",
      end: end ?? "",
      rows: [{ key: ["11"], values: { age: 33 } }],
      aggregates: aggregateValues(view, { mean: 36.5, std: 7 }),
    });
    const times = { startedAtMs: atMs, finishedAtMs: atMs };
    await createLedger(writing, { prefix }).recordOutcome(
      {
        view: view.name,
        fingerprint: view.fingerprint,
        interval: interval(start ?? "", end ?? ""),
      },
      { outcome: "committed", reason: null, rows: 1, runId: "run", ...times },
    );
  }
  /** A process of this build that starts now. */
  function start(readyRule?: ReadyRule, connection = serving): Lookup {
    const lookup = createLookup({
      catalogue,
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
  const lacks = (what: string) =>
    `view "absences" lacks ${what}. Run from this build: npm run --silent cli -- apply --fill`;
  const both = "and a snapshot of its aggregates, which other definitions have";

  it("waits until its definitions have what older ones had committed", async () => {
    for (const day of [1, 2, 3]) await commit(older, day);
    const lookup = start();
    assert.equal(await reasonOf(lookup), lacks(`3 intervals that other definitions have ${both}`));
    // The newest day first: a head that is level says nothing of the days before.
    for (const day of [3, 1]) await commit(absences, day, 10 + day);
    assert.equal(await reasonOf(lookup), lacks("1 interval that other definitions have"));
    assert.equal((await lookup.ready()).views[0]?.filled, false);
    await commit(absences, 2, 20);
    assert.equal(await reasonOf(lookup), undefined);
    assert.equal((await lookup.ready()).views[0]?.filled, true);
  });

  it("does not wait for what the old schedule commits after the fill, before it moves over", async () => {
    await commit(older, 1);
    await commit(absences, 1, 10);
    await commit(older, 2, 11);
    assert.equal(await reasonOf(start()), undefined);
    await commit(older, 3, 9);
    assert.equal(await reasonOf(start()), lacks("1 interval that other definitions have"));
  });

  it("asks nothing of Redis that a user who may only read has no right to", async () => {
    const url = await readingUser(redis.url, prefix);
    const reading = connectRedis(url, "serving", patient);
    try {
      const { id, key } = await addKey(writing, prefix, ["describe"]);
      for (const day of [1, 2]) await commit(older, day);
      const lookup = start(undefined, reading);
      assert.equal(
        await reasonOf(lookup),
        lacks(`2 intervals that other definitions have ${both}`),
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
    await commit(older, 1);
    await commit(absences, 1, 10);
    const lookup = start();
    assert.equal(await reasonOf(lookup), undefined);
    await commit(older, 2, 9);
    assert.equal(await reasonOf(lookup), undefined);
  });

  it("takes what was applied as its own for filled, so that history does not hold up a restart", async () => {
    await commit(older, 1);
    assert.notEqual(await reasonOf(start()), undefined);
    const after = registryOf(catalogue);
    await writeRegistry(writing, { before: emptyRegistry, after }, { prefix });
    assert.equal(await reasonOf(start()), undefined);
  });

  it("waits for the snapshot alone where only the aggregates are others", async () => {
    await commit({ ...older, fingerprint: absences.fingerprint }, 1);
    const lookup = start();
    assert.equal(
      await reasonOf(lookup),
      lacks("a snapshot of its aggregates, which other definitions have"),
    );
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
    await commit(older, 1);
    assert.equal(await reasonOf(start("store")), undefined);
  });
});
