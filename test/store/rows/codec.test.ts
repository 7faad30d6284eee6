import assert from "node:assert/strict";
import fc from "fast-check";
import type { Value } from "../../../engine/language/dtypes.ts";
import { dtypes } from "../../../engine/language/dtypes.ts";
import { OnceflowError } from "../../../engine/errors.ts";
import { toInt64 } from "../../../engine/language/int64.ts";
import type { Column, ColumnData } from "../../../store/rows/column-data.ts";
import { utf8OfTexts, wordsOfBigInt64 } from "../../../store/rows/column-data.ts";
import { createRowCodec } from "../../../store/rows/codec.ts";
import { rowLimitBytes, valueLimitBytes } from "../../../store/rows/encoder.ts";
import { encodeRow, encodeRows } from "../../support/redis/encode-row.ts";
import { runsOf } from "../../support/property.ts";

const int64s = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.constantFrom(
    0n,
    1n,
    -1n,
    63n,
    -64n,
    64n,
    2n ** 31n,
    -(2n ** 31n),
    2n ** 32n,
    -(2n ** 32n) - 1n,
    2n ** 53n - 1n,
    2n ** 53n,
    -(2n ** 53n) + 1n,
    -(2n ** 53n),
    2n ** 63n - 1n,
    -(2n ** 63n),
  ),
);
const texts = fc.oneof(
  fc.string({ unit: "binary", maxLength: 60 }),
  fc.constantFrom("", "\0", "é".repeat(70), "😀".repeat(25), "a".repeat(127), "a".repeat(128)),
);
const floats = fc.oneof(fc.double(), fc.constantFrom(NaN, -0, Infinity, -Infinity, 5e-324));

function valueOf(dtype: Column["dtype"]): fc.Arbitrary<Value> {
  switch (dtype) {
    case "bool":
      return fc.boolean();
    case "int64":
    case "timestamp":
      return int64s.map(toInt64);
    case "float64":
      return floats;
    case "string":
      return texts;
    case "list_float64":
      return fc.array(floats, { maxLength: 20 });
  }
}

const rows = fc.array(fc.constantFrom(...dtypes), { maxLength: 20 }).chain((chosen) =>
  fc.record({
    columns: fc.constant(chosen.map((dtype, i): Column => ({ name: `c${i}`, dtype }))),
    values: fc.tuple(...chosen.map((dtype) => fc.option(valueOf(dtype), { freq: 4 }))),
    wanted: fc.shuffledSubarray(chosen.map((_, i) => `c${i}`)),
  }),
);

function encode(columns: readonly Column[], values: readonly Value[]): Buffer {
  return encodeRow(createRowCodec(columns), values);
}

const names = (columns: readonly Column[]) => columns.map(({ name }) => name);
const codeIs = (code: string, pattern: RegExp) => (error: unknown) =>
  error instanceof OnceflowError && error.code === code && pattern.test(error.message);

