import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import type { FastifyInstance } from "fastify";
import { buildCatalogue } from "../engine/catalogue.ts";
import type { Source } from "../engine/language/definitions.ts";
import type { Dtype, Value } from "../engine/language/dtypes.ts";
import {
  bool,
  entity,
  featureView,
  float64,
  int64,
  listFloat64,
  max,
  min,
  nullable,
  source,
  string,
  timestamp,
  valueColumns,
} from "../engine/index.ts";
import { INT64_MAX, INT64_MIN } from "../engine/language/int64.ts";
import { timestampMax, timestampMin } from "../engine/operations/scalar.ts";
import { buildApp } from "../serving/http/app.ts";
import { createLookup, type Lookup } from "../serving/lookup.ts";
import { connectRedis } from "../store/redis/connection.ts";
import { anyValueOf, awkward } from "./support/engine/arbitrary.ts";
import { createMaterializer } from "./support/temporal/materializer.ts";
import { propertyScale, propertySeed } from "./support/property.ts";
import { type TestRedis, testRedis } from "./support/redis/server.ts";
import { temporaryFolder } from "./support/files/source-files.ts";
import { csvOf, type TableColumn, writeParquet } from "./support/files/tables.ts";
import type { RedisConnection } from "../store/redis/types.ts";

const place = entity("place", { key: ["region", "id"] });
const scalars = {
  region: string,
  id: string,
  flag: nullable(bool),
  n: nullable(int64),
  x: nullable(float64),
  note: nullable(string),
  seen: nullable(timestamp),
};
/** With an event time, which every answer shows. */
const texts = source("texts", {
  files: "texts.csv",
  entity: place,
  eventTime: "at",
  columns: { ...scalars, at: timestamp },
});
/** Without, as of the interval's end; CSV cannot hold lists. */
const binaries = source("binaries", {
  files: "binaries.parquet",
  entity: place,
  columns: { ...scalars, list: nullable(listFloat64) },
});
const catalogue = buildCatalogue({
  texts: {
    texts,
    n_max: max(texts.columns.n),
    n_min: min(texts.columns.n),
    seen_max: max(texts.columns.seen),
    seen_min: min(texts.columns.seen),
    texts_view: featureView("texts", { source: texts, stores: valueColumns(texts) }),
  },
  binaries: {
    binaries,
    binaries_view: featureView("binaries", { source: binaries, stores: valueColumns(binaries) }),
  },
});

/** Of each file. */
const rowCount = Math.max(200, Math.round(1200 * propertyScale));
const rowsPerRequest = 400;
/** Where the intervals end: none may lie ahead of the clock. */
const latest = "2026-01-01";
const latestUs = BigInt(Date.parse(latest)) * 1000n;

/** Awkward for files, keys and clients, beside those that are awkward for the engine. */
const more: Readonly<Record<Dtype, readonly Value[]>> = {
  bool: [],
  int64: [-(2n ** 53n) - 1n],
  float64: [2.225073858507201e-308, -2.225073858507201e-308, 123456789012345680000, 1e-6],
  string: [
    "{a}:{b}",
    "{",
    ",",
    '""',
    "\r",
    "\n",
    "\ufeff",
    "\ufffd",
    "\u0000\u0000",
    "\u007f",
    " a ",
  ],
  timestamp: [],
  list_float64: [[NaN], Array.from({ length: 300 }, (_, i) => i / 7)],
};

/** The first two columns are the key. */
const keyOf = ([region, id]: readonly Value[]) => ({ region, id });

/** A number literal of a JSON text: as a JavaScript number it might be another one. */
interface Literal {
  readonly number: string;
}
type ClientJson = null | boolean | string | Literal | readonly ClientJson[];

/** Reads JSON as a careful client does: numbers stay the text that was sent. */
function readJson(text: string): unknown {
  const tokens = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g;
  return JSON.parse(
    text.replace(tokens, (token) => (token.startsWith('"') ? token : `{"number":"${token}"}`)),
  ) as unknown;
}

const specials = new Map([
  ["NaN", NaN],
  ["Infinity", Infinity],
  ["-Infinity", -Infinity],
  ["-0", -0],
]);

