import assert from "node:assert/strict";
import { Redis } from "ioredis";
import { formatTimestamp } from "../../engine/wire.ts";
import type { FeatureRequest } from "../../serving/request.ts";
import type { Lookup } from "../../serving/lookup.ts";
import { createLookup } from "../../serving/lookup.ts";
import { bucketOf, encodeEntityKey } from "../../store/rows/entity-key.ts";
import { createKeys } from "../../store/keys.ts";
import { createRowCodec } from "../../store/rows/codec.ts";
import { encodeRow } from "../support/redis/encode-row.ts";
import { versionBytes } from "../../store/rows/version.ts";
import type { ExampleStore } from "../support/http/example-store.ts";
import { badgeTimeUs, fillExampleStore } from "../support/http/example-store.ts";
import { counted } from "../support/redis/counted.ts";

describe("lookup over the example", () => {
  let example: ExampleStore;
  let lookup: Lookup;
  /** Round trips since the last call of `countTrips`. */
  let trips = 0;
  let nowMs = badgeTimeUs / 1000;
  before(async () => {
    example = await fillExampleStore();
    lookup = createLookup({
      catalogue: example.catalogue,
      redis: counted(example.serving, () => trips++),
      prefix: example.redis.prefix,
      clock: () => nowMs,
      refreshMs: 1e9,
    });
    await lookup.refresh();
  });
  after(async () => {
    lookup.close();
    await example.stop();
  });
  beforeEach(() => {
    trips = 0;
    nowMs = badgeTimeUs / 1000;
  });

  const fingerprintOf = (service: string) => example.catalogue.services.get(service)?.fingerprint;
  const endOfAbsences = "2026-03-02T00:00:00Z";
  const onlyRow = async (request: FeatureRequest) => {
    const { results } = await lookup.answer(request);
    assert.equal(results.length, 1);
    return results[0]!;
  };

  it("answers a service for an entity from its stored row and the latest snapshot", async () => {
    assert.deepEqual(await lookup.answer({ service: "model_x", entities: [{ id: "11" }] }), {
      service: "model_x",
      fingerprint: fingerprintOf("model_x"),
      snapshot: { absences: example.snapshots.absences },
      as_of: { absences: "2026-03-02T00:00:00.000Z" },
      results: [
        {
          entity: { id: "11" },
          features: {
            is_summer: 0,
            has_pet: 1,
            has_children: 1,
            day_of_the_week_2: 0,
            day_of_the_week_3: 1,
            day_of_the_week_4: 0,
            day_of_the_week_5: 0,
            day_of_the_week_6: 0,
            age_zero_mean_unit_variance: -0.5,
          },
          statuses: Object.fromEntries(modelX.map((name) => [name, "PRESENT"])),
          event_times: Object.fromEntries(modelX.map((name) => [name, endOfAbsences])),
          // The rows of badges are of half past nine that evening, as the clock says.
          ages: Object.fromEntries(modelX.map((name) => [name, 77_400])),
        },
      ],
    });
    assert.equal(trips, 1);
  });
  const modelX = [
    "is_summer",
    "has_pet",
    "has_children",
    ...[2, 3, 4, 5, 6].map((day) => `day_of_the_week_${day}`),
    "age_zero_mean_unit_variance",
  ];

  it("keeps the order of a service in every record", async () => {
    const row = await onlyRow({ service: "model_x", entities: [{ id: "11" }] });
    for (const record of [row.features, row.statuses, row.event_times, row.ages])
      assert.deepEqual(Object.keys(record), modelX);
  });

  it("answers from the request's inputs alone without a round trip", async () => {
    const inputs = { age: 43.0, son: 0, pet: 2, month_of_absence: 12, day_of_the_week: 6 };
    const row = await onlyRow({ service: "model_x", inputs });
    assert.equal(row.entity, undefined);
    assert.equal(row.features["age_zero_mean_unit_variance"], 6.5 / 7);
    assert.equal(row.features["is_summer"], 1);
    assert.equal(row.event_times["is_summer"], null);
    assert.equal(trips, 0);
  });

  it("takes each row's own mixture of inputs and stored columns", async () => {
    const { results } = await lookup.answer({
      features: ["age_zero_mean", "has_children"],
      entities: [{ id: "11" }, { id: "11" }, { id: "nobody" }, { id: "11" }],
      inputs: [{}, { age: 40 }, { son: 1, age: 1 }, { "absences.age": 41, son: 0 }],
    });
    assert.deepEqual(
      results.map(({ features, statuses, event_times }) => [
        Object.values(features),
        Object.values(statuses),
        Object.values(event_times),
      ]),
      [
        [
          [-3.5, 1],
          ["PRESENT", "PRESENT"],
          [endOfAbsences, endOfAbsences],
        ],
        [
          [3.5, 1],
          ["PRESENT", "PRESENT"],
          [null, endOfAbsences],
        ],
        [
          [-35.5, 1],
          ["PRESENT", "PRESENT"],
          [null, null],
        ],
        [
          [4.5, 0],
          ["PRESENT", "PRESENT"],
          [null, null],
        ],
      ],
    );
    assert.equal(trips, 1);
  });

  it("answers rows that carry the same members in another order each from its own", async () => {
    const { results } = await lookup.answer({
      features: ["age_zero_mean", "has_children", "has_pet"],
      entities: [{ id: "11" }, { id: "__proto__" }],
      inputs: [
        { age: 40, pet: 0 },
        { pet: 3, age: 30 },
      ],
    });
    assert.deepEqual(
      results.map(({ features }) => Object.values(features)),
      [
        [3.5, 1, 0],
        [-6.5, 0, 1],
      ],
    );
  });

  it("shares one object of inputs among all entities", async () => {
    const { results } = await lookup.answer({
      features: ["is_summer", "has_children"],
      entities: [{ id: "11" }, { id: "__proto__" }],
      inputs: { month_of_absence: 1 },
    });
    assert.deepEqual(
      results.map(({ features }) => features),
      [
        { is_summer: 1, has_children: 1 },
        { is_summer: 1, has_children: 0 },
      ],
    );
  });

  it("takes ids that are names of JavaScript's own as ordinary values", async () => {
    const { results } = await lookup.answer({
      features: ["age_zero_mean"],
      entities: [{ id: "__proto__" }, { id: "constructor" }, { id: 11 }],
    });
    assert.deepEqual(
      results.map(({ entity, features, statuses }) => [
        entity?.["id"],
        features["age_zero_mean"],
        statuses["age_zero_mean"],
      ]),
      [
        ["__proto__", -16.5, "PRESENT"],
        ["constructor", null, "NOT_FOUND"],
        ["11", -3.5, "PRESENT"],
      ],
    );
  });

  it("reads every view and entity of a request in one round trip", async () => {
    const { results } = await lookup.answer({
      features: ["age_zero_mean", "long_stay", "left_late", "badges.minutes_inside"],
      entities: ["11", "12", "__proto__", "x", "y"].map((id) => ({ id })),
    });
    assert.equal(trips, 1);
    assert.deepEqual(
      results.map(({ statuses }) => Object.values(statuses).join(" ")),
      [
        "PRESENT PRESENT PRESENT PRESENT",
        "NOT_FOUND OUTSIDE_MAX_AGE OUTSIDE_MAX_AGE OUTSIDE_MAX_AGE",
        "PRESENT NOT_FOUND NOT_FOUND NOT_FOUND",
        "NOT_FOUND NOT_FOUND NOT_FOUND NOT_FOUND",
        "NOT_FOUND NOT_FOUND NOT_FOUND NOT_FOUND",
      ],
    );
  });

  it("names in `snapshot` exactly the views whose aggregates are used", async () => {
    const ask = async (...features: string[]) =>
      (await lookup.answer({ features, entities: [{ id: "11" }] })).snapshot;
    assert.deepEqual(await ask("has_children", "left_late"), {});
    assert.deepEqual(await ask("long_stay"), { badges: example.snapshots.badges });
    assert.deepEqual(await ask("age_mean", "long_stay"), example.snapshots);
  });

  it("answers an aggregate without any row", async () => {
    const row = await onlyRow({ features: ["age_mean", "badge_events"] });
    assert.deepEqual(row.features, { age_mean: 36.5, badge_events: 10 });
    assert.deepEqual(row.event_times, { age_mean: null, badge_events: null });
  });

  it("serves a row up to its TTL and not a microsecond past it", async () => {
    const ask = () => onlyRow({ service: "presence", entities: [{ id: "11" }] });
    nowMs = badgeTimeUs / 1000 + 7 * 86_400_000;
    assert.equal((await ask()).statuses["long_stay"], "PRESENT");
    nowMs += 0.001;
    assert.deepEqual(await ask(), {
      entity: { id: "11" },
      features: { long_stay: null, left_late: null, minutes_inside: null },
      statuses: {
        long_stay: "OUTSIDE_MAX_AGE",
        left_late: "OUTSIDE_MAX_AGE",
        minutes_inside: "OUTSIDE_MAX_AGE",
      },
      event_times: {
        long_stay: "2026-03-02T21:30:00Z",
        left_late: "2026-03-02T21:30:00Z",
        minutes_inside: "2026-03-02T21:30:00Z",
      },
      ages: { long_stay: 604_800, left_late: 604_800, minutes_inside: 604_800 },
    });
  });

  it("says NULL_VALUE, with the row's event time, where a stored value is null", async () => {
    nowMs = badgeTimeUs / 1000 - 2 * 86_400_000;
    const row = await onlyRow({ service: "presence", entities: [{ id: "12" }] });
    assert.deepEqual(row.features, { long_stay: null, left_late: 0, minutes_inside: null });
    assert.deepEqual(Object.values(row.statuses), ["NULL_VALUE", "PRESENT", "NULL_VALUE"]);
    assert.equal(row.event_times["long_stay"], "2026-02-22T21:30:00Z");
  });

  it("puts violated expectations beside the value and counts them", async () => {
    const before = lookup.counters.violations.get("age_zero_mean_unit_variance") ?? 0;
    const { results } = await lookup.answer({
      features: ["age_zero_mean_unit_variance", "is_summer"],
      inputs: [
        { age: 100, month_of_absence: 3 },
        { age: 36, month_of_absence: 3 },
      ],
    });
    assert.equal(results[0]!.features["age_zero_mean_unit_variance"], 63.5 / 7);
    assert.deepEqual(results[0]!.violations, { age_zero_mean_unit_variance: ["between(-4, 4)"] });
    assert.equal("violations" in results[1]!, false);
    assert.equal(lookup.counters.violations.get("age_zero_mean_unit_variance"), before + 1);
  });

  it("answers a list with any view's columns by the name that was asked", async () => {
    const row = await onlyRow({
      features: ["badges.left_at", "badges.id", "absences.work_load_average_per_day"],
      entities: [{ id: "11" }],
    });
    assert.deepEqual(row.features, {
      "badges.left_at": formatTimestamp(badgeTimeUs),
      "badges.id": "11",
      "absences.work_load_average_per_day": 239.554,
    });
    assert.deepEqual(Object.values(row.event_times), [
      formatTimestamp(badgeTimeUs),
      null,
      endOfAbsences,
    ]);
  });

  it("ignores columns that no output needs, and does not look at their values", async () => {
    const row = await onlyRow({
      features: ["is_summer"],
      inputs: { month_of_absence: 1, weight: "not a number", id: null },
    });
    assert.deepEqual(row.features, { is_summer: 1 });
  });

  it("gives an empty answer for no rows", async () => {
    const { results, snapshot } = await lookup.answer({ service: "model_x", entities: [] });
    assert.deepEqual(results, []);
    assert.deepEqual(snapshot, { absences: example.snapshots.absences });
    assert.equal(trips, 0);
  });

  it("answers alike with closures and with generated code", async () => {
    const others = (["closures", "generated"] as const).map((form) =>
      createLookup({
        catalogue: example.catalogue,
        redis: example.serving,
        prefix: example.redis.prefix,
        clock: () => nowMs,
        form,
      }),
    );
    const request = {
      service: "absenteeism_training",
      entities: [{ id: "11" }, { id: "none" }, { id: "__proto__" }],
      inputs: [{ age: 99 }, { son: 1 }, {}],
    };
    const expected = await lookup.answer(request);
    for (const other of others) {
      assert.deepEqual(await other.answer(request), expected);
      other.close();
    }
  });

  it("decodes no column after the last that is needed", async () => {
    // A row that is cut off behind its first two columns, by name: hours and age.
    const { absences, redis } = example;
    const client = new Redis(redis.url, { protocol: 2 });
    try {
      const key = encodeEntityKey(["cut"]);
      const bucketKey = (entityKey: Buffer) => {
        const bucket = bucketOf(entityKey, 4);
        return createKeys(redis.prefix).bucket("absences", absences.fingerprint, bucket, bucket);
      };
      const bucket = bucketKey(key);
      const donor = encodeEntityKey(["11"]);
      const donorBucket = bucketKey(donor);
      const whole = (await client.hgetBuffer(donorBucket, donor))!;
      // Format, nulls, then hours and age as one byte each.
      const size = versionBytes + 1 + Math.ceil(absences.stores.length / 8) + 2;
      await client.hset(bucket, key, whole.subarray(0, size));
      const ask = (feature: string) => onlyRow({ features: [feature], entities: [{ id: "cut" }] });
      assert.equal((await ask("absences.age")).features["absences.age"], 33);
      assert.equal((await ask("age_zero_mean")).features["age_zero_mean"], -3.5);
      await assert.rejects(ask("absences.body_mass_index"), { code: "STORE_LOST" });
    } finally {
      await client.quit();
    }
  });

  it("explains where each output comes from, what is decoded and how many bytes it cost", async () => {
    const explanation = await lookup.explain({
      features: ["age_zero_mean", "has_children", "is_summer", "age_mean"],
      entities: [{ id: "11" }],
      inputs: { month_of_absence: 1 },
    });
    assert.equal(explanation.rows, 1);
    assert.deepEqual(explanation.snapshot, { absences: example.snapshots.absences });
    const size = rowSize();
    assert.equal(explanation.bytes, size);
    const [binding] = explanation.bindings;
    assert.deepEqual(binding?.reads, [
      { view: "absences", columns: ["age", "has_children"], stores: 22, eventTime: false },
    ]);
    assert.deepEqual(
      binding.outputs.map(({ name, how, request, stored, aggregates }) => ({
        name,
        how,
        request,
        stored,
        aggregates,
      })),
      [
        {
          name: "age_zero_mean",
          how: "computed",
          request: [],
          stored: ["age"],
          aggregates: ["mean(age)"],
        },
        {
          name: "has_children",
          how: "stored",
          request: [],
          stored: ["has_children"],
          aggregates: [],
        },
        {
          name: "is_summer",
          how: "computed",
          request: ["absences.month_of_absence"],
          stored: [],
          aggregates: [],
        },
        { name: "age_mean", how: "aggregate", request: [], stored: [], aggregates: ["mean(age)"] },
      ],
    );
  });
  const rowSize = () => {
    // The version and the encoded row, as it was written.
    const { absences } = example;
    const values = [
      4, 33, 30, 3, 0, 36, 1, 1, 1, 172, 97, 7, 1, 26, 1, 13, 1, 0, 2, 289, 90, 239.554,
    ];
    return versionBytes + encodeRow(createRowCodec(absences.stores), values).length;
  };
});