describe("row codec", () => {
  it("gives back exactly the values of every dtype that it was given", () => {
    fc.assert(
      fc.property(rows, ({ columns, values }) => {
        const decode = createRowCodec(columns).decoder(names(columns));
        assert.deepStrictEqual(decode(encode(columns, values)), values);
      }),
      runsOf(500),
    );
  });

  it("decodes any columns in any order as a full decode does, at any offset", () => {
    fc.assert(
      fc.property(rows, fc.nat(9), ({ columns, values, wanted }, offset) => {
        const bytes = Buffer.concat([Buffer.alloc(offset, 0xff), encode(columns, values)]);
        const decoded = createRowCodec(columns).decoder(wanted)(bytes, offset);
        const expected = wanted.map((name) => values[Number(name.slice(1))]);
        assert.deepStrictEqual(decoded, expected);
      }),
      runsOf(500),
    );
  });

  it("never reads garbage from cut, longer or altered bytes: it throws or finds other values", () => {
    fc.assert(
      fc.property(rows, fc.nat(), fc.nat(255), ({ columns, values }, where, byte) => {
        const decode = createRowCodec(columns).decoder(names(columns));
        const bytes = encode(columns, values);
        const cut = where % bytes.length;
        assert.throws(() => decode(bytes.subarray(0, cut)), codeIs("STORE_LOST", /malformed/));
        // What follows a last wanted column is not read; with no column all is the header.
        assert.throws(
          () => createRowCodec(columns).decoder(names(columns))(Buffer.concat([bytes, bytes])),
          columns.length === 0 ? /./ : codeIs("STORE_LOST", /follow|early|long/),
        );
        const altered = Buffer.from(bytes);
        altered[cut] = byte;
        try {
          const found = decode(altered);
          assert.equal(found.length, columns.length);
        } catch (error) {
          assert.ok(codeIs("STORE_LOST", /malformed/)(error), String(error));
        }
      }),
      runsOf(500),
    );
  });

  it("writes typed columns as it writes their values", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            flag: fc.boolean(),
            n: int64s,
            x: floats,
            text: texts,
            null: fc.tuple(fc.boolean(), fc.boolean(), fc.boolean(), fc.boolean()),
          }),
          { minLength: 1, maxLength: 8 },
        ),
        (given) => {
          const columns: Column[] = [
            { name: "flag", dtype: "bool" },
            { name: "n", dtype: "int64" },
            { name: "x", dtype: "float64" },
            { name: "text", dtype: "string" },
          ];
          const nulls = (i: number) => Uint8Array.from(given, (row) => (row.null[i] ? 1 : 0));
          const data: ColumnData[] = [
            { kind: "bools", values: Uint8Array.from(given, (r) => +r.flag), nulls: nulls(0) },
            {
              kind: "words",
              words: wordsOfBigInt64(BigInt64Array.from(given, (r) => r.n)),
              nulls: nulls(1),
            },
            { kind: "floats", values: Float64Array.from(given, (r) => r.x), nulls: nulls(2) },
            {
              kind: "utf8",
              ...utf8OfTexts(
                given.map((r) => r.text),
                "text",
              ),
              nulls: nulls(3),
            },
          ];
          const encoded = encodeRows(createRowCodec(columns), data, given.length);
          given.forEach((row, i) => {
            const values = [row.flag, toInt64(row.n), row.x, row.text].map((value, column) =>
              row.null[column] ? null : value,
            );
            assert.deepEqual(encoded[i], encode(columns, values));
          });
        },
      ),
      runsOf(100),
    );
  });

  it("has the bytes that its documentation says", () => {
    const columns: Column[] = [
      { name: "flag", dtype: "bool" },
      { name: "gone", dtype: "string" },
      { name: "n", dtype: "int64" },
      { name: "x", dtype: "float64" },
      { name: "text", dtype: "string" },
      { name: "at", dtype: "timestamp" },
      { name: "list", dtype: "list_float64" },
    ];
    const values = [true, null, -3, NaN, "é", 2n ** 63n - 1n, [-0, 1]];
    assert.equal(
      encode(columns, values).toString("hex"),
      "01" +
        "02" +
        "01" +
        "05" +
        "000000000000f87f" +
        "02c3a9" +
        "feffffffffffffffff01" +
        "02" +
        "0000000000000080" +
        "000000000000f03f",
    );
  });

  it("refuses another format, and integers and counts that are too long or too large", () => {
    const decoderOf = (dtype: Column["dtype"]) =>
      createRowCodec([{ name: "c", dtype }]).decoder(["c"]);
    const malformed: [Column["dtype"], hex: string][] = [
      ["int64", "02" + "00" + "05"],
      ["int64", "01" + "00" + "8000"],
      ["int64", "01" + "00" + "ffffffffffffffffff02"],
      ["int64", "01" + "00" + "ffffffffffffffffffff01"],
      ["string", "01" + "00" + "8000"],
      ["string", "01" + "00" + "ffffffff1f"],
      ["string", "01" + "00" + "ffffffff0f"],
      ["list_float64", "01" + "00" + "ffffffff0f"],
    ];
    for (const [dtype, hex] of malformed)
      assert.throws(
        () => decoderOf(dtype)(Buffer.from(hex, "hex")),
        codeIs("STORE_LOST", /malformed/),
        `${dtype} ${hex}`,
      );
  });

  it("writes every NaN alike", () => {
    const columns: Column[] = [{ name: "x", dtype: "float64" }];
    const other = new Float64Array(new BigUint64Array([0xfff8000000000001n]).buffer);
    const [encoded] = encodeRows(createRowCodec(columns), [{ kind: "floats", values: other }], 1);
    assert.deepEqual(encoded, encode(columns, [NaN]));
  });

  it("refuses a value or a row above its limit, naming column and limit", () => {
    const columns = Array.from({ length: 5 }, (_, i): Column => ({
      name: `t${i}`,
      dtype: "string",
    }));
    const fits = "a".repeat(valueLimitBytes - 3);
    assert.equal(encode(columns, [fits, null, null, null, null]).length, valueLimitBytes + 2);
    assert.throws(
      () => encode(columns, [null, `${fits}a`, null, null, null]),
      codeIs("ROW_TOO_LARGE", /"t1".*65537 bytes.*65536/),
    );
    assert.throws(
      () => encode(columns, [fits, fits, fits, fits, fits]),
      codeIs("ROW_TOO_LARGE", new RegExp(`"t3".*limit is ${rowLimitBytes}`)),
    );
  });

  it("refuses what is not of the column's dtype, and ill-formed text", () => {
    const wrong: [Column["dtype"], unknown][] = [
      ["bool", 1],
      ["int64", 1.5],
      ["int64", 2 ** 53],
      ["int64", "1"],
      ["int64", 2n ** 63n],
      ["timestamp", NaN],
      ["float64", 1n],
      ["string", 1],
      ["string", "\ud800"],
      ["string", `${"a".repeat(100)}\udc00`],
      ["list_float64", 1],
      ["list_float64", [null]],
    ];
    for (const [dtype, value] of wrong)
      assert.throws(
        () => encode([{ name: "c", dtype }], [value as Value]),
        codeIs("VALUE_INVALID", /./),
        `${dtype} ${String(value)}`,
      );
    assert.throws(() => createRowCodec([]).decoder(["x"]), codeIs("INTERNAL", /"x"/));
    assert.throws(
      () =>
        createRowCodec([{ name: "c", dtype: "bool" }]).encoder([
          { kind: "utf8", ...utf8OfTexts([], "") },
        ]),
      codeIs("INTERNAL", /"c" is bool/),
    );
  });
});
