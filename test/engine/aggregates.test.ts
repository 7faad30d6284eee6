import assert from "node:assert/strict";
import fc from "fast-check";
import { aggregateOf, emptyState, plusZero, type State } from "../../engine/aggregates.ts";
import type { Dtype, Value } from "../../engine/language/dtypes.ts";
import { INT64_MAX, INT64_MIN, toInt64 } from "../../engine/language/int64.ts";
import { decodeState, encodeState } from "../../engine/snapshot.ts";
import { valueOf } from "../support/engine/arbitrary.ts";
import { runsOf } from "../support/property.ts";
import {
  type AggregateCase,
  aggregateCases,
  foldState,
  polarsStates,
  valueOfState,
  viewAggregate,
} from "../support/redis/states.ts";

const runs = 25;
const dtypesTaken: readonly Dtype[] = [...new Set(aggregateCases.map(({ dtype }) => dtype))];
const casesOf = (dtype: Dtype) => aggregateCases.filter((each) => each.dtype === dtype);

/** Doubles of few magnitudes, of many, and of all. */
const floats: fc.Arbitrary<Value> = fc.oneof(
  fc.integer({ min: -1e6, max: 1e6 }).map((cents) => cents / 100),
  fc.integer({ min: 0, max: 40 }).map((x) => 1e9 + x / 8),
  fc
    .tuple(fc.double({ min: -1, max: 1, noNaN: true }), fc.integer({ min: -40, max: 40 }))
    .map(([x, exponent]) => x * 10 ** exponent),
  fc.constantFrom(1e15, -1e15, 0.1, -0.1, 5e-324, -5e-324, Number.MAX_VALUE, -Number.MAX_VALUE),
  fc.constantFrom(-0, 0, NaN, Infinity, -Infinity),
  valueOf("float64"),
);
/** Columns of values like each other, and of awkward ones. */
const columnOf = (dtype: Dtype, maxLength = 60): fc.Arbitrary<Value[]> => {
  const awkward = dtype === "float64" ? floats : valueOf(dtype);
  const alike =
    dtype === "float64"
      ? fc.integer({ min: -1e6, max: 1e6 }).map((cents) => cents / 100)
      : dtype === "int64"
        ? fc.integer({ min: -1000, max: 1000 })
        : awkward;
  return fc.oneof(
    ...[awkward, alike].map((each) => fc.array(fc.option(each, { freq: 6 }), { maxLength })),
  );
};

function merged({ name, dtype }: AggregateCase, states: readonly State[]): State {
  return states.reduce<State>(aggregateOf(name).merge, emptyState(name, dtype));
}

/** Cuts a list at places given as fractions of its length. */
function cut<T>(values: readonly T[], fractions: readonly number[]): T[][] {
  const places = fractions.map((f) => Math.floor(f * (values.length + 1))).sort((a, b) => a - b);
  return [0, ...places].map((from, i) => values.slice(from, places[i]));
}

