import assert from "node:assert/strict";
import fc from "fast-check";
import { type Dtype, dtypes, type Value } from "../../engine/language/dtypes.ts";
import { OnceflowError } from "../../engine/errors.ts";
import { INT64_MAX, INT64_MIN } from "../../engine/language/int64.ts";
import { timestampMax, timestampMin } from "../../engine/operations/scalar.ts";
import {
  formatTimestamp,
  fromJson,
  keyFromJson,
  parseTimestamp,
  showValue,
  toJson,
} from "../../engine/wire.ts";
import { anyValueOf, awkward } from "../support/engine/arbitrary.ts";
import { runsOf } from "../support/property.ts";

function assertRefused(read: () => unknown, said: RegExp): void {
  assert.throws(
    read,
    (error) =>
      error instanceof OnceflowError && error.code === "VALUE_INVALID" && said.test(error.message),
  );
}

function throughJson(dtype: Dtype, value: Value): Value {
  return fromJson(dtype, JSON.parse(JSON.stringify(toJson(dtype, value))), "x");
}

describe("values on the wire", () => {
  for (const dtype of dtypes)
    it(`keep every ${dtype} exact through JSON text`, () => {
      for (const value of awkward[dtype]) assert.deepStrictEqual(throughJson(dtype, value), value);
      fc.assert(
        fc.property(anyValueOf(dtype), (value) =>
          assert.deepStrictEqual(throughJson(dtype, value), value),
        ),
        runsOf(500),
      );
    });

  it("have the JSON form that the table says", () => {
    const forms: readonly (readonly [Dtype, Value, unknown])[] = [
      ["bool", true, true],
      ["string", "NaN", "NaN"],
      ["int64", Number.MAX_SAFE_INTEGER, 9007199254740991],
      ["int64", 2n ** 53n, "9007199254740992"],
      ["int64", INT64_MIN, "-9223372036854775808"],
      ["float64", 0.1, 0.1],
      ["float64", NaN, "NaN"],
      ["float64", Infinity, "Infinity"],
      ["float64", -Infinity, "-Infinity"],
      ["float64", -0, "-0"],
      ["timestamp", 0, "1970-01-01T00:00:00Z"],
      ["timestamp", 1_500_000, "1970-01-01T00:00:01.500Z"],
      ["timestamp", -1, "1969-12-31T23:59:59.999999Z"],
      ["timestamp", timestampMin, "0001-01-01T00:00:00Z"],
      ["timestamp", timestampMax, "9999-12-31T23:59:59.999999Z"],
      ["list_float64", [1, -0, NaN], [1, "-0", "NaN"]],
      ["list_float64", null, null],
    ];
    for (const [dtype, value, json] of forms) assert.deepStrictEqual(toJson(dtype, value), json);
  });

  it("are read by the dtype of the definition, in every form that it allows", () => {
    const forms: readonly (readonly [Dtype, unknown, Value])[] = [
      ["int64", "42", 42],
      ["int64", "-9007199254740993", -9007199254740993n],
      ["int64", "0000000000000000007", 7],
      ["int64", -0, 0],
      ["int64", "-0", 0],
      ["int64", INT64_MAX.toString(), INT64_MAX],
      ["float64", 3, 3],
      ["float64", "-Infinity", -Infinity],
      ["string", "42", "42"],
      ["timestamp", 1_700_000_000_123, 1_700_000_000_123_000],
      ["timestamp", -1, -1000],
      ["timestamp", "2026-01-31", 1_769_817_600_000_000],
      ["timestamp", "2026-01-31T12:30", 1_769_862_600_000_000],
      ["timestamp", "2026-01-31 12:30:15.123456", 1_769_862_615_123_456],
      ["timestamp", "2026-01-31T12:30:00+05:30", 1_769_842_800_000_000],
      ["timestamp", "1969-12-31T23:59:59.5Z", -500_000],
    ];
    for (const [dtype, json, value] of forms)
      assert.deepStrictEqual(fromJson(dtype, json, "x"), value, `${dtype} ${String(json)}`);
  });

  const refused: Readonly<Record<Dtype, readonly unknown[]>> = {
    bool: [0, 1, "true", [], {}],
    int64: [
      1.5,
      2 ** 53,
      -(2 ** 53),
      NaN,
      true,
      "1.0",
      "1e3",
      " 1",
      "1 ",
      "+1",
      "",
      "0x10",
      "٣",
      "9223372036854775808",
      "-9223372036854775809",
      "00000000000000000001",
      [1],
    ],
    float64: ["1", "nan", "inf", "", "+Infinity", "0", true, Infinity, NaN, [], {}],
    string: [1, true, [], "\ud800", "a\udfff", "\udc00\ud800"],
    timestamp: [
      "",
      "yesterday",
      "2026",
      "2026-1-1",
      "2026-02-30",
      "2025-02-29",
      "2026-13-01",
      "2026-01-01T25:00",
      "2026-01-01T24:00:00.5Z",
      "2026-01-01T24:00:00.000001+02:00",
      "2026-01-01T24:00:01Z",
      "2026-01-01T23:59:60Z",
      "2026-01-01T10:00:00.1234567Z",
      "2026-01-01T10:00:00z",
      "2026-01-01Z",
      "0000-12-31",
      "+010000-01-01",
      "1700000000",
      1.5,
      2 ** 53,
      253_402_300_800_000,
      true,
      [],
      "0001-01-01T00:00:00+00:01",
      "9999-12-31T23:59:59-00:01",
    ],
    list_float64: [1, "1", [null], [[1]], ["a"], {}, [true]],
  };
  for (const dtype of dtypes)
    it(`refuse what is no ${dtype}, naming the place and the form it should have`, () => {
      for (const json of [...refused[dtype], undefined])
        assertRefused(
          () => fromJson(dtype, json, 'input "age"'),
          new RegExp(`^input "age" is .*; expected ${dtype}: `),
        );
    });

  it("refuse a number that JSON cannot hold exactly", () => {
    assertRefused(() => fromJson("int64", JSON.parse("9007199254740993"), "x"), /decimal string/);
    assertRefused(() => fromJson("float64", JSON.parse("1e999"), "x"), /float64/);
  });

  it("keep entity keys as exact text", () => {
    assert.equal(keyFromJson("007", "key"), "007");
    assert.equal(keyFromJson(7, "key"), "7");
    assert.equal(keyFromJson(-0, "key"), "0");
    assert.equal(keyFromJson("", "key"), "");
    for (const json of [2 ** 53, 1.5, true, null, undefined, ["7"], "\ud800"])
      assertRefused(() => keyFromJson(json, "key"), /^key is .*; expected an entity key/);
  });
});

