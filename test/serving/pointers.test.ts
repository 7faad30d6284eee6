import assert from "node:assert/strict";
import { createPointerCache, type RefreshCounters } from "../../serving/pointers.ts";
import { createLedger } from "../../store/ledger.ts";
import type { ExampleStore } from "../support/http/example-store.ts";
import { fillExampleStore } from "../support/http/example-store.ts";
import { fillView } from "../support/redis/fill.ts";

describe("what is current in the store", () => {
  let example: ExampleStore;
  before(async () => {
    example = await fillExampleStore();
  });
  after(() => example.stop());

  it("is read twice at most by many who ask at once, and is no older than they ask", async () => {
    const { catalogue, badges, serving, writing, redis } = example;
    const { prefix } = redis;
    const counters: RefreshCounters = {
      refreshes: 0,
      failedRefreshes: 0,
      lastRefreshError: null,
      refreshedMs: null,
    };
    const pointers = createPointerCache({
      catalogue,
      redis: serving,
      ledger: createLedger(serving, { prefix }),
      refreshMs: 1e9,
      counters,
    });
    const early = pointers.refresh();
    const committed = fillView(writing, badges, {
      prefix,
      start: "2026-03-03",
      end: "2026-03-04",
      rows: [],
    });
    await committed;
    await early;
    const sets = await Promise.all(Array.from({ length: 100 }, () => pointers.refresh()));
    assert.ok(counters.refreshes <= 3, `${counters.refreshes} reads`);
    for (const { views } of sets)
      assert.equal(views.get(badges)?.published?.endMs, Date.parse("2026-03-04"));
    pointers.close();
  });
});
