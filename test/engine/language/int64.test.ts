import assert from "node:assert/strict";
import fc from "fast-check";
import type { Int64, Value } from "../../../engine/language/dtypes.ts";
import {
  absInt64,
  addInt64,
  float64ToInt64,
  floorDivInt64,
  INT64_MAX,
  INT64_MIN,
  int64FromWords,
  modInt64,
  mulInt64,
  negInt64,
  parseInt64,
  subInt64,
  toInt64,
} from "../../../engine/language/int64.ts";
import { awkward } from "../../support/engine/arbitrary.ts";
import { runsOf } from "../../support/property.ts";

const edges = awkward.int64.filter((value): value is Int64 => value !== null);
const any: fc.Arbitrary<Int64> = fc.oneof(
  fc.constantFrom(...edges),
  fc.bigInt({ min: INT64_MIN, max: INT64_MAX }).map((x) => toInt64(x) ?? 0),
  fc.integer(),
  fc.maxSafeInteger().map((x) => x + 0),
);

function floorDiv(a: bigint, b: bigint): bigint {
  return a / b - (a % b !== 0n && a < 0n !== b < 0n ? 1n : 0n);
}

/** What the exact result is in the canonical form; null where there is none. */
function canonical(exact: bigint | undefined): Value {
  if (exact === undefined || exact < INT64_MIN || exact > INT64_MAX) return null;
  return Number.isSafeInteger(Number(exact)) ? Number(exact) : exact;
}

type Binary = (a: Int64, b: Int64) => Int64 | null;
const binary: Readonly<
  Record<string, readonly [Binary, (a: bigint, b: bigint) => bigint | undefined]>
> = {
  addInt64: [addInt64, (a, b) => a + b],
  subInt64: [subInt64, (a, b) => a - b],
  mulInt64: [mulInt64, (a, b) => a * b],
  floorDivInt64: [floorDivInt64, (a, b) => (b === 0n ? undefined : floorDiv(a, b))],
  modInt64: [modInt64, (a, b) => (b === 0n ? undefined : a - floorDiv(a, b) * b)],
};
const unary: Readonly<
  Record<string, readonly [(a: Int64) => Int64 | null, (a: bigint) => bigint]>
> = {
  negInt64: [negInt64, (a) => -a],
  absInt64: [absInt64, (a) => (a < 0n ? -a : a)],
};

describe("int64", () => {
  for (const [name, [compute, exact]] of Object.entries(binary))
    it(`${name} is exact, or null where the result does not fit`, () => {
      const check = (a: Int64, b: Int64) =>
        assert.deepStrictEqual(compute(a, b), canonical(exact(BigInt(a), BigInt(b))), `${a}, ${b}`);
      for (const a of edges) for (const b of edges) check(a, b);
      fc.assert(fc.property(any, any, check), runsOf(2000));
    });

  for (const [name, [compute, exact]] of Object.entries(unary))
    it(`${name} is exact, or null where the result does not fit`, () => {
      const check = (a: Int64) =>
        assert.deepStrictEqual(compute(a), canonical(exact(BigInt(a))), String(a));
      edges.forEach(check);
      fc.assert(fc.property(any, check), runsOf(1000));
    });

  it("toInt64 gives the canonical form, or null beyond 64 bits", () => {
    for (const exact of [2n ** 53n - 1n, 2n ** 53n, -(2n ** 53n), INT64_MAX, INT64_MIN, 0n])
      assert.deepStrictEqual(toInt64(exact), canonical(exact));
    assert.equal(toInt64(INT64_MAX + 1n), null);
    assert.equal(toInt64(INT64_MIN - 1n), null);
  });

  it("float64ToInt64 truncates, and gives null for what is no 64-bit integer", () => {
    fc.assert(
      fc.property(fc.double(), (x) => {
        const exact = Number.isFinite(x) ? BigInt(Math.trunc(x)) : undefined;
        assert.deepStrictEqual(float64ToInt64(x), canonical(exact));
      }),
      runsOf(1000),
    );
    assert.deepStrictEqual(float64ToInt64(-0.5), 0);
    assert.equal(float64ToInt64(2 ** 63), null);
    assert.equal(float64ToInt64(-(2 ** 63)), INT64_MIN);
  });

  it("int64FromWords reads what memory holds", () => {
    const data = new BigInt64Array(1);
    const words = new Int32Array(data.buffer);
    fc.assert(
      fc.property(any, (value) => {
        data[0] = BigInt(value);
        assert.deepStrictEqual(int64FromWords(words[0] ?? 0, words[1] ?? 0), value);
      }),
      runsOf(2000),
    );
  });

  it("parseInt64 reads decimal text alone", () => {
    fc.assert(
      fc.property(any, (value) => assert.deepStrictEqual(parseInt64(String(value)), value)),
      runsOf(100),
    );
    for (const text of ["", "-", "1.0", "+1", "1e3", " 1", "0x1", "9223372036854775808"])
      assert.equal(parseInt64(text), null, text);
  });
});
