/** Arithmetic on int64 and float64. int64 never wraps: what does not fit is null. */
import type { Dtype, Int64 } from "../language/dtypes.ts";
import * as exact from "../language/int64.ts";
import {
  type BatchContext,
  type DtypeRule,
  isFloat,
  type Operation,
  type PolarsExpr,
} from "./operation.ts";

const isNumeric = (dtype: Dtype | undefined): boolean => dtype === "int64" || dtype === "float64";
const numericRule: DtypeRule = (inputs) =>
  inputs.every(isNumeric) ? (inputs[0] ?? "float64") : { expected: "int64 or float64" };
/** The int64 result where `overflowed` does not hold, else null. */
function unlessOverflow({ pl, literal }: BatchContext, overflowed: PolarsExpr, result: PolarsExpr) {
  return pl.when(overflowed).then(literal("int64", null)).otherwise(result);
}

/**
 * Operands of float64 arithmetic, a literal among them spread to a column. With a literal polars
 * takes short cuts that change the last bit or the sign of 0: x / c becomes x × (1 / c), x + 0
 * becomes x, and 0 − x becomes −x.
 */
function spread(
  { pl, values }: BatchContext,
  a: PolarsExpr,
  b: PolarsExpr,
): readonly [PolarsExpr, PolarsExpr] {
  const over = (column: PolarsExpr, literal: PolarsExpr) =>
    pl.when(column.isNull()).then(literal).otherwise(literal);
  if (values[1] !== undefined) return [a, over(a, b)];
  return values[0] === undefined ? [a, b] : [over(b, a), b];
}

const arithmetic = {
  arity: 2,
  promotes: "common",
  dtype: numericRule,
  propagates: true,
  nulls: "null if either is; int64: null if the exact result does not fit in 64 bits",
  nan: "IEEE 754",
} as const;

