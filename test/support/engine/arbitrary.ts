/** Values of every dtype for tests: those that are known to go wrong, and random ones. */
import fc from "fast-check";
import type { Dtype, Value } from "../../../engine/language/dtypes.ts";
import { INT64_MAX, INT64_MIN, toInt64 } from "../../../engine/language/int64.ts";
import { timestampMax, timestampMin } from "../../../engine/operations/scalar.ts";
import { parseTimestamp } from "../../../engine/wire.ts";

const time = (text: string): Value => parseTimestamp(text) ?? null;

/** Values at the edges of each dtype; null is the last of each. */
export const awkward: Readonly<Record<Dtype, readonly Value[]>> = {
  bool: [true, false, null],
  int64: [
    ...[0, 1, -1, 2, -2, 3, -3, 7, -7, 10, 15, 16, 100, 255, 2 ** 31, 2 ** 32, -(2 ** 32)],
    ...[3_037_000_500, -3_037_000_500, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER],
    ...[2n ** 53n, -(2n ** 53n), 2n ** 53n + 1n, 2n ** 62n, INT64_MAX - 1n, INT64_MAX],
    ...[INT64_MIN + 1n, INT64_MIN, null],
  ],
  float64: [
    ...[0, -0, 1, -1, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 3, -3, 7, 10, 0.1, 0.2, 0.3, 49],
    ...[2.675, 1.005, 0.285, -0.045, 36.45, 0.49999999999999994, 4503599627370497.5, 1e15 + 0.3],
    ...[1e15, 1e16, 1e21, 1e-7, 2 ** 53, 2 ** 53 + 2, -(2 ** 53), 2 ** 63, -(2 ** 63), 2 ** 64],
    ...[9223372036854774784, 1e300, -1e300, Number.MAX_VALUE, Number.MIN_VALUE, -5e-324],
    ...[2.2250738585072014e-308, Math.E, 745.2, -745.2, NaN, Infinity, -Infinity, null],
  ],
  string: [
    ...[
      "",
      " ",
      "a",
      "A",
      "ab",
      "abc",
      "é",
      "e\u0301",
      "\u0301",
      "ß",
      "ẞ",
      "İ",
      "ı",
      "AΣ",
      "ΑΣ",
      "ΣΑΣ Σ",
    ],
    ...[
      "Σ",
      "ς",
      "ŉ",
      "ǰ",
      "ﬁ",
      "Ǆ",
      "ǅ",
      "\u{10400}",
      "\u{1E900}",
      "𝒳",
      "👩‍🚀",
      "🇧🇷",
      "\u0000",
      "\uffff",
    ],
    ...[
      "\ue000",
      "\u{10ffff}",
      "a\nb\r\n",
      '"',
      "\\",
      "`${1}",
      "];process.exit()//",
      "\u2028",
      "\u200b",
    ],
    ...[
      "__proto__",
      "constructor",
      "مرحبا",
      "true",
      "1",
      "-0",
      "NaN",
      "null",
      "ა",
      "Ა",
      "Ꭰ",
      "ꭰ",
      "Ⅷ",
    ],
    ...["ⓐ", "Å", "ͅ", "ΐ", "ᾳ", "ᾼ", "\ua7cb", "\ua7da", "Ɤ", "\u1c89", null],
  ],
  timestamp: [
    ...[timestampMin, timestampMin + 1n, timestampMax - 1n, timestampMax].map(toInt64),
    ...[0, 1, -1, 999, 1000, -999, -1000, -1001, 86_400_000_000, -86_400_000_000, -86_400_000_001],
    ...[
      "1969-12-31T23:59:59.999999Z",
      "1969-12-28T00:00:00Z",
      "1970-01-04T23:59:59.999Z",
      "0001-12-31T23:59:59.999999Z",
      "0004-02-29T12:00:00.000001Z",
      "0099-12-31T00:00:00Z",
      "1582-10-04T00:00:00Z",
      "1582-10-15T00:00:00Z",
      "1900-02-28T23:59:59.999999Z",
      "1900-03-01T00:00:00Z",
      "2000-02-29T23:59:59.999999Z",
      "2024-02-29T00:00:00Z",
      "2038-01-19T03:14:08Z",
      "2262-04-11T23:47:16.854775Z",
      "2262-04-12T00:00:00Z",
      "9999-12-31T00:00:00Z",
    ].map(time),
    null,
  ],
  list_float64: [[], [1, 2, 3], [NaN, -0, Infinity, 5e-324], [0.1], null],
};

const plain: Readonly<Record<Dtype, fc.Arbitrary<Value>>> = {
  bool: fc.boolean(),
  int64: fc.oneof(
    fc.integer({ min: -20, max: 20 }),
    fc.bigInt({ min: INT64_MIN, max: INT64_MAX }).map(toInt64),
    fc.maxSafeInteger().map((x) => x + 0),
  ),
  float64: fc.oneof(
    fc.double(),
    fc.integer({ min: -2000, max: 2000 }).map((x) => x / 8),
    fc.integer({ min: -100_000, max: 100_000 }).map((x) => x / 1000),
  ),
  string: fc.oneof(fc.string({ unit: "binary", maxLength: 6 }), fc.string({ maxLength: 4 })),
  timestamp: fc.bigInt({ min: timestampMin, max: timestampMax }).map(toInt64),
  list_float64: fc.array(fc.double(), { maxLength: 4 }),
};

/** Random values of a dtype, never null. */
export function valueOf(dtype: Dtype): fc.Arbitrary<Value> {
  return plain[dtype];
}

/** Random and awkward values of a dtype, null among them. */
export function anyValueOf(dtype: Dtype): fc.Arbitrary<Value> {
  return fc.oneof(
    { arbitrary: plain[dtype], weight: 3 },
    { arbitrary: fc.constantFrom(...awkward[dtype]), weight: 2 },
  );
}
