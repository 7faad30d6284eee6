import assert from "node:assert/strict";
import type { Lookup } from "../../serving/lookup.ts";
import { createLookup } from "../../serving/lookup.ts";
import type { ExampleStore } from "../support/http/example-store.ts";
import { aggregateValues, fillExampleStore } from "../support/http/example-store.ts";
import { fillView } from "../support/redis/fill.ts";
import { counted } from "../support/redis/counted.ts";

describe("lookup after a newer snapshot", () => {
  let example: ExampleStore;
  let lookup: Lookup;
  let newer: string;
  let trips = 0;
  beforeEach(async () => {
    example = await fillExampleStore();
    const { catalogue, serving, redis } = example;
    lookup = createLookup({
      catalogue,
      redis: counted(serving, () => trips++),
      prefix: redis.prefix,
      refreshMs: 1e9,
    });
    await lookup.refresh();
    newer = await fillView(example.writing, example.absences, {
      prefix: redis.prefix,
      start: "2026-03-02",
      end: "2026-03-03",
      // A full refresh without the employee `__proto__`.
      rows: [{ key: ["11"], values: { age: 34, son: 0, has_children: 0 } }],
      aggregates: aggregateValues(example.absences, { mean: 30, std: 2 }),
    });
  });
  afterEach(async () => {
    lookup.close();
    await example.stop();
  });

  it("keeps to the pointers it has until they are refreshed", async () => {
    const meanOf = async () => (await lookup.answer({ features: ["age_mean"] })).results[0];
    assert.deepEqual((await meanOf())?.features, { age_mean: 36.5 });
    await lookup.refresh();
    assert.deepEqual((await meanOf())?.features, { age_mean: 30 });
  });

  it("answers from a pinned snapshot, and reads it once", async () => {
    await lookup.refresh();
    const request = {
      features: ["age_mean", "age_zero_mean"],
      inputs: { age: 40 },
      snapshots: { absences: example.snapshots.absences },
    };
    trips = 0;
    const answer = await lookup.answer(request);
    assert.deepEqual(answer.results[0]!.features, { age_mean: 36.5, age_zero_mean: 3.5 });
    assert.deepEqual(answer.snapshot, { absences: example.snapshots.absences });
    assert.notEqual(answer.snapshot["absences"], newer);
    await lookup.answer(request);
    assert.equal(trips, 1);
  });

  it("names in `uncovered` the views of which an interval is missing", async () => {
    const fillBadges = async (end: string, covered: boolean) => {
      const options = { prefix: example.redis.prefix, start: "2026-03-04", end, rows: [] };
      await fillView(example.writing, example.badges, { ...options, published: { covered } });
      await lookup.refresh();
    };
    const request = { features: ["has_children", "badges.door"], entities: [{ id: "11" }] };
    await fillBadges("2026-03-05", false);
    const { as_of, uncovered } = await lookup.answer(request);
    assert.deepEqual(uncovered, ["badges"]);
    assert.deepEqual(as_of, {
      absences: "2026-03-03T00:00:00.000Z",
      badges: "2026-03-05T00:00:00.000Z",
    });
    await fillBadges("2026-03-06", true);
    const whole = await lookup.answer(request);
    assert.equal("uncovered" in whole, false);
    assert.equal(whole.as_of["badges"], "2026-03-06T00:00:00.000Z");
  });

  it("holds an entity absent that the newest full refresh does not contain", async () => {
    await lookup.refresh();
    const { results } = await lookup.answer({
      features: ["has_children"],
      entities: [{ id: "__proto__" }, { id: "11" }],
    });
    assert.deepEqual(
      results.map(({ statuses }) => statuses["has_children"]),
      ["NOT_FOUND", "PRESENT"],
    );
  });
});