interface ClientRow {
  readonly entity: unknown;
  readonly features: Readonly<Record<string, ClientJson>>;
  readonly statuses: Readonly<Record<string, string>>;
  readonly event_times: Readonly<Record<string, ClientJson>>;
}

/** A value by the table of the wire, integers as bigints; throws where the form is another. */
function decode(dtype: Dtype, json: ClientJson): unknown {
  if (json === null) return null;
  switch (dtype) {
    case "bool":
      assert.equal(typeof json, "boolean");
      return json;
    case "string":
      assert.equal(typeof json, "string");
      return json;
    case "int64": {
      const isText = typeof json === "string";
      const digits = isText ? json : (json as Literal).number;
      assert.match(digits, /^(0|-?[1-9]\d*)$/);
      const value = BigInt(digits);
      const isSafe = value > -(2n ** 53n) && value < 2n ** 53n;
      assert.equal(isText, !isSafe, "a number within ±(2^53 − 1), else text");
      return value;
    }
    case "float64":
      return decodeFloat(json);
    case "timestamp": {
      const form = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{3}|\d{6}))?Z$/;
      assert.ok(typeof json === "string");
      const [, second = "", fraction = ""] = form.exec(json) ?? assert.fail(json);
      return BigInt(Date.parse(`${second}Z`)) * 1000n + BigInt(fraction.padEnd(6, "0"));
    }
    case "list_float64":
      return (json as readonly ClientJson[]).map(decodeFloat);
  }
}

function decodeFloat(json: ClientJson): number {
  if (typeof json === "string") return specials.get(json) ?? assert.fail(json);
  const { number } = json as Literal;
  assert.equal(number, String(Number(number)), "the shortest text of the double");
  return Number(number);
}

/** What the client must decode. */
function expected(dtype: Dtype, value: Value): unknown {
  const isInteger = dtype === "int64" || dtype === "timestamp";
  return isInteger && value !== null ? BigInt(value as number | bigint) : value;
}

/** A time as it is, or as far before the last interval's end as it lies after 1970. */
function passed(time: Value): Value {
  const us = BigInt(time as number | bigint);
  return us < latestUs ? time : Number(latestUs - 1n - (us % 10n ** 15n));
}

/** Rows of one entity each, in the order of the columns; awkward values come first. */
function rowsOf({ types, eventTime }: Source): Value[][] {
  const columns = Object.entries(types).map(([name, { dtype, nullable: mayBeNull }], i) => {
    const random = fc.sample(anyValueOf(dtype), { numRuns: rowCount, seed: propertySeed + i });
    const known = [...more[dtype], ...awkward[dtype]];
    // Turned by some rows, so that columns of one dtype differ.
    const values = [...known.slice(i), ...known.slice(0, i), ...random];
    if (mayBeNull) return values;
    const filled = values.map((value) => value ?? (dtype === "string" ? "" : 0));
    return name === eventTime ? filled.map(passed) : filled;
  });
  const rows = Array.from({ length: rowCount }, (_, row) =>
    columns.map((values) => values[row] ?? null),
  );
  return [...new Map(rows.map((row) => [JSON.stringify(keyOf(row)), row])).values()];
}

function tableOf(from: Source): TableColumn[] {
  const rows = rowsOf(from);
  return Object.entries(from.types).map(([name, { dtype }], i) => ({
    name,
    dtype,
    values: rows.map((row) => row[i] ?? null),
  }));
}

