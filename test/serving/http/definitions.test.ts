import assert from "node:assert/strict";
import type { View } from "../../../engine/catalogue.ts";
import { buildCatalogue, viewNamed } from "../../../engine/catalogue.ts";
import type { Value } from "../../../engine/language/dtypes.ts";
import {
  bool,
  entity,
  featureService,
  featureView,
  float64,
  int64,
  listFloat64,
  map,
  max,
  nullable,
  source,
  string,
  timestamp,
} from "../../../engine/index.ts";
import { messageOf } from "../../../engine/errors.ts";
import type { Lookup } from "../../../serving/lookup.ts";
import { createLookup } from "../../../serving/lookup.ts";
import type { FailureFacts } from "../../../serving/observer.ts";
import { connectRedis } from "../../../store/redis/connection.ts";
import { aggregateValues } from "../../support/http/example-store.ts";
import { fillView } from "../../support/redis/fill.ts";
import type { TestRedis } from "../../support/redis/server.ts";
import { testRedis } from "../../support/redis/server.ts";
import type { RedisConnection } from "../../../store/redis/types.ts";

const flight = entity("flight", { key: ["airline", "number"] });
const flights = source("flights", {
  files: "flights.parquet",
  entity: flight,
  columns: {
    airline: string,
    number: string,
    seats: int64,
    load: float64,
    late: bool,
    note: nullable(string),
    left_at: timestamp,
    embedding: listFloat64,
  },
});
const { seats, load, late, note, left_at, embedding, airline } = flights.columns;
const seats_max = max(seats);
const seats_doubled = seats.mul(2).default(-1);
const note_length = note.length();
const is_late = late.cast(int64);
const left_hour = left_at.hour();
const is_own = airline.eq("ow").cast(int64);
const seats_below_max = seats_max.sub(seats);
/** Throws on a null, which only a missing row would give it. */
const note_class = map("note_class", { version: 3 }, { seats, load }, string, (row) => {
  if (row.seats === null) throw new Error("seats is null");
  if (Number(row.seats) < 0) throw new Error("seats is negative");
  return Number(row.seats) > 100 ? "large" : "small";
});
const flights_view = featureView("flights", {
  source: flights,
  stores: [seats, load, late, note, left_at, embedding],
});

const city = entity("city", { key: "city" });
const cities = source("cities", {
  files: "cities.parquet",
  entity: city,
  columns: { city: string, people: int64, area: float64 },
});
const { people, area } = cities.columns;
const density = people.div(area);
const cities_view = featureView("cities", { source: cities, stores: [people] });
const trip = featureService("trip", [seats_doubled, density, note_class, people]);

const catalogue = buildCatalogue({
  flights: {
    seats_max,
    seats_doubled,
    note_length,
    is_late,
    left_hour,
    is_own,
    seats_below_max,
    note_class,
    flights_view,
  },
  cities: { density, cities_view, trip },
});
const end = "2026-03-02";
const endTime = "2026-03-02T00:00:00Z";

