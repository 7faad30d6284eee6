import assert from "node:assert/strict";
import { type Catalogue, buildCatalogue, viewNamed } from "../../engine/catalogue.ts";
import { type Fallback, fallbacks } from "../../engine/language/definitions.ts";
import { entity, featureView, int64, source, string, timestamp } from "../../engine/index.ts";
import { createLastRows } from "../../serving/last-rows.ts";
import { createLookup, type Lookup } from "../../serving/lookup.ts";
import type { FeatureRequest } from "../../serving/request.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import { fillView } from "../support/redis/fill.ts";
import { patient, type RedisServer, startRedis } from "../support/redis/server.ts";
import { until } from "../support/until.ts";
import type { RedisConnection } from "../../store/redis/types.ts";

const prefix = "onceflow";
const user = entity("user", { key: "id" });

/** A view for each fallback, which says it for both. */
function viewOf(fallback: Fallback) {
  const events = source(`events_${fallback}`, {
    files: `${fallback}.parquet`,
    entity: user,
    eventTime: "at",
    columns: { id: string, at: timestamp, clicks: int64 },
  });
  const { clicks } = events.columns;
  return {
    [`doubled_${fallback}`]: clicks.mul(2).default(-1),
    [`next_${fallback}`]: clicks.add(1),
    [`view_${fallback}`]: featureView(`view_${fallback}`, {
      source: events,
      stores: [clicks],
      ttlSeconds: 60,
      onOutdated: fallback,
      onStoreDown: fallback,
    }),
  };
}

const filledMs = Date.parse("2026-03-02T00:00:00Z");