describe("aggregates", () => {
  for (const dtype of dtypesTaken)
    describe(`of ${dtype}`, () => {
      it("have the same states from polars as folded one value at a time", async () => {
        await fc.assert(
          fc.asyncProperty(columnOf(dtype), async (values) => {
            const states = await polarsStates(dtype, values);
            for (const each of casesOf(dtype))
              assert.deepStrictEqual(states.get(each.name), foldState(each, values), each.name);
          }),
          runsOf(runs),
        );
      });

      it("do not depend on how rows are split into chunks and intervals", async () => {
        const fractions = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 4 });
        await fc.assert(
          fc.asyncProperty(columnOf(dtype), fractions, async (values, places) => {
            const whole = await polarsStates(dtype, values);
            const parts = await Promise.all(
              cut(values, places).map((part) => polarsStates(dtype, part)),
            );
            for (const each of casesOf(dtype)) {
              const states = parts.map((part) => part.get(each.name) ?? []);
              for (const order of [states, states.toReversed()])
                assert.deepStrictEqual(merged(each, order), whole.get(each.name), each.name);
            }
          }),
          runsOf(runs),
        );
      });

      it("merge in any order and grouping, and with no values to themselves", () => {
        fc.assert(
          fc.property(columnOf(dtype), columnOf(dtype), columnOf(dtype), (x, y, z) => {
            for (const each of casesOf(dtype)) {
              const { merge } = aggregateOf(each.name);
              const none = emptyState(each.name, dtype);
              const [a, b, c] = [foldState(each, x), foldState(each, y), foldState(each, z)];
              assert.deepStrictEqual(merge(merge(a, b), c), merge(a, merge(b, c)));
              assert.deepStrictEqual(merge(a, b), merge(b, a));
              assert.deepStrictEqual(merge(none, a), a);
              assert.deepStrictEqual(merge(a, none), a);
            }
          }),
          runsOf(runs),
        );
      });

      it("keep every state exact as text", async () => {
        await fc.assert(
          fc.asyncProperty(fc.array(fc.option(valueOf(dtype))), async (values) => {
            const states = await polarsStates(dtype, values);
            for (const each of casesOf(dtype))
              for (const state of [states.get(each.name) ?? [], foldState(each, values)]) {
                const aggregate = viewAggregate(each);
                assert.deepStrictEqual(
                  decodeState(aggregate, encodeState(aggregate, state)),
                  state,
                );
              }
          }),
          runsOf(runs),
        );
      });
    });

  const [inf, max] = [Infinity, Number.MAX_VALUE];
  const awkward: readonly (readonly [
    dtype: Dtype,
    values: readonly Value[],
    wanted: Readonly<Partial<Record<string, Value>>>,
  ])[] = [
    ["float64", [], { count: 0, sum: 0, mean: null, var: null, std: null, min: null, max: null }],
    ["float64", [null, null], { count: 0, sum: 0, mean: null, var: null, min: null, max: null }],
    [
      "float64",
      [null, 5, null],
      { count: 1, sum: 5, mean: 5, var: null, std: null, min: 5, max: 5 },
    ],
    ["float64", [3, 3], { var: 0, std: 0 }],
    ["float64", [-0], { count: 1, sum: 0, mean: 0, min: 0, max: 0 }],
    ["float64", [0, -0], { sum: 0, mean: 0, min: 0, max: 0 }],
    ["float64", [NaN], { count: 1, sum: NaN, mean: NaN, var: null, min: NaN, max: NaN }],
    ["float64", [NaN, 1], { count: 2, sum: NaN, mean: NaN, var: NaN, std: NaN, min: 1, max: 1 }],
    ["float64", [1, NaN, null], { sum: NaN, mean: NaN, var: NaN, min: 1, max: 1 }],
    ["float64", [NaN, NaN], { min: NaN, max: NaN }],
    ["float64", [inf], { sum: inf, mean: inf, var: null, min: inf, max: inf }],
    ["float64", [inf, 5], { sum: inf, mean: inf, var: NaN, std: NaN, min: 5, max: inf }],
    ["float64", [5, -inf, 6, 7], { sum: -inf, mean: -inf, var: NaN, min: -inf, max: 7 }],
    ["float64", [inf, inf], { sum: inf, mean: inf, var: NaN, min: inf, max: inf }],
    ["float64", [inf, -inf], { sum: NaN, mean: NaN, var: NaN, min: -inf, max: inf }],
    ["float64", [1e308, -1e308], { sum: 0, mean: 0, var: inf, std: inf, min: -1e308 }],
    ["float64", [5e-324, 5e-324], { sum: 1e-323, mean: 5e-324, var: 0 }],
    // Sums that leave the doubles in the middle alone, and those that lie a half or less beyond them.
    ["float64", [max, max, -max], { sum: max, min: -max, max, var: inf }],
    ["float64", [max, max], { sum: inf, mean: max, var: 0, std: 0, min: max, max }],
    ["float64", [max, max, 5e-324, -max, -max], { sum: 5e-324, mean: 0, var: inf }],
    ["float64", [max, 2 ** 970], { sum: inf }],
    ["float64", [max, 2 ** 970, -5e-324], { sum: max }],
    ["float64", [-max, -(2 ** 970)], { sum: -inf }],
    ["float64", [max, -inf], { sum: -inf, mean: -inf, var: NaN, min: -inf, max }],
    ["float64", [1, 2 ** 53, 1, -(2 ** 53)], { sum: 2, mean: 0.5 }],
    ["float64", [7], { count: 1, sum: 7, mean: 7, var: null, std: null, min: 7, max: 7 }],
    ["int64", [], { count: 0, sum: 0, mean: null, var: null, std: null, min: null, max: null }],
    ["int64", [2n ** 53n + 1n, 1, null], { sum: 2n ** 53n + 2n, min: 1, max: 2n ** 53n + 1n }],
    ["int64", [INT64_MAX, 1], { count: 2, sum: null, max: INT64_MAX }],
    ["int64", [INT64_MIN, -1], { sum: null, min: INT64_MIN }],
    ["int64", [INT64_MAX, INT64_MAX, INT64_MIN, INT64_MIN], { sum: -2 }],
    [
      "int64",
      [INT64_MAX, INT64_MIN],
      { sum: -1, mean: -0.5, var: 2 ** 127, std: Math.sqrt(2 ** 127) },
    ],
    ["int64", [INT64_MIN, INT64_MAX], { min: INT64_MIN, max: INT64_MAX }],
    ["int64", [INT64_MIN, -1, 1], { sum: INT64_MIN, min: INT64_MIN, max: 1 }],
    ["int64", [INT64_MAX, 1, -1], { sum: INT64_MAX, max: INT64_MAX }],
    ["int64", [INT64_MIN, INT64_MIN], { sum: null, mean: -(2 ** 63), var: 0, std: 0 }],
    ["int64", [INT64_MAX], { sum: INT64_MAX, mean: 2 ** 63, var: null, std: null }],
    ["int64", [null, null], { count: 0, sum: 0, mean: null, var: null, min: null, max: null }],
    ["int64", [7, 7], { count: 2, sum: 14, mean: 7, var: 0, std: 0, min: 7, max: 7 }],
    ["timestamp", [5, -5, null], { count: 2, min: -5, max: 5 }],
    ["string", ["", null, "a"], { count: 2 }],
    ["bool", [false, null], { count: 1 }],
    ["list_float64", [[], null], { count: 1 }],
  ];
  for (const [dtype, values, wanted] of awkward)
    it(`of ${dtype} [${values.map((v) => (Object.is(v, -0) ? "-0" : String(v))).join(", ")}] are as written down`, async () => {
      const whole = await polarsStates(dtype, values);
      const rows = await Promise.all(values.map((value) => polarsStates(dtype, [value])));
      for (const each of casesOf(dtype)) {
        const want = wanted[each.name];
        if (want === undefined) continue;
        const ways = {
          polars: whole.get(each.name) ?? [],
          folded: foldState(each, values),
          "merged row by row": merged(
            each,
            rows.map((states) => states.get(each.name) ?? []),
          ),
        };
        for (const [way, state] of Object.entries(ways))
          assert.deepStrictEqual(valueOfState(each, state), want, `${each.name}, ${way}`);
      }
    });

  for (const dtype of ["float64", "int64", "timestamp"] as const)
    it(`of ${dtype} are those of whole numbers of any size, for any values, order, split and chunks`, async () => {
      const fractions = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 4 });
      await fc.assert(
        fc.asyncProperty(
          hardColumnOf(dtype).chain((values) =>
            fc.tuple(
              fc.constant(values),
              fc.shuffledSubarray(values, { minLength: values.length }),
            ),
          ),
          fractions,
          fractions,
          async ([values, shuffled], intervals, chunks) => {
            const parts = await Promise.all(
              cut(shuffled, intervals).map((part) => polarsStates(dtype, ...cut(part, chunks))),
            );
            const wanted = resultsOf(dtype, values);
            for (const each of casesOf(dtype)) {
              const states = parts.map((part) => part.get(each.name) ?? []);
              assert.deepStrictEqual(
                valueOfState(each, merged(each, states)),
                wanted[each.name],
                each.name,
              );
            }
          },
        ),
        runsOf(4 * runs),
      );
    });

  it("keep variance where polars and a sum of squares of doubles lose it", async () => {
    for (const [values, want] of [
      [[1e9, 1e9 + 1, 1e9 + 2], 1],
      [Array.from({ length: 1000 }, () => 0.1), 0],
      [[1e300, -1e300, 1e-300], 1e600],
      [[4e-324, 8e-324], 0],
    ] as const) {
      const states = await polarsStates("float64", values);
      assert.equal(valueOfState({ name: "var", dtype: "float64" }, states.get("var") ?? []), want);
    }
  });
});