describe("lookup over awkward definitions", () => {
  let redis: TestRedis;
  let connection: RedisConnection;
  let lookup: Lookup;
  const failures: FailureFacts[] = [];
  before(async () => {
    redis = await testRedis();
    connection = connectRedis(redis.url, "writing");
    const fill = (
      view: View,
      rows: Parameters<typeof fillView>[2]["rows"],
      aggregates?: Record<string, Value>,
    ) =>
      fillView(connection, view, {
        prefix: redis.prefix,
        start: "2026-03-01",
        end,
        rows,
        aggregates: aggregateValues(view, aggregates ?? {}),
      });
    await fill(
      viewNamed(catalogue, "flights"),
      [
        {
          key: ["ow", "1"],
          values: {
            seats: 2n ** 53n + 1n,
            load: -0,
            late: true,
            note: null,
            embedding: [1.5, NaN],
            left_at: -1,
          },
        },
        { key: ["o", "w1"], values: { seats: 10, load: NaN, late: false, note: "é€", left_at: 1 } },
      ],
      { max: 2n ** 62n },
    );
    await fill(viewNamed(catalogue, "cities"), [{ key: ["Ulm"], values: { people: 120 } }]);
    lookup = createLookup({
      catalogue,
      redis: connection,
      prefix: redis.prefix,
      observe: { failed: (facts) => failures.push(facts) },
    });
  });
  after(async () => {
    lookup.close();
    await connection.close();
    await redis.stop();
  });

  const ow1 = { airline: "ow", number: "1" };
  const other = { airline: "o", number: "w1" };
  const answerOf = async (features: string[], entity: object, inputs?: object) => {
    const { results } = await lookup.answer({
      features,
      entities: [entity],
      ...(inputs && { inputs }),
    });
    return results[0]!;
  };

  it("spells each dtype as the table of the wire says, exactly", async () => {
    const columns = ["seats", "load", "late", "note", "left_at", "embedding"];
    const features = columns.map((name) => `flights.${name}`);
    const text = JSON.stringify((await answerOf(features, ow1)).features);
    assert.equal(
      text,
      '{"flights.seats":"9007199254740993","flights.load":"-0","flights.late":true,' +
        '"flights.note":null,"flights.left_at":"1969-12-31T23:59:59.999999Z",' +
        '"flights.embedding":[1.5,"NaN"]}',
    );
  });

  it("computes exactly beyond 2^53, from the store, a snapshot and an input in text", async () => {
    const row = await answerOf(["seats_doubled", "seats_below_max"], ow1);
    assert.deepEqual(row.features, {
      seats_doubled: "18014398509481986",
      seats_below_max: (2n ** 62n - 2n ** 53n - 1n).toString(),
    });
    const { features } = await answerOf(["seats_doubled"], ow1, { seats: "4611686018427387903" });
    assert.equal(features["seats_doubled"], "9223372036854775806");
  });

  it("tells entities apart whose keys are alike when joined", async () => {
    const row = await answerOf(["seats_doubled", "note_length", "is_own"], other);
    assert.deepEqual(row.features, { seats_doubled: 20, note_length: 2, is_own: 0 });
    assert.deepEqual(row.entity, other);
    assert.equal((await answerOf(["is_own"], ow1)).features["is_own"], 1);
  });

  it("reads a feature of the key alone from the request", async () => {
    const row = await answerOf(["is_own"], { airline: "ow" });
    assert.deepEqual([row.statuses["is_own"], row.event_times["is_own"]], ["PRESENT", null]);
  });

  it("refuses an entity that lacks a key column of a row it would read", async () => {
    await assert.rejects(answerOf(["seats_doubled"], { airline: "ow" }), {
      code: "MISSING_INPUT",
      message:
        "the request lacks inputs: seats_doubled needs seats. Send them as inputs, or send the entity (airline, number) to read its stored row.",
    });
  });

  it("serves a default beside the status where there is no row, and not for a null", async () => {
    const missing = await answerOf(["seats_doubled", "note_length"], { ...ow1, number: "?" });
    assert.deepEqual(missing.features, { seats_doubled: -1, note_length: null });
    assert.deepEqual(missing.statuses, { seats_doubled: "NOT_FOUND", note_length: "NOT_FOUND" });
    assert.equal((await answerOf(["note_length"], ow1)).statuses["note_length"], "NULL_VALUE");
  });

  it("runs no user function over a row that is missing, and answers the other outputs", async () => {
    const row = await answerOf(["note_class", "is_own", "seats_max"], { ...ow1, number: "?" });
    assert.deepEqual(row.features, {
      note_class: null,
      is_own: 1,
      seats_max: (2n ** 62n).toString(),
    });
    assert.deepEqual(row.statuses, {
      note_class: "NOT_FOUND",
      is_own: "PRESENT",
      seats_max: "PRESENT",
    });
  });

  it("says ERROR, with the map, of the values whose function threw, and of no other", async () => {
    const request = {
      features: ["note_class", "is_own"],
      inputs: [
        { seats: 1, load: 1, airline: "OW" },
        { seats: -1, load: 1, airline: "OW" },
      ],
    };
    const { results } = await lookup.answer(request);
    const message = 'map "note_class" version 3 threw: seats is negative';
    assert.deepEqual(
      results.map(({ statuses }) => statuses),
      [
        { note_class: "PRESENT", is_own: "PRESENT" },
        { note_class: "ERROR", is_own: "PRESENT" },
      ],
    );
    assert.deepEqual(
      results.map(({ features, errors }) => [features["note_class"], errors]),
      [
        [results[0]?.features["note_class"], undefined],
        [null, { note_class: message }],
      ],
    );
    assert.equal(lookup.counters.errors.get("note_class"), 1);
    const [failure, ...others] = failures;
    assert.deepEqual([failure?.feature, others], ["note_class", []]);
    assert.equal(messageOf(failure?.error), message);
    const columns = await lookup.answer({ ...request, form: "columns" });
    assert.deepEqual(columns.errors, [{ row: 1, feature: "note_class", message }]);
  });

  it("joins views of different entities, columns among them, in the order of the service", async () => {
    const { results } = await lookup.answer({
      service: "trip",
      entities: [
        { ...other, city: "Ulm" },
        { city: "Ulm", airline: "?", number: "?" },
        { ...ow1, city: "?" },
      ],
      inputs: { area: 60, load: 1 },
    });
    assert.deepEqual(
      results.map(({ features, statuses }) => [
        Object.entries(features),
        Object.values(statuses).map((status) => status === "PRESENT"),
      ]),
      [
        [
          [
            ["seats_doubled", 20],
            ["density", 2],
            ["note_class", "small"],
            ["people", 120],
          ],
          [true, true, true, true],
        ],
        [
          [
            ["seats_doubled", -1],
            ["density", 2],
            ["note_class", null],
            ["people", 120],
          ],
          [false, true, false, true],
        ],
        [
          [
            ["seats_doubled", "18014398509481986"],
            ["density", null],
            ["note_class", "large"],
            ["people", null],
          ],
          [true, false, true, false],
        ],
      ],
    );
    assert.equal(results[0]!.event_times["density"], endTime);
  });

  it("computes a value from the row and the request together, with the row's status", async () => {
    const row = await answerOf(["density"], { city: "Ulm" }, { area: 0 });
    assert.deepEqual(row.features, { density: "Infinity" });
    assert.equal(row.event_times["density"], endTime);
    assert.equal(
      (await answerOf(["density"], { city: "?" }, { area: 1 })).statuses["density"],
      "NOT_FOUND",
    );
  });

  it("takes an ambiguous column by its full name only", async () => {
    const features = ["note_class"];
    const inputs = { "flights.seats": 200, load: 0 };
    assert.deepEqual((await lookup.answer({ features, inputs })).results[0]!.features, {
      note_class: "large",
    });
  });

  it("explains where each output came from, and marks user code as opaque", async () => {
    const { bindings, bytes, rows } = await lookup.explain({
      service: "trip",
      entities: [{ ...other, city: "Ulm" }],
      inputs: { area: 60 },
    });
    assert.equal(rows, 1);
    assert.ok(bytes > 2 * 19);
    assert.deepEqual(
      bindings.map(({ reads }) => reads),
      [
        [
          { view: "flights", columns: ["seats", "load"], stores: 6, eventTime: false },
          { view: "cities", columns: ["people"], stores: 1, eventTime: false },
        ],
      ],
    );
    assert.deepEqual(
      bindings[0]?.outputs.map(({ name, how, request, stored, opaque }) => [
        name,
        how,
        { request, stored, opaque },
      ]),
      [
        ["seats_doubled", "computed", { request: [], stored: ["seats"], opaque: [] }],
        ["density", "computed", { request: ["cities.area"], stored: ["people"], opaque: [] }],
        [
          "note_class",
          "computed",
          { request: [], stored: ["seats", "load"], opaque: ["note_class version 3"] },
        ],
        ["people", "stored", { request: [], stored: ["people"], opaque: [] }],
      ],
    );
  });
});