describe("timestamps as text", () => {
  it("agree with Date at every millisecond", () => {
    const ms = fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_999 });
    fc.assert(
      fc.property(ms, (each) => {
        assert.equal(
          BigInt(parseTimestamp(new Date(each).toISOString()) ?? 0),
          BigInt(each) * 1000n,
        );
        assert.equal(Date.parse(formatTimestamp(BigInt(each) * 1000n)), each);
      }),
      runsOf(500),
    );
  });

  it("show beyond the years of the domain as well, for messages", () => {
    assert.match(formatTimestamp(timestampMax + 1n), /^\+010000-01-01/);
    assert.equal(formatTimestamp(INT64_MAX), INT64_MAX.toString());
  });
});

describe("values in messages", () => {
  it("are short, and never fail to show", () => {
    const self: unknown[] = [];
    self.push(self);
    const shown: readonly (readonly [unknown, string])[] = [
      [-0, "-0"],
      [NaN, "NaN"],
      [2n ** 70n, "1180591620717411303424"],
      ["a\nb", '"a\\nb"'],
      [null, "null"],
      [undefined, "undefined"],
      [{ n: 1n }, "an object"],
      [self, "an array"],
      [() => 1, "function"],
      [Symbol("s"), "symbol"],
    ];
    for (const [value, text] of shown) assert.equal(showValue(value), text);
    assert.equal(showValue("x".repeat(1000)).length, 60);
  });
});
