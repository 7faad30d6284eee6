/** Equality and order, the same total order of floats in every compiler. */
import type { Dtype, Int64, Value } from "../language/dtypes.ts";
import * as scalar from "./scalar.ts";
import {
  type DtypeRule,
  type Operation,
  type PolarsExpr,
  type RowCode,
  type RowFunction,
} from "./operation.ts";

const isOrdered = (dtype: Dtype | undefined): boolean => dtype !== "list_float64";

const comparisonRule: DtypeRule = (inputs) =>
  inputs.every((dtype) => dtype === inputs[0] && isOrdered(dtype))
    ? "bool"
    : { expected: "two values of one dtype other than list_float64" };
/** Equality by dtype, for values that are not null. */
function equals(dtype: Dtype | undefined): RowFunction {
  return dtype === "float64" ? scalar.equalFloat64 : (a: Value, b: Value) => a === b;
}

/** As `equals`, which NaN makes differ from the operator: it alone is not itself. */
function equalsCode(dtype: Dtype | undefined): RowCode {
  if (dtype !== "float64") return (a, b) => `${a} === ${b}`;
  return (a, b) => `(${a} === ${b} || (${a} !== ${a} && ${b} !== ${b}))`;
}

/** Strict order by dtype, for values that are not null. */
function isLess(dtype: Dtype | undefined): (a: never, b: never) => boolean {
  if (dtype === "float64") return scalar.lessFloat64;
  if (dtype === "string") return scalar.lessString;
  return (a: Int64, b: Int64) => a < b;
}

/** As `isLess`; undefined for strings, whose order takes a loop. */
function isLessCode(dtype: Dtype | undefined): RowCode | undefined {
  if (dtype === "string") return undefined;
  if (dtype !== "float64") return (a, b) => `${a} < ${b}`;
  return (a, b) => `(${a} < ${b} || (${b} !== ${b} && ${a} === ${a}))`;
}

function orderCode(
  dtype: Dtype | undefined,
  codeOf: (less: RowCode) => RowCode,
): RowCode | undefined {
  const less = isLessCode(dtype);
  return less && codeOf(less);
}

const comparison = {
  arity: 2,
  promotes: "common",
  dtype: comparisonRule,
  propagates: true,
  nulls: "null if either is",
  nan: "NaN equals NaN and is greater than every other value; −0 equals 0",
} as const;

/** Candidates of `isIn`, at most: each is an expression of its own. */
const mostCandidates = 10_000;

/** Whether one of the conditions holds. Halved again and again: polars copies what it is called on. */
function anyOf(conditions: readonly PolarsExpr[]): PolarsExpr {
  const [first] = conditions;
  const middle = conditions.length >> 1;
  if (first === undefined || middle === 0) return first as PolarsExpr;
  return anyOf(conditions.slice(0, middle)).or(anyOf(conditions.slice(middle)));
}

export const comparisonOperations = {
  eq: {
    ...comparison,
    spelling: "a.eq(b)",
    summary: "Equal.",
    row: ([dtype]) => equals(dtype),
    code: ([dtype]) => equalsCode(dtype),
    batch: (_, a, b) => a.eq(b),
  },
  ne: {
    ...comparison,
    spelling: "a.ne(b)",
    summary: "Not equal.",
    row: ([dtype]) => {
      const same = equals(dtype) as (a: Value, b: Value) => boolean;
      return (a: Value, b: Value) => !same(a, b);
    },
    code: ([dtype]) => {
      const same = equalsCode(dtype);
      return (a, b) => `!(${same(a, b)})`;
    },
    batch: (_, a, b) => a.neq(b),
  },
  lt: {
    ...comparison,
    spelling: "a.lt(b)",
    summary: "Less.",
    row: ([dtype]) => isLess(dtype),
    code: ([dtype]) => isLessCode(dtype),
    batch: (_, a, b) => a.lt(b),
  },
  lte: {
    ...comparison,
    spelling: "a.lte(b)",
    summary: "Less or equal.",
    row: ([dtype]) => {
      const less = isLess(dtype);
      return (a: never, b: never) => !less(b, a);
    },
    code: ([dtype]) => orderCode(dtype, (less) => (a, b) => `!(${less(b, a)})`),
    batch: (_, a, b) => a.ltEq(b),
  },
  gt: {
    ...comparison,
    spelling: "a.gt(b)",
    summary: "Greater.",
    row: ([dtype]) => {
      const less = isLess(dtype);
      return (a: never, b: never) => less(b, a);
    },
    code: ([dtype]) => orderCode(dtype, (less) => (a, b) => less(b, a)),
    batch: (_, a, b) => a.gt(b),
  },
  gte: {
    ...comparison,
    spelling: "a.gte(b)",
    summary: "Greater or equal.",
    row: ([dtype]) => {
      const less = isLess(dtype);
      return (a: never, b: never) => !less(a, b);
    },
    code: ([dtype]) => orderCode(dtype, (less) => (a, b) => `!(${less(a, b)})`),
    batch: (_, a, b) => a.gtEq(b),
  },
  is_in: {
    ...comparison,
    spelling: "a.isIn([…])",
    summary: "Equal to one of the literals.",
    arity: "variadic",
    literals: {
      from: 1,
      problem: (values) =>
        values.length <= mostCandidates
          ? undefined
          : `lists ${values.length} values in isIn, which takes at most ${mostCandidates}; read them from a column instead.`,
    },
    nulls: "null if the input is",
    row: ([dtype]) => {
      const same = equals(dtype) as (a: Value, b: Value) => boolean;
      return (a: Value, ...candidates: Value[]) => candidates.some((b) => same(a, b));
    },
    code: ([dtype]) => {
      const same = equalsCode(dtype);
      return (a, ...candidates) => candidates.map((b) => same(a, b)).join(" || ");
    },
    batch: (_, a, ...candidates) => anyOf(candidates.map((candidate) => a.eq(candidate))),
  },
} as const satisfies Record<string, Operation>;