export const arithmeticOperations = {
  add: {
    ...arithmetic,
    spelling: "a.add(b)",
    summary: "Sum.",
    row: (dtypes) => (isFloat(dtypes) ? (a: number, b: number) => a + b : exact.addInt64),
    code: (dtypes) => (isFloat(dtypes) ? (a, b) => `${a} + ${b}` : undefined),
    batch: (c, a, b) => {
      if (isFloat(c.dtypes)) {
        const [x, y] = spread(c, a, b);
        return x.add(y);
      }
      const sum = a.add(b);
      const zero = c.literal("int64", 0);
      return unlessOverflow(
        c,
        b
          .gtEq(zero)
          .and(sum.lt(a))
          .or(b.lt(zero).and(sum.gt(a))),
        sum,
      );
    },
  },
  sub: {
    ...arithmetic,
    spelling: "a.sub(b)",
    summary: "Difference.",
    row: (dtypes) => (isFloat(dtypes) ? (a: number, b: number) => a - b : exact.subInt64),
    code: (dtypes) => (isFloat(dtypes) ? (a, b) => `${a} - ${b}` : undefined),
    batch: (c, a, b) => {
      if (isFloat(c.dtypes)) {
        const [x, y] = spread(c, a, b);
        return x.sub(y);
      }
      const difference = a.sub(b);
      const zero = c.literal("int64", 0);
      return unlessOverflow(
        c,
        b
          .gtEq(zero)
          .and(difference.gt(a))
          .or(b.lt(zero).and(difference.lt(a))),
        difference,
      );
    },
  },
  mul: {
    ...arithmetic,
    spelling: "a.mul(b)",
    summary: "Product.",
    row: (dtypes) => (isFloat(dtypes) ? (a: number, b: number) => a * b : exact.mulInt64),
    code: (dtypes) => (isFloat(dtypes) ? (a, b) => `${a} * ${b}` : undefined),
    batch: (c, a, b) => {
      const product = a.mul(b);
      if (isFloat(c.dtypes)) return product;
      // polars' int64 div floors, and gives null for a divisor of 0, which `and` turns to false.
      const lost = a.neq(c.literal("int64", 0)).and(product.div(a).neq(b));
      const edge = a.eq(c.literal("int64", -1)).and(b.eq(c.literal("int64", exact.INT64_MIN)));
      return unlessOverflow(c, lost.or(edge), product);
    },
  },
  div: {
    ...arithmetic,
    spelling: "a.div(b)",
    summary: "True division, always float64.",
    promotes: "float64",
    nulls: "null if either is",
    nan: "IEEE 754: 1/0 is Infinity, 0/0 is NaN",
    row: () => (a: number, b: number) => a / b,
    code: () => (a, b) => `${a} / ${b}`,
    batch: (c, a, b) => {
      const [x, y] = spread(c, a, b);
      return x.div(y);
    },
  },
  floor_div: {
    ...arithmetic,
    spelling: "a.floorDiv(b)",
    summary: "Quotient rounded towards −∞.",
    nulls: "null if either is; int64: null for a divisor of 0, and for −2^63 by −1",
    nan: "float64: floor(a / b) by IEEE 754",
    row: (dtypes) =>
      isFloat(dtypes) ? (a: number, b: number) => Math.floor(a / b) : exact.floorDivInt64,
    batch: (c, a, b) => {
      if (isFloat(c.dtypes)) {
        const [x, y] = spread(c, a, b);
        return x.div(y).floor();
      }
      const edge = a.eq(c.literal("int64", exact.INT64_MIN)).and(b.eq(c.literal("int64", -1)));
      return unlessOverflow(c, edge, a.div(b));
    },
  },
  mod: {
    ...arithmetic,
    spelling: "a.mod(b)",
    summary: "Remainder of floorDiv; it has the sign of the divisor.",
    nulls: "null if either is; int64: null for a divisor of 0",
    nan: "float64: a − floor(a / b) × b by IEEE 754",
    row: (dtypes) =>
      isFloat(dtypes) ? (a: number, b: number) => a - Math.floor(a / b) * b : exact.modInt64,
    batch: (c, a, b) => {
      if (!isFloat(c.dtypes)) return a.rem(b);
      const [x, y] = spread(c, a, b);
      return x.sub(x.div(y).floor().mul(y));
    },
  },
  neg: {
    ...arithmetic,
    spelling: "a.neg()",
    summary: "Opposite.",
    arity: 1,
    nulls: "null if the input is; int64: null for −2^63",
    row: (dtypes) => (isFloat(dtypes) ? (a: number) => -a : exact.negInt64),
    batch: (c, a) =>
      isFloat(c.dtypes)
        ? a.mul(c.literal("float64", -1))
        : unlessOverflow(
            c,
            a.eq(c.literal("int64", exact.INT64_MIN)),
            c.literal("int64", 0).sub(a),
          ),
  },
  abs: {
    ...arithmetic,
    spelling: "a.abs()",
    summary: "Distance from 0.",
    arity: 1,
    nulls: "null if the input is; int64: null for −2^63",
    row: (dtypes) => (isFloat(dtypes) ? (a: number) => Math.abs(a) : exact.absInt64),
    batch: (c, a) =>
      isFloat(c.dtypes)
        ? a.abs()
        : unlessOverflow(c, a.eq(c.literal("int64", exact.INT64_MIN)), a.abs()),
  },
  clip: {
    ...arithmetic,
    spelling: "a.clip(low, high)",
    summary: "The value, or the nearer bound where it lies outside; the bounds are literals.",
    arity: 3,
    literals: {
      from: 1,
      problem: ([low, high]) =>
        (low as Int64) <= (high as Int64)
          ? undefined
          : `clip wants low ≤ high, got ${String(low)}, ${String(high)}.`,
    },
    nulls: "null if the input is",
    nan: "NaN is kept",
    row: () => (a: Int64, low: Int64, high: Int64) => (a < low ? low : a > high ? high : a),
    batch: ({ pl, dtypes }, a, low, high) => {
      const clipped = pl.when(a.lt(low)).then(low).when(a.gt(high)).then(high).otherwise(a);
      // NaN is the greatest in polars' order, so it would become the upper bound.
      return isFloat(dtypes) ? pl.when(a.isNan()).then(a).otherwise(clipped) : clipped;
    },
  },
} as const satisfies Record<string, Operation>;