describe("A value that goes from a file to a client", function () {
  this.timeout(60_000 * Math.max(1, propertyScale));
  const { folder, remove } = temporaryFolder();
  let redis: TestRedis;
  let connection: RedisConnection;
  let lookup: Lookup;
  let app: FastifyInstance;
  before(async () => {
    redis = await testRedis();
    connection = connectRedis(redis.url, "writing");
    lookup = createLookup({ catalogue, redis: connection, prefix: redis.prefix });
    app = buildApp({ catalogue, lookup, load: { deadlineMs: 60_000 } });
    await writeFile(join(folder, "texts.csv"), csvOf(tableOf(texts)));
    await writeParquet(join(folder, "binaries.parquet"), tableOf(binaries), 100);
    const { materialize } = createMaterializer({
      catalogue,
      redis: connection,
      prefix: redis.prefix,
      dataDir: folder,
      offlineDir: join(folder, "offline"),
    });
    await materialize("texts", "0001-01-01", latest);
    await materialize("binaries", "0001-01-01", "2026-01-01");
    await lookup.refresh();
  });
  after(async () => {
    await app.close();
    lookup.close();
    await connection.close();
    await redis.stop();
    remove();
  });

  async function post(request: object): Promise<Record<string, unknown>> {
    const response = await app.inject({
      method: "POST",
      url: "/v1/features",
      payload: JSON.stringify(request),
      headers: { "content-type": "application/json" },
    });
    assert.equal(response.statusCode, 200, response.body.slice(0, 500));
    return readJson(response.body) as Record<string, unknown>;
  }

  /** Asks for all that the view of a source stores; gives one line per value that is not what went in. */
  async function compare(from: Source, end: string) {
    const rows = rowsOf(from);
    const columns = Object.entries(from.types).map(([name, { dtype }], at) => ({
      name,
      dtype,
      at,
    }));
    const asked = columns.filter(
      ({ name }) => !from.entity.keys.includes(name) && name !== from.eventTime,
    );
    const timeAt = columns.find(({ name }) => name === from.eventTime)?.at;
    const endUs = BigInt(Date.parse(end)) * 1000n;
    const differences: string[] = [];
    for (let first = 0; first < rows.length; first += rowsPerRequest) {
      const some = rows.slice(first, first + rowsPerRequest);
      const { results } = await post({
        features: asked.map(({ name }) => `${from.name}.${name}`),
        entities: some.map(keyOf),
      });
      for (const [i, row] of some.entries()) {
        const answer = (results as readonly ClientRow[])[i] as ClientRow;
        assert.deepEqual(answer.entity, keyOf(row));
        const eventTime = timeAt === undefined ? endUs : BigInt(row[timeAt] as number | bigint);
        // The interval is half-open.
        const isThere = timeAt === undefined || eventTime < endUs;
        for (const { name, dtype, at } of asked) {
          const feature = `${from.name}.${name}`;
          const value = isThere ? (row[at] ?? null) : null;
          const wanted = {
            value: expected(dtype, value),
            status: value !== null ? "PRESENT" : isThere ? "NULL_VALUE" : "NOT_FOUND",
            eventTime: isThere ? eventTime : null,
          };
          try {
            const found = {
              value: decode(dtype, answer.features[feature] ?? null),
              status: answer.statuses[feature],
              eventTime: decode("timestamp", answer.event_times[feature] ?? null),
            };
            assert.deepStrictEqual(found, wanted);
          } catch (error) {
            differences.push(`${feature} of ${JSON.stringify(keyOf(row))}: ${String(error)}`);
          }
        }
      }
    }
    return { values: rows.length * asked.length, differences };
  }

  it("is exact, of every dtype and for every entity, in CSV and in parquet", async () => {
    const compared = [await compare(texts, latest), await compare(binaries, "2026-01-01")];
    const differences = compared.flatMap((each) => each.differences);
    assert.equal(
      differences.length,
      0,
      `PROPERTY_SEED=${propertySeed}: ${differences.length} differ\n${differences.slice(0, 5).join("\n")}`,
    );
    const values = compared.reduce((sum, each) => sum + each.values, 0);
    assert.ok(values >= 10_000 * Math.min(1, propertyScale), `only ${values} values`);
  });

  it("is exact as the greatest and the least of an aggregate", async () => {
    const { results } = await post({ features: ["n_max", "n_min", "seen_max", "seen_min"] });
    const features = (results as readonly ClientRow[])[0]?.features ?? {};
    const bounds = Object.entries(features).map(([name, json]) =>
      decode(name.startsWith("n_") ? "int64" : "timestamp", json),
    );
    assert.deepEqual(bounds, [INT64_MAX, INT64_MIN, timestampMax, timestampMin]);
  });
});
