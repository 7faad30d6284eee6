import assert from "node:assert/strict";
import fs from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import pl from "nodejs-polars";
import { toSeries } from "../../engine/compile/frame.ts";
import {
  type ColumnTypes,
  entity,
  type Source,
  source,
} from "../../engine/language/definitions.ts";
import {
  bool,
  float64,
  int64,
  listFloat64,
  nullable,
  string,
  timestamp,
  type Value,
} from "../../engine/language/dtypes.ts";
import { parseTimestamp } from "../../engine/wire.ts";
import { readArrowTypes } from "../../sources/arrow-schema.ts";
import { type ThriftValue, writeInt32, writeList, writeStruct } from "../../sources/thrift.ts";
import { failsWith } from "../support/fails-with.ts";
import { editFooter } from "../support/files/parquet-edit.ts";
import {
  plainInt96,
  plainParquet,
  plainText,
  struct,
  text,
} from "../support/files/plain-parquet.ts";
import {
  anyInterval,
  describeFile,
  readAll,
  temporaryFolder,
} from "../support/files/source-files.ts";

const person = entity("person", { key: "id" });
const fixtures = fileURLToPath(new URL("./fixtures/types/", import.meta.url));

function sourceOf(columns: ColumnTypes): Source {
  return source("people", { files: "x", columns, entity: person });
}

const us = (iso: string): Value => parseTimestamp(iso) ?? null;
const nothing = writeStruct(new Map());
/** A schema element's logical type: the number of one that has no parameters. */
const int32 = (n: number) => new Uint8Array(new Int32Array([n]).buffer);
const logical = (number: number, of: ThriftValue = nothing) =>
  new Map([[10, struct([number, of])]]);
const converted = (number: number) => new Map([[6, writeInt32(number)]]);

