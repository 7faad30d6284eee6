import assert from "node:assert/strict";
import fc from "fast-check";
import pl from "nodejs-polars";
import {
  describeType,
  dtypeOf,
  heightOf,
  lazyOf,
  polarsType,
  toColumns,
  toSeries,
  toUtf8,
  valueAt,
} from "../../../engine/compile/frame.ts";
import { type Dtype, dtypes, type Value } from "../../../engine/language/dtypes.ts";
import { OnceflowError } from "../../../engine/errors.ts";
import { INT64_MAX, INT64_MIN, toInt64 } from "../../../engine/language/int64.ts";
import { timestampMax, timestampMin } from "../../../engine/operations/scalar.ts";
import { runsOf } from "../../support/property.ts";

const awkward: Record<Dtype, readonly Value[]> = {
  bool: [true, false, null],
  int64: [
    0,
    -1,
    Number.MAX_SAFE_INTEGER,
    Number.MIN_SAFE_INTEGER,
    2n ** 53n,
    -(2n ** 53n),
    2n ** 53n + 1n,
    INT64_MAX,
    INT64_MIN,
    4294967296,
    -4294967296,
    null,
  ],
  float64: [0, -0, NaN, Infinity, -Infinity, 5e-324, 1e21, 1e-7, 36.45, 2 ** 53 + 2, null],
  string: [
    "",
    " ",
    "é",
    "e\u0301",
    "👩‍🚀",
    "\0",
    "a\nb\r\n",
    '"',
    "__proto__",
    "مرحبا",
    "\u200b",
    null,
  ],
  timestamp: [timestampMin, timestampMax, 1, -1, 1_700_000_000_123_456, null],
  list_float64: [[], [1, 2, 3], [NaN, -0, Infinity, 5e-324], [0.1], null],
};

const arbitrary: Record<Dtype, fc.Arbitrary<Value>> = {
  bool: fc.boolean(),
  int64: fc.bigInt({ min: INT64_MIN, max: INT64_MAX }).map(toInt64),
  float64: fc.double(),
  string: fc.string({ unit: "binary" }),
  timestamp: fc.bigInt({ min: timestampMin, max: timestampMax }).map(toInt64),
  list_float64: fc.array(fc.double(), { maxLength: 4 }),
};

function roundTrip(dtype: Dtype, values: readonly Value[]): Value[] {
  const [column] = toColumns(pl.DataFrame([toSeries("x", dtype, values)]));
  assert.ok(column);
  assert.equal(column.dtype, dtype);
  assert.equal(column.data.length, values.length);
  return values.map((_, row) => valueAt(column, row));
}

/** deepStrictEqual tells −0 from 0 and takes NaN for NaN. */
function assertRoundTrip(dtype: Dtype, values: readonly Value[]): void {
  assert.deepStrictEqual(roundTrip(dtype, values), [...values]);
}

function refused(dtype: Dtype, value: unknown, message: RegExp): void {
  assert.throws(
    () => toSeries("x", dtype, [null, value as Value]),
    (error) =>
      error instanceof OnceflowError &&
      error.code === "VALUE_INVALID" &&
      message.test(error.message),
  );
}