describe("what is served in place of a value", () => {
  let server: RedisServer;
  let redis: RedisConnection;
  let writing: RedisConnection;
  let catalogue: Catalogue;
  let lookup: Lookup;
  let nowMs = filledMs;
  before(() => {
    catalogue = buildCatalogue(Object.fromEntries(fallbacks.map((each) => [each, viewOf(each)])));
  });
  beforeEach(async () => {
    nowMs = filledMs;
    server = await startRedis();
    redis = connectRedis(server.url, "serving", patient);
    writing = connectRedis(server.url, "writing");
    for (const fallback of fallbacks)
      await fillView(writing, viewNamed(catalogue, `view_${fallback}`), {
        prefix,
        start: "2026-03-01",
        end: "2026-03-02",
        rows: [{ key: ["a"], values: { clicks: 20 } }],
      });
    lookup = createLookup({ catalogue, redis, prefix, refreshMs: 20, clock: () => nowMs });
    await lookup.refresh();
  });
  afterEach(async () => {
    lookup.close();
    await Promise.all([redis.close(), writing.close()]);
    await server.stop();
  });

  const namesOf = (fallback: Fallback) => [`doubled_${fallback}`, `next_${fallback}`];
  /** Value and status of both features of a view. */
  async function ask(fallback: Fallback, id = "a", more: Partial<FeatureRequest> = {}) {
    const request = { features: namesOf(fallback), entities: [{ id }], ...more };
    const { results } = await lookup.answer(request);
    return results.flatMap(({ features, statuses }) =>
      namesOf(fallback).map((name) => [features[name], statuses[name]]),
    );
  }
  const present = [
    [40, "PRESENT"],
    [21, "PRESENT"],
  ];
  const labelled = (status: string, first: number | null, second: number | null) => [
    [first, status],
    [second, status],
  ];

  it("is the value, while the row is young enough and the store answers", async () => {
    for (const fallback of fallbacks) assert.deepEqual(await ask(fallback), present);
  });

  it("follows the view beyond its TTL", async () => {
    nowMs = filledMs + 60_001;
    assert.deepEqual(await ask("null"), labelled("OUTSIDE_MAX_AGE", null, null));
    assert.deepEqual(await ask("default"), labelled("OUTSIDE_MAX_AGE", -1, null));
    assert.deepEqual(await ask("last"), labelled("STALE", 40, 21));
    await assert.rejects(ask("error"), {
      code: "VALUE_OUTDATED",
      message:
        'entities[0]: its row of view "view_error" is of 2026-03-02T00:00:00Z, which is older than may be served. Materialize the view, or allow a greater age.',
    });
  });

  it("follows the view beyond the request's max_age, which never widens the TTL", async () => {
    nowMs = filledMs + 10_000;
    assert.deepEqual(await ask("null", "a", { max_age: 10 }), present);
    assert.deepEqual(
      await ask("null", "a", { max_age: 9.9 }),
      labelled("OUTSIDE_MAX_AGE", null, null),
    );
    const ofAnother = { max_age: { view_last: 1 } };
    assert.deepEqual(await ask("null", "a", ofAnother), present);
    assert.deepEqual(await ask("last", "a", ofAnother), labelled("STALE", 40, 21));
    nowMs = filledMs + 60_001;
    assert.deepEqual(
      await ask("null", "a", { max_age: 100 }),
      labelled("OUTSIDE_MAX_AGE", null, null),
    );
    await assert.rejects(ask("null", "a", { max_age: { view_nul: 1 } }), {
      code: "UNKNOWN_VIEW",
      message: /^max_age\.view_nul: .* Did you mean "view_null"\?/,
    });
  });

  it("follows the view while Redis is down, and ends once it is back", async () => {
    assert.deepEqual(await ask("last"), present);
    await server.kill();
    assert.deepEqual(await ask("null"), labelled("UNAVAILABLE", null, null));
    assert.deepEqual(await ask("default"), labelled("UNAVAILABLE", -1, null));
    assert.deepEqual(await ask("last"), labelled("STALE", 40, 21));
    // Nobody asked for it while the store was up.
    assert.deepEqual(await ask("last", "b"), labelled("UNAVAILABLE", -1, null));
    await assert.rejects(ask("error"), { code: "STORE_UNAVAILABLE" });
    await assert.rejects(
      lookup.answer({ features: ["next_null", "next_error"], entities: [{ id: "a" }] }),
      { code: "STORE_UNAVAILABLE" },
    );
    // What was read last is still subject to the TTL, here with the same fallback.
    nowMs = filledMs + 60_001;
    assert.deepEqual(await ask("last"), labelled("STALE", 40, 21));
    nowMs = filledMs;

    const again = await startRedis({ port: server.port });
    try {
      // An empty store is no store of unknown entities.
      await until("the loss is seen", async () =>
        /emptied/.test((await lookup.ready()).reason ?? ""),
      );
      assert.deepEqual(await ask("null"), labelled("UNAVAILABLE", null, null));
      assert.deepEqual(await ask("last"), labelled("STALE", 40, 21));
      await assert.rejects(ask("error"), { code: "STORE_LOST" });
    } finally {
      await again.stop();
    }
  });

  it("is UNAVAILABLE, and not NOT_FOUND, in a process that begins while Redis is down", async () => {
    await server.kill();
    const [own, late] = [connectRedis(server.url, "serving"), lookup];
    lookup = createLookup({ catalogue, redis: own, prefix, refreshMs: 1e9 });
    try {
      assert.deepEqual(await ask("null"), labelled("UNAVAILABLE", null, null));
      assert.deepEqual(await ask("last"), labelled("UNAVAILABLE", -1, null));
      await assert.rejects(ask("error"), { code: "STORE_UNAVAILABLE" });
    } finally {
      late.close();
      await own.close();
    }
  });

  it("is NOT_FOUND, with the default, of an entity that is not there", async () => {
    for (const fallback of fallbacks)
      assert.deepEqual(await ask(fallback, "b"), labelled("NOT_FOUND", -1, null));
  });

  it("answers for a fingerprint, or says which there is", async () => {
    const asked = { features: ["next_null"], entities: [{ id: "a" }] };
    const { fingerprint } = await lookup.answer(asked);
    assert.equal((await lookup.answer({ ...asked, fingerprint })).fingerprint, fingerprint);
    await assert.rejects(lookup.answer({ ...asked, fingerprint: "0".repeat(32) }), {
      code: "FINGERPRINT_MISMATCH",
      details: { fingerprint, wanted: "0".repeat(32) },
    });
  });
});

describe("the last rows", () => {
  const namespace = { view: "v", fingerprint: "f", buckets: 16, epoch: "0".repeat(16) };
  const row = (text: string) => Buffer.from(text.padEnd(1000));
  const [a, b, c] = ["a", "b", "c"].map((key) => Buffer.from(key)) as [Buffer, Buffer, Buffer];

  it("stay within their bytes; those that were not read again for longest go", () => {
    const last = createLastRows(3000);
    last.keep(namespace, [a, b], [row("1"), row("2")]);
    last.keep(namespace, [a], [row("3")]);
    last.keep(namespace, [c], [row("4")]);
    assert.deepEqual(last.find(namespace, [a, b, c]), [row("3"), null, row("4")]);
  });

  it("forget a row that is gone, and know none of another epoch", () => {
    const last = createLastRows();
    last.keep(namespace, [a, b], [row("1"), row("2")]);
    last.keep(namespace, [a], [null]);
    assert.deepEqual(last.find(namespace, [a, b]), [null, row("2")]);
    assert.deepEqual(last.find({ ...namespace, epoch: "1".repeat(16) }, [b]), [null]);
  });
});