describe("types of parquet columns", () => {
  const { write, remove } = temporaryFolder();
  after(remove);

  const plain = sourceOf({ id: string, n: int64 });
  const ids = { name: "id", type: 6, element: converted(0), values: ["a", "b"].map(plainText) };
  const numbers = toSeries("n", "int64", [1, 2]);
  const every = [bool, int64, float64, string, timestamp, listFloat64];
  const fixture = (name: string) => describeFile(path.join(fixtures, name));
  const double = Buffer.alloc(8);
  const sixteen = Buffer.alloc(16);

  it("that no dtype holds are refused at once, named as the format does", async () => {
    const types: [name: string, type: number, element: Map<number, ThriftValue>, value: Buffer][] =
      [
        ["Float16", 7, new Map([...logical(15), [2, writeInt32(2)]]), Buffer.alloc(2)],
        ["UUID", 7, new Map([...logical(14), [2, writeInt32(16)]]), sixteen],
        ["Binary\\(16\\)", 7, new Map([[2, writeInt32(16)]]), sixteen],
        ["Interval", 7, new Map([...converted(21), [2, writeInt32(12)]]), Buffer.alloc(12)],
        ["Binary", 6, new Map(), plainText("x")],
        ["JSON", 6, logical(12), plainText("{}")],
        ["JSON", 6, converted(19), plainText("{}")],
        ["BSON", 6, logical(13), plainText("{}")],
        ["Geometry", 6, logical(17), plainText("x")],
        ["Geography", 6, logical(18), plainText("x")],
        ["logical type 99", 2, logical(99), double],
        ["converted type 40", 2, converted(40), double],
        ["type 12", 12, new Map(), double],
        ["Null", 1, logical(11), Buffer.alloc(4)],
        ["Time", 2, converted(8), double],
        ["Date", 1, converted(6), Buffer.alloc(4)],
        ["UInt64", 2, converted(14), double],
        [
          "Decimal\\(9, 2\\)",
          2,
          new Map([...converted(5), [7, writeInt32(2)], [8, writeInt32(9)]]),
          double,
        ],
        ["String", 2, converted(0), double],
      ];
    for (const [name, type, element, value] of types) {
      const bytes = plainParquet([ids, { name: "v", type, element, values: [value, value] }]);
      const file = await write("odd.parquet", bytes);
      // It stands in no one's way where it is not declared.
      assert.deepEqual((await readAll(sourceOf({ id: string }), file)).id, ["a", "b"], name);
      for (const dtype of every) {
        if (name === "String" && dtype === string) continue;
        const from = sourceOf({ id: string, v: nullable(dtype) });
        await failsWith(
          readAll(from, file),
          "SCHEMA_MISMATCH",
          new RegExp(`another dtype in "v".*Expected: id string, v .*Got: id String, v ${name}\\.`),
        );
      }
    }
  });

  it("that annotate text as an ENUM are read as it", async () => {
    for (const element of [logical(4), converted(4)]) {
      const labels = { name: "label", type: 6, element, values: ["x", "é"].map(plainText) };
      const file = await write("enum.parquet", plainParquet([ids, labels]));
      const rows = await readAll(sourceOf({ id: string, label: string }), file);
      assert.deepEqual(rows.label, ["x", "é"]);
      const error = readAll(sourceOf({ id: string, label: int64 }), file);
      await failsWith(error, "SCHEMA_MISMATCH", /label Categorical/);
    }
  });

  it("that are newer than polars leave the declared columns readable", async () => {
    const file = await fixture("duckdb-variant.parquet");
    const from = sourceOf({ id: string, n: int64, label: string });
    assert.deepEqual(await readAll(from, file), {
      id: ["a"],
      n: [1],
      label: ["x"],
      __ordinal: [0],
    });
    for (const [name, got] of [
      ["extra", "Variant"],
      ["json", "JSON"],
      ["uuid", "UUID"],
      ["blob", "Binary"],
    ] as const)
      await failsWith(
        readAll(sourceOf({ id: string, [name]: string }), file),
        "SCHEMA_MISMATCH",
        new RegExp(`Got: id String, ${name} ${got}\\.`),
      );
  });

  it("come beside orders, metadata and encryption of later versions", async () => {
    const bytes = pl
      .DataFrame([toSeries("id", "string", ["a", "b"]), numbers, numbers.alias("x")])
      .writeParquet();
    const newer: [number[], (value: ThriftValue) => ThriftValue | undefined][] = [
      // An order of columns that is none of today's.
      [[7], () => struct([1, struct([9, nothing])])],
      [[5], () => writeList([struct([1, text("ARROW:schema")]), struct([3, nothing])])],
      [[6], () => text("\u00ff")],
      // The type and codec of the column that is not read.
      [[2, 3, 1], () => writeInt32(77)],
      [[4, 0, 1, 2, 3, 4], () => writeInt32(77)],
      [[4, 0, 1, 2, 3, 1], () => undefined],
      [[4, 0, 1, 2, 3], () => undefined],
    ];
    for (const [at, change] of newer) {
      const file = await write("newer.parquet", editFooter(bytes, at, change));
      assert.deepEqual((await readAll(plain, file)).n, [1, 2], at.join("."));
    }
  });

  it("are compared once for each column: two of a declared name are refused", async () => {
    const bytes = pl
      .DataFrame([toSeries("id", "string", ["a", "b"]), numbers, numbers.alias("m")])
      .writeParquet();
    const renamed = editFooter(bytes, [2, 3, 4], () => text("n"));
    const file = await write("twice.parquet", renamed);
    await failsWith(readAll(plain, file), "SCHEMA_MISMATCH", /has two columns "n"\./);
    assert.deepEqual((await readAll(sourceOf({ id: string }), file)).id, ["a", "b"]);
  });

  it("that are repeated values without a list around them are read as lists", async () => {
    // Levels of 1 bit, bit-packed: a list begins, goes on, begins; each value is there.
    const levels = (bits: number) => [...int32(2), 3, bits];
    const page = (definitions: number, ...doubles: number[]) =>
      Buffer.concat([
        Buffer.from([...levels(0b010), ...levels(definitions)]),
        ...doubles.map((x) => Buffer.from(new Float64Array([x]).buffer)),
      ]);
    const none = Buffer.of();
    for (const [values, expected] of [
      [page(0b111, 1, 2, 3), [[1, 2], [3]]],
      [page(0b011, 1, -0), [[1, -0], []]],
    ] as const) {
      const bytes = plainParquet([ids, { name: "v", type: 5, values: [values, none, none] }]);
      const file = await write(
        "repeated.parquet",
        editFooter(bytes, [2, 2, 3], () => writeInt32(2)),
      );
      assert.deepEqual((await readAll(sourceOf({ id: string, v: listFloat64 }), file)).v, expected);
      for (const type of [float64, nullable(float64)])
        await failsWith(
          readAll(sourceOf({ id: string, v: type }), file),
          "SCHEMA_MISMATCH",
          /Got: id String, v List\(Float64\)\./,
        );
    }
  });

  it("of small integers hold those alone: others are refused, not cut to their bits", async () => {
    const sizes: [number: number, type: string, min: number, max: number][] = [
      [11, "UInt8", 0, 255],
      [12, "UInt16", 0, 65_535],
      [15, "Int8", -128, 127],
      [16, "Int16", -32_768, 32_767],
    ];
    const from = sourceOf({ id: string, v: int64 });
    for (const [number, type, min, max] of sizes) {
      const columns = (first: number, second: number) => {
        const values = [first, second].map((n) => Buffer.from(int32(n)));
        return plainParquet([ids, { name: "v", type: 1, element: converted(number), values }]);
      };
      const file = await write("small.parquet", columns(min, max));
      assert.deepEqual((await readAll(from, file)).v, [min, max]);
      for (const value of [min - 1, max + 1])
        await failsWith(
          readAll(from, await write("small.parquet", columns(5, value))),
          "VALUE_UNPARSABLE",
          new RegExp(`row 2: "v" is ${value}, which is no ${type}, as its column says\\.`),
        );
    }
    const keys = [300, 1].map((n) => Buffer.from(int32(n)));
    const bytes = plainParquet([{ name: "id", type: 1, element: converted(11), values: keys }]);
    const reading = readAll(sourceOf({ id: string }), await write("small.parquet", bytes));
    await failsWith(reading, "VALUE_UNPARSABLE", /row 1: "id" is 300, which is no UInt8/);
  });

  it("are no shield for pages that lie about their values, and nothing ends the process", async () => {
    const counts: [count: number, problem: RegExp][] = [
      [-53, /a page has a negative size/],
      [-1, /a page has a negative size/],
      [3, /a page has too many values/],
      [2 ** 31 - 1, /a page has too many values/],
      [1, /is no whole parquet file/],
    ];
    for (const [count, problem] of counts)
      for (const type of [5, 3]) {
        const value = type === 5 ? double : plainInt96(0n, 2_440_588);
        const bytes = plainParquet([ids, { name: "v", type, values: [value, value], count }]);
        const from = sourceOf({ id: string, v: type === 5 ? float64 : timestamp });
        const reading = readAll(from, await write("lies.parquet", bytes));
        await failsWith(reading, "SOURCE_CORRUPT", problem);
      }
  });

  describe("of Arrow", () => {
    it("give the instants of a column whatever its zone is called", async () => {
      const file = await fixture("pyarrow-arrow-schema.parquet");
      const at = 1_700_000_000_123_456;
      for (const [name, expected] of [
        ["at_z", at],
        ["at_offset", at],
        ["at_case", at - (at % 1000)],
        ["at_mars", at],
      ] as const) {
        const rows = await readAll(sourceOf({ id: string, [name]: nullable(timestamp) }), file);
        assert.deepEqual(rows[name], [expected, null], name);
      }
    });

    it("are refused where they say another thing than the format: extensions, durations", async () => {
      const file = await fixture("pyarrow-arrow-schema.parquet");
      assert.deepEqual((await readAll(plain, file)).n, [1, 2]);
      for (const [name, dtype, got] of [
        ["float16", float64, "Float16"],
        ["binary", string, "Binary"],
        ["duration", int64, "Duration"],
        ["money", int64, "the extension my.money"],
        ["weight", float64, "the extension my.weight"],
        ["label", string, "the extension my.label"],
        ["moment", timestamp, "the extension my.moment"],
        ["vector", listFloat64, "the extension my.weight"],
        ["decimal256", float64, "Decimal\\(60, 2\\)"],
      ] as const)
        await failsWith(
          readAll(sourceOf({ id: string, [name]: nullable(dtype) }), file),
          "SCHEMA_MISMATCH",
          new RegExp(`Expected: id string, ${name} .* Got: id String, ${name} ${got}\\.`),
        );
    });

    it("are read of a damaged schema or refused, and the reading ends", async () => {
      const bytes = await fs.readFile(path.join(fixtures, "pyarrow-arrow-schema.parquet"));
      const schema = /ARROW:schema.{2,3}?([A-Za-z0-9+/=]{100,})/s.exec(
        bytes.toString("latin1"),
      )?.[1];
      assert.ok(schema !== undefined);
      const whole = Buffer.from(schema, "base64");
      const wanted = new Set(["id", "n", "money", "vector"]);
      assert.equal(readArrowTypes(schema, wanted).get("money"), "the extension my.money");
      let refused = 0;
      for (let at = 0; at < whole.length; at++)
        for (const byte of [0, 1, 0x7f, 0xff]) {
          const damaged = Buffer.from(whole);
          damaged[at] = byte;
          try {
            readArrowTypes(damaged.toString("base64"), wanted);
          } catch (error) {
            assert.match(String(error), /its Arrow schema is damaged/);
            refused++;
          }
        }
      assert.ok(refused > 100, String(refused));
    });
  });

  describe("of INT96", () => {
    const julian = 2_440_588;
    const moments = sourceOf({ id: string, at: nullable(timestamp) });
    const int96 = (values: readonly Buffer[]) =>
      plainParquet([
        { ...ids, values: values.map((_, row) => plainText(`k${row}`)) },
        { name: "at", type: 3, values },
      ]);

    it("give every whole µs of the years 1 to 9999, of any writer", async () => {
      const rows = await readAll(moments, await fixture("pyarrow-int96.parquet"));
      assert.deepEqual(rows.at, [
        us("0001-01-01"),
        us("9999-12-31T23:59:59.999999Z"),
        null,
        0,
        us("1600-12-31T23:59:59.999999Z"),
        us("2300-01-01T00:00:00.000001Z"),
        -1,
      ]);
      const day = (n: number, ns = 0n) => plainInt96(ns, julian + n);
      const file = await write(
        "int96.parquet",
        int96([day(-1, 86_399_999_999_000n), day(120_530)]),
      );
      assert.deepEqual((await readAll(moments, file)).at, [-1, us("2300-01-01")]);
      const none = await readAll(moments, await write("none.parquet", int96([])), anyInterval);
      assert.deepEqual(none, { id: [], at: [], __ordinal: [] });
    });

    it("are refused where they are no such µs, with the instant that is in the file", async () => {
      const refused: [ns: bigint, day: number, shown: string][] = [
        [616n, julian + 120_530, "2300-01-01T00:00:00.000000616Z"],
        [1n, julian, "1970-01-01T00:00:00.000000001Z"],
        [86_399_999_999_999n, julian - 1, "1969-12-31T23:59:59.999999999Z"],
        [0n, julian + 2_932_897, "+010000-01-01T00:00:00.000000000Z"],
        [0n, julian - 719_163, "0000-12-31T00:00:00.000000000Z"],
        [0n, 0, "-004713-11-24T00:00:00.000000000Z"],
        // Days that would come back into our years if 64 bits of µs or ns wrapped.
        [0n, julian + 213_503_982, "18446744044800000000000 ns"],
        [0n, 0xffffffff, "370874307484800000000000 ns"],
      ];
      for (const [ns, day, shown] of refused) {
        const good = plainInt96(0n, julian);
        const file = await write("int96.parquet", int96([good, plainInt96(ns, day)]));
        await failsWith(
          readAll(moments, file),
          "VALUE_UNPARSABLE",
          new RegExp(`row 2: "at" is "${shown.replace("+", "\\+")}", which is no timestamp`),
        );
      }
    });
  });
});
