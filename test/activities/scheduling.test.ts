import assert from "node:assert/strict";
import { createScheduling } from "../../activities/scheduling.ts";
import { buildCatalogue, viewNamed } from "../../engine/catalogue.ts";
import { entity, featureView, float64, source, string, timestamp } from "../../engine/index.ts";
import { interval } from "../../engine/calendar/interval.ts";
import type { ScheduleOptions } from "../../engine/calendar/schedule.ts";
import { createLedger, type Ledger } from "../../store/ledger.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import { type TestRedis, testRedis } from "../support/redis/server.ts";
import type { RedisConnection } from "../../store/redis/types.ts";

/** A daily view from 2026-01-01, two hours after midnight. */
function catalogueOf(options: Partial<ScheduleOptions>, allowedLateness = "0 s") {
  const things = source("things", {
    files: "things/{date}.csv",
    entity: entity("thing", { key: "id" }),
    eventTime: "at",
    columns: { id: string, at: timestamp, x: float64 },
    allowedLateness,
  });
  return buildCatalogue({
    things: {
      things,
      things_view: featureView("things", {
        source: things,
        stores: [things.columns.x],
        schedule: { every: "1 day", start: "2026-01-01", offset: "2 hours", ...options },
      }),
    },
  });
}

describe("The plan of a schedule's slot", () => {
  let server: TestRedis;
  let redis: RedisConnection;
  let ledger: Ledger;
  before(async () => {
    server = await testRedis();
    redis = connectRedis(server.url, "writing");
  });
  after(async () => {
    await redis.close();
    await server.stop();
  });
  let counter = 0;
  beforeEach(() => {
    ledger = createLedger(redis, { prefix: `${server.prefix}-${counter++}` });
  });

  const catalogue = catalogueOf({ allowedLateness: 2 });

  async function commit(date: number, by = catalogue) {
    const { fingerprint } = viewNamed(by, "things");
    const run = {
      view: "things",
      fingerprint,
      interval: interval(`2026-01-0${date}`, `2026-01-0${date + 1}`),
      runId: `run-${date}`,
    };
    const generation = await ledger.beginRun(run, 0);
    const { revision } = await ledger.readLedger("things", fingerprint);
    await ledger.commitRun({
      ...run,
      generation,
      expectedRevision: revision,
      coverage: { rows: 1 },
      states: {},
    });
  }

  /** Days of the runs, those that are computed again marked. */
  async function planned(at: string, now: string, from = catalogue) {
    const { planSlot } = createScheduling({ catalogue: from, ledger, redis });
    const { fingerprint, definition } = viewNamed(from, "things");
    const { runs } = await planSlot({ view: "things", fingerprint, definition }, at, now);
    return runs.map(({ start, reprocess }) => `${start.slice(8, 10)}${reprocess ? " again" : ""}`);
  }

  it("takes the newest interval, and the last two before it again for late rows", async () => {
    for (const date of [1, 2, 3, 4]) await commit(date);
    const slot = "2026-01-06T02:00:00Z";
    assert.deepEqual(await planned(slot, slot), ["03 again", "04 again", "05"]);
    await commit(5);
    assert.deepEqual(await planned(slot, slot), ["03 again", "04 again"]);
  });

  it("takes what is missing before it without computing anything again", async () => {
    await commit(3);
    const slot = "2026-01-05T02:00:00Z";
    assert.deepEqual(await planned(slot, slot), ["02", "03 again", "04"]);
  });

  it("has no late intervals before the start of the schedule", async () => {
    assert.deepEqual(await planned("2026-01-02T02:00:00Z", "2026-01-02T02:00:00Z"), ["01"]);
    assert.deepEqual(await planned("2026-01-01T02:00:00Z", "2026-01-01T02:00:00Z"), []);
  });

  it("takes the interval alone in a backfill of old slots, and for a trigger off the grid", async () => {
    for (const date of [1, 2, 3]) await commit(date);
    assert.deepEqual(await planned("2026-01-05T02:00:00Z", "2026-02-01T00:00:00Z"), ["04"]);
    assert.deepEqual(await planned("2026-01-05T13:37:00Z", "2026-01-05T13:37:00Z"), ["04"]);
    assert.deepEqual(await planned("2026-01-05T01:59:59Z", "2026-01-05T01:59:59Z"), []);
  });

  it("takes again what the files of its interval may hold rows of, by the source", async () => {
    const slot = "2026-01-06T02:00:00Z";
    for (const [lateness, days] of [
      ["1 s", ["04 again", "05"]],
      ["1 day", ["04 again", "05"]],
      ["25 hours", ["03 again", "04 again", "05"]],
      ["30 days", ["01 again", "02 again", "03 again", "04 again", "05"]],
    ] as const) {
      const late = catalogueOf({}, lateness);
      for (const date of [1, 2, 3, 4]) await commit(date, late);
      assert.deepEqual(await planned(slot, slot, late), days, lateness);
    }
  });

  it("takes no more again than the schedule itself says", async () => {
    const slot = "2026-01-06T02:00:00Z";
    const none = catalogueOf({ allowedLateness: 0 }, "2 days");
    for (const date of [1, 2, 3, 4]) await commit(date, none);
    assert.deepEqual(await planned(slot, slot, none), ["05"]);
  });

  it("takes nothing again without allowedLateness", async () => {
    const plain = catalogueOf({});
    for (const date of [1, 2, 3]) await commit(date);
    const slot = "2026-01-05T02:00:00Z";
    assert.deepEqual(await planned(slot, slot, plain), ["04"]);
  });
});