/** Columns that go wrong where sums are rounded on the way, or leave their range. */
function hardColumnOf(dtype: "float64" | "int64" | "timestamp"): fc.Arbitrary<Value[]> {
  const listOf = (each: fc.Arbitrary<Value>) =>
    fc.array(fc.option(each, { freq: 8 }), { maxLength: 40 });
  if (dtype !== "float64") {
    const edges = dtype === "int64" ? [INT64_MAX, INT64_MIN, INT64_MAX - 1n, INT64_MIN + 1n] : [];
    const any = valueOf(dtype);
    return fc.oneof(
      listOf(fc.oneof(any, fc.constantFrom<Value>(...edges, 0, 1, -1))),
      listOf(fc.integer({ min: -(2 ** 31) - 3, max: 2 ** 31 + 3 })),
      any.map((value) => Array<Value>(20).fill(value)),
    );
  }
  const decades = fc
    .tuple(fc.double({ min: -1, max: 1, noNaN: true }), fc.integer({ min: -12, max: 12 }))
    .map(([x, exponent]) => x * 10 ** exponent);
  const subnormal = fc.integer().map((x) => x * Number.MIN_VALUE);
  const huge = fc.double({ min: 1e307, noDefaultInfinity: true, noNaN: true });
  const cents = fc.integer({ min: -1e6, max: 1e6 }).map((x) => x / 100);
  const special = fc.constantFrom(NaN, Infinity, -Infinity, -0, 0);
  const cancelling = fc
    .tuple(
      fc.array(fc.oneof(decades, huge, subnormal), { maxLength: 15 }),
      fc.array(cents, { maxLength: 8 }),
    )
    .map(([large, small]): Value[] => [...large, ...small, ...large.map((x) => -x)]);
  return fc.oneof(
    ...[decades, subnormal, huge, cents, floats].map(listOf),
    listOf(fc.oneof(subnormal, huge, fc.constantFrom(Number.MAX_VALUE, -Number.MAX_VALUE))),
    listOf(fc.oneof({ arbitrary: decades, weight: 9 }, { arbitrary: special, weight: 1 })),
    cancelling,
    fc.double().map((value) => Array<Value>(20).fill(value)),
  );
}