describe("frame", () => {
  it("gives texts as UTF-8 with their offsets, of any length and any characters", () => {
    const text = fc.option(fc.string({ unit: "binary", maxLength: 12 }), { nil: null });
    fc.assert(
      fc.property(fc.array(text.filter((each) => each?.isWellFormed() ?? true)), (texts) => {
        const frame = pl.DataFrame([toSeries("t", "string", texts)]);
        const { bytes, offsets, nulls } = toUtf8(frame, "t");
        const found = texts.map((_, i) =>
          nulls?.[i] === 1
            ? null
            : Buffer.from(bytes.subarray(offsets[i], offsets[i + 1])).toString(),
        );
        assert.deepEqual(found, texts);
        assert.equal(offsets.at(-1), bytes.length);
      }),
      runsOf(100),
    );
  });

  for (const dtype of dtypes) {
    describe(dtype, () => {
      it("keeps awkward values exact on the way to polars and back", () => {
        assertRoundTrip(dtype, awkward[dtype]);
        for (const value of awkward[dtype]) assertRoundTrip(dtype, [value]);
      });

      it("keeps its dtype when all values are null, and when there is none", () => {
        for (const values of [[], [null], [null, null]]) {
          assertRoundTrip(dtype, values);
          assert.equal(dtypeOf(toSeries("x", dtype, values).dtype as pl.DataType), dtype);
        }
      });

      it("keeps any column of values", () => {
        const values = fc.array(fc.option(arbitrary[dtype]), { maxLength: 40 });
        fc.assert(
          fc.property(values, (column) => assertRoundTrip(dtype, column)),
          runsOf(60),
        );
      });

      it("names the polars dtype and is found again from it", () => {
        assert.equal(dtypeOf(polarsType(dtype)), dtype);
      });
    });
  }

  it("gives columns by name, with a mask only where a column has nulls", () => {
    const frame = pl.DataFrame([
      toSeries("a", "int64", [1, null, 3]),
      toSeries("__proto__", "string", ["x", "y", "z"]),
    ]);
    const [proto, a] = toColumns(frame, ["__proto__", "a"]);
    assert.equal(proto?.nulls, null);
    assert.deepEqual(proto?.data, ["x", "y", "z"]);
    assert.deepEqual(a?.nulls, Uint8Array.of(0, 1, 0));
    assert.deepEqual(a?.data, BigInt64Array.of(1n, 0n, 3n));
  });

  it("is not misled by columns that are named like a property of a frame", () => {
    const names = ["height", "columns", "lazy", "select", "filter", "width", "constructor"];
    const frame = pl.DataFrame(names.map((name, i) => toSeries(name, "int64", [i, i, 7])));
    assert.equal(heightOf(frame), 3);
    assert.deepEqual(
      toColumns(frame).map((column) => valueAt(column, 0)),
      [0, 1, 2, 3, 4, 5, 6],
    );
    const filtered = lazyOf(frame).filter(pl.col("lazy").lt(7)).collectSync();
    assert.deepEqual(
      filtered.getColumns().map(({ name }) => name),
      names,
    );
    assert.equal(heightOf(filtered), 2);
    assert.equal(heightOf(pl.DataFrame([])), 0);
  });

  it("reads slices and frames of several chunks", () => {
    const part = (values: Value[]) => pl.DataFrame([toSeries("x", "int64", values)]);
    const [column] = toColumns(
      part([1, 2, null])
        .vstack(part([4, INT64_MAX]))
        .slice(1, 4),
    );
    assert.ok(column);
    assert.deepEqual(
      [0, 1, 2, 3].map((row) => valueAt(column, row)),
      [2, null, 4, INT64_MAX],
    );
  });

  it("refuses a value that is not of the dtype, naming row, column and value", () => {
    refused("int64", 1.5, /^row 1 of column "x" holds 1.5, which is no int64\.$/);
    refused("int64", 2 ** 53, /holds 9007199254740992/);
    refused("int64", INT64_MAX + 1n, /holds 9223372036854775808/);
    refused("int64", NaN, /holds NaN/);
    refused("float64", 1n, /no float64/);
    refused("float64", undefined, /holds undefined/);
    refused("bool", 1, /no bool/);
    refused("string", "\ud800", /holds "\\ud800", which is no string/);
    refused("string", 7, /no string/);
    refused("list_float64", [1, null], /no list_float64/);
    refused("timestamp", "2026-01-01", /no timestamp/);
  });

  it("refuses a polars column whose dtype is none of ours, naming it", () => {
    const types = [pl.Int32, pl.Float32, pl.Datetime("ms"), pl.Date, pl.UInt64];
    for (const type of types) {
      const frame = pl.DataFrame([pl.Series("n", Float64Array.of(1)).cast(type)]);
      assert.throws(
        () => toColumns(frame),
        (error) =>
          error instanceof OnceflowError && /column "n" has the polars dtype/.test(error.message),
      );
    }
    assert.equal(describeType(pl.Datetime("ms")), "Datetime(ms)");
    assert.equal(describeType(pl.Datetime("us", "UTC")), "Datetime(us, UTC)");
    assert.equal(describeType(pl.List(pl.Datetime("us"))), "List(Datetime(us))");
    assert.equal(dtypeOf(pl.List(pl.List(pl.Float64))), undefined);
  });
});
