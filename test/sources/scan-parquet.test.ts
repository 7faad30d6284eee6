import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import pl from "nodejs-polars";
import { describeType, toSeries } from "../../engine/compile/frame.ts";
import {
  type ColumnTypes,
  entity,
  type Source,
  source,
} from "../../engine/language/definitions.ts";
import {
  bool,
  type Dtype,
  float64,
  int64,
  listFloat64,
  nullable,
  string,
  timestamp,
  type Value,
} from "../../engine/language/dtypes.ts";
import type { ErrorCode } from "../../engine/errors.ts";
import { INT64_MAX, INT64_MIN } from "../../engine/language/int64.ts";
import { timestampMax } from "../../engine/operations/scalar.ts";
import { parseTimestamp } from "../../engine/wire.ts";
import { readChunks } from "../../sources/scan.ts";
import { failureOf } from "../support/fails-with.ts";
import { anyInterval, readAll, temporaryFolder } from "../support/files/source-files.ts";

const person = entity("person", { key: "id" });

function sourceOf<C extends ColumnTypes>(columns: C, separator = ","): Source {
  return source("people", { files: "x", columns, entity: person, csv: { separator } });
}

const us = (text: string): Value => parseTimestamp(text) ?? null;

describe("scan of parquet", () => {
  const { write, remove } = temporaryFolder();
  after(remove);

  const plain = sourceOf({ id: string, n: int64 });
  const parquet = (columns: pl.Series[], index = 0, name = "x.parquet") =>
    write(name, pl.DataFrame(columns).writeParquet({ compression: "zstd" }), index);
  const cast = (name: string, values: number[], type: pl.DataType) =>
    pl.Series(Float64Array.from(values)).cast(type).alias(name);
  const ids = toSeries("id", "string", ["a", "b"]);

  const refuses = async (
    from: Source,
    columns: pl.Series[],
    code: ErrorCode,
    ...parts: string[]
  ) => {
    const file = await parquet(columns);
    const error = await failureOf(() => readAll(from, file));
    assert.equal(error.code, code, error.message);
    assert.ok(error.message.startsWith(`source "people", file ${file.path}: `), error.message);
    for (const part of parts) assert.ok(error.message.includes(part), error.message);
  };

  it("gives the declared columns exactly, in declared order, and the ordinals", async () => {
    const values: [string, Dtype, Value[]][] = [
      ["list", "list_float64", [[1, NaN, -0], []]],
      ["at", "timestamp", [1_700_000_000_123_456, null]],
      ["x", "float64", [-0, NaN]],
      ["extra", "string", ["?", "?"]],
      ["id", "string", ["é\0", "__proto__"]],
      ["n", "int64", [INT64_MIN, 2n ** 53n + 1n]],
      ["height", "int64", [172, null]],
      ["flag", "bool", [true, null]],
    ];
    const file = await parquet(
      values.map(([name, dtype, column]) => toSeries(name, dtype, column)),
      7,
    );
    const every = sourceOf({
      id: string,
      height: nullable(int64),
      flag: nullable(bool),
      n: int64,
      x: float64,
      at: nullable(timestamp),
      list: listFloat64,
    });
    const rows = await readAll(every, file);
    assert.deepEqual(Object.keys(rows), [
      "id",
      "height",
      "flag",
      "n",
      "x",
      "at",
      "list",
      "__ordinal",
    ]);
    for (const [name, , column] of values)
      if (name !== "extra") assert.deepStrictEqual(rows[name], column);
    assert.deepEqual(rows.__ordinal, [7 * 2 ** 32, 7 * 2 ** 32 + 1]);
  });

  it("widens smaller dtypes without loss", async () => {
    for (const type of [pl.Int8, pl.Int16, pl.Int32, pl.UInt8, pl.UInt16, pl.UInt32]) {
      const rows = await readAll(plain, await parquet([ids, cast("n", [1, 100], type)]));
      assert.deepEqual(rows.n, [1, 100]);
    }
    const from = sourceOf({ id: string, x: float64, list: listFloat64 });
    const lists = pl.Series("list", [[0.5], [1, 2]], pl.List(pl.Float64)).cast(pl.List(pl.Float32));
    const rows = await readAll(from, await parquet([ids, cast("x", [0.1, 2], pl.Float32), lists]));
    assert.deepEqual(rows.x, [Math.fround(0.1), 2]);
    assert.deepEqual(rows.list, [[0.5], [1, 2]]);
    const categories = await parquet([ids.cast(pl.Categorical), toSeries("n", "int64", [1, 2])]);
    assert.deepEqual((await readAll(plain, categories)).id, ["a", "b"]);
  });

  it("reads integer keys as exact text", async () => {
    const keys = toSeries("id", "int64", [INT64_MAX, -(2n ** 53n) - 1n]);
    const file = await parquet([keys, toSeries("n", "int64", [1, 2])]);
    assert.deepEqual((await readAll(plain, file)).id, [String(INT64_MAX), "-9007199254740993"]);
  });

  it("reads times of every unit and zone as microseconds of UTC", async () => {
    const from = sourceOf({ id: string, at: nullable(timestamp) });
    const at = (values: Value[], type: pl.DataType) =>
      toSeries("at", "int64", values).cast(type).alias("at");
    const units: [Value[], pl.DataType, Value[]][] = [
      [[1_700_000_000_123, null], pl.Datetime("ms"), [1_700_000_000_123_000, null]],
      [[1_700_000_000_123_456n * 1000n, -1000], pl.Datetime("ns"), [1_700_000_000_123_456, -1]],
      [
        [1_700_000_000_123_456, null],
        pl.Datetime("us", "America/New_York"),
        [1_700_000_000_123_456, null],
      ],
    ];
    for (const [values, type] of units) {
      const file = await parquet([ids, at(values, type)]);
      for await (const frame of readChunks(from, file, anyInterval))
        assert.equal(describeType(frame.getColumn("at").dtype as pl.DataType), "Datetime(us)");
    }
    for (const [values, type, expected] of units)
      assert.deepEqual((await readAll(from, await parquet([ids, at(values, type)]))).at, expected);
    await refuses(
      from,
      [ids, at([1000, 1], pl.Datetime("ns"))],
      "VALUE_UNPARSABLE",
      'row 2: "at" is "1 ns',
    );
    await refuses(
      from,
      [ids, at([0, 2n ** 62n], pl.Datetime("ms"))],
      "VALUE_UNPARSABLE",
      'row 2: "at"',
    );
    await refuses(
      from,
      [ids, at([0, timestampMax + 1n], pl.Datetime("us"))],
      "VALUE_UNPARSABLE",
      'row 2: "at" is "253402300800000000 µs"',
    );
  });

  it("filters by event time, half-open", async () => {
    const from = source("people", {
      files: "x",
      columns: { id: string, at: timestamp },
      entity: person,
      eventTime: "at",
    });
    const times = ["2026-01-01T23:59:59.999999Z", "2026-01-02", "2026-01-01"].map(us);
    const file = await parquet([
      toSeries("id", "string", ["0", "1", "2"]),
      toSeries("at", "timestamp", times),
    ]);
    const rows = await readAll(from, file);
    assert.deepEqual(
      [rows.id, rows.__ordinal],
      [
        ["0", "2"],
        [0, 2],
      ],
    );
  });

  it("reads a file without rows as no rows of the declared schema", async () => {
    const file = await parquet([toSeries("id", "string", []), toSeries("n", "int64", [])]);
    assert.deepEqual(await readAll(plain, file), { id: [], n: [], __ordinal: [] });
  });

  it("refuses other dtypes, listing what is expected and what is there", async () => {
    const lossy = [pl.UInt64, pl.Float64, pl.Bool, pl.Utf8, pl.Date, pl.Datetime("us")];
    for (const type of lossy)
      await refuses(
        plain,
        [ids, cast("n", [1, 0], type)],
        "SCHEMA_MISMATCH",
        'another dtype in "n". Expected: id string, n int64. Got: id String, n ',
      );
    for (const type of [pl.Int64, pl.Int32, pl.UInt64])
      await refuses(
        sourceOf({ id: string, x: float64 }),
        [ids, cast("x", [1, 0], type)],
        "SCHEMA_MISMATCH",
        'dtype in "x"',
      );
    await refuses(
      sourceOf({ id: string, at: timestamp }),
      [ids, cast("at", [1, 0], pl.Date)],
      "SCHEMA_MISMATCH",
      "at Date",
    );
    await refuses(
      sourceOf({ id: string, s: string }),
      [ids, cast("s", [1, 0], pl.Int64)],
      "SCHEMA_MISMATCH",
      "s Int64",
    );
    await refuses(
      sourceOf({ id: string, f: bool }),
      [ids, cast("f", [1, 0], pl.Int8)],
      "SCHEMA_MISMATCH",
      "f Int8",
    );
    await refuses(
      plain,
      [ids, toSeries("m", "int64", [1, 2])],
      "SCHEMA_MISMATCH",
      'no column "n". Expected: id, n. Got: id, m.',
    );
  });

  it("refuses nulls where none may be, also inside a list", async () => {
    await refuses(
      plain,
      [ids, toSeries("n", "int64", [1, null])],
      "NULL_NOT_ALLOWED",
      'row 2: "n" is null',
    );
    const lists = pl.Series("v", [[1], [2, null]], pl.List(pl.Float64));
    await refuses(
      sourceOf({ id: string, v: listFloat64 }),
      [ids, lists],
      "NULL_NOT_ALLOWED",
      'row 2: an element of the list "v" is null',
    );
    await refuses(
      sourceOf({ id: string, v: listFloat64 }),
      [ids, pl.Series("v", [null, [1]], pl.List(pl.Float64))],
      "NULL_NOT_ALLOWED",
      'row 1: "v" is null. Declare it as nullable(listFloat64) if that is meant.',
    );
  });

  it("refuses a file cut off anywhere, and what is no parquet", async () => {
    const file = await parquet([ids, toSeries("n", "int64", [1, 2])]);
    const bytes = await readFile(file.path);
    for (let twentieth = 0; twentieth < 20; twentieth++) {
      const cut = await write("cut.parquet", bytes.subarray(0, (bytes.length * twentieth) / 20));
      const error = await failureOf(() => readAll(plain, cut));
      assert.equal(error.code, "SOURCE_CORRUPT");
      assert.ok(error.message.startsWith(`source "people", file ${cut.path}: is `), error.message);
    }
    const text = await write("text.parquet", "id,n\na,1\n");
    assert.equal((await failureOf(() => readAll(plain, text))).code, "SOURCE_CORRUPT");
  });

  it("survives flipped bits: rows or a coded error, never an abort", () => {
    const program = fileURLToPath(new URL("../support/files/damaged-parquet.ts", import.meta.url));
    const args = ["--import", "tsx", program, "100"];
    const { status, signal, stdout } = spawnSync(process.execPath, args, { encoding: "utf8" });
    assert.deepEqual([status, signal], [0, null]);
    const outcomes = JSON.parse(stdout) as Record<string, number>;
    const expected = [
      "read",
      "SOURCE_CORRUPT",
      "SCHEMA_MISMATCH",
      "NULL_NOT_ALLOWED",
      "VALUE_UNPARSABLE",
    ];
    for (const outcome of Object.keys(outcomes)) assert.ok(expected.includes(outcome), outcome);
    assert.ok((outcomes.SOURCE_CORRUPT ?? 0) > 20);
  });
});