/** What every aggregate is of these values, by fractions of whole numbers that are rounded once. */
function resultsOf(dtype: Dtype, values: readonly Value[]): Readonly<Record<string, Value>> {
  const given = values.filter((value) => value !== null) as (number | bigint)[];
  const numbers = given.filter((value) => !Number.isNaN(value));
  const least = numbers.reduce((a, b) => (b < a ? b : a), numbers[0] ?? given[0] ?? 0);
  const greatest = numbers.reduce((a, b) => (b > a ? b : a), numbers[0] ?? given[0] ?? 0);
  const extremes = {
    count: given.length,
    min: given.length === 0 ? null : plusZero(least),
    max: given.length === 0 ? null : plusZero(greatest),
  };
  const isFloat = dtype === "float64";
  const finite = isFloat ? given.filter(Number.isFinite) : given;
  const units = finite.map((value) => (isFloat ? wholeUnits(Number(value)) : BigInt(value)));
  const scale = isFloat ? 1n << 1074n : 1n;
  const n = BigInt(units.length);
  const sum = units.reduce((a, b) => a + b, 0n);
  // Of n · x − Σx the squares add up to n² times the squared distances from the mean.
  const spread = units.reduce((total, each) => total + (n * each - sum) ** 2n, 0n);
  if (finite.length < given.length) {
    // Doubles say what infinities and NaN come to.
    const special = given.reduce<number>((a, b) => a + (Number.isFinite(b) ? 0 : Number(b)), 0);
    const spreads = given.length < 2 ? null : NaN;
    return { ...extremes, sum: special, mean: special, var: spreads, std: spreads };
  }
  const variance = n < 2n ? null : nearest(spread, n * n * (n - 1n) * scale * scale);
  return {
    ...extremes,
    sum: isFloat ? nearest(sum, scale) : toInt64(sum),
    mean: n === 0n ? null : nearest(sum, n * scale),
    var: variance,
    std: variance === null ? null : Math.sqrt(variance),
  };
}

/** A double as a count of 2^-1074. */
function wholeUnits(x: number): bigint {
  let [rest, exponent] = [x, 0];
  while (!Number.isInteger(rest)) [rest, exponent] = [rest * 2, exponent - 1];
  return (BigInt(rest) << 1074n) >> BigInt(-exponent);
}

/** The double nearest to a fraction, found by bisection over the doubles. */
function nearest(numerator: bigint, denominator: bigint): number {
  if (numerator < 0n) return -nearest(-numerator, denominator);
  const bits = new BigUint64Array(1);
  const double = new Float64Array(bits.buffer);
  const doubleOf = (place: bigint): number => {
    bits[0] = place;
    return double[0] ?? 0;
  };
  const one = 1n << 1074n;
  // Infinity stands where the next double would be.
  const unitsAt = (place: bigint) =>
    doubleOf(place) === Infinity ? one << 1024n : wholeUnits(doubleOf(place));
  const isAtMost = (place: bigint) => unitsAt(place) * denominator <= numerator * one;
  let [low, high] = [0n, 0x7ff0_0000_0000_0000n];
  if (isAtMost(high)) return Infinity;
  while (high - low > 1n) {
    const middle = (low + high) / 2n;
    if (isAtMost(middle)) low = middle;
    else high = middle;
  }
  const twice = 2n * numerator * one;
  const between = (unitsAt(low) + unitsAt(high)) * denominator;
  if (twice === between) return doubleOf(low % 2n === 0n ? low : high);
  return doubleOf(twice < between ? low : high);
}
