/**
 * The table of aggregates: one row each, with its dtype rule, what it takes of a set of values, and
 * its value. A state is made of integers and extremes, and two states merge to exactly that of both
 * sets: order, chunks and intervals cannot move a bit.
 *
 * count, sum, mean and variance are the result over the real numbers, rounded once to the nearest
 * double; std is the square root of that variance. NaN and infinities are counted apart from the
 * sum. Nulls are skipped by all.
 */
import { nearestDouble, unitExponent, unitsOf } from "./exact.ts";
import type { Dtype, Value } from "./language/dtypes.ts";
import { toInt64 } from "./language/int64.ts";
import type { DtypeRule } from "./operations/table.ts";

/**
 * Names the algebra of the states. It is part of every aggregate's fingerprint, so that states of
 * another algebra are never merged with these.
 */
export const algebraVersion = 2;

/** What is taken of the values of a column, all of it exact; the one who takes it may leave out. */
export interface Folds {
  /** Values that are not null. */
  readonly count: number;
  /** Sum of the finite values, in units of the dtype. */
  readonly sum: bigint;
  /** Sum of their squares, in squares of that unit. */
  readonly squares: bigint;
  readonly nans: number;
  readonly positiveInfinities: number;
  readonly negativeInfinities: number;
  /** Null of no values, NaN where all are; a zero is +0. */
  readonly least: Value;
  readonly greatest: Value;
}

/** What of `Folds` costs to take, beside the counts. */
export type Fold = "sum" | "squares" | "extremes";

/** Parts of a state, in the order and of the kinds of `parts`. */
export type State = readonly Value[];
/** A dtype, or an exact whole number of any size: a bigint. */
export type PartKind = Dtype | "exact";

export interface Aggregate {
  readonly spelling: string;
  readonly summary: string;
  readonly dtype: DtypeRule;
  readonly nulls: string;
  readonly nan: string;
  /** What a state needs of the values. */
  readonly needs: readonly Fold[];
  /** Kinds of the parts of the state, for an input dtype. */
  readonly parts: (input: Dtype) => readonly PartKind[];
  readonly state: (folds: Folds, dtype: Dtype) => State;
  readonly merge: (a: State, b: State) => State;
  readonly value: (state: State, dtype: Dtype) => Value;
}

const numeric: (result?: Dtype) => DtypeRule =
  (result) =>
  ([input]) =>
    input === "int64" || input === "float64" ? (result ?? input) : { expected: "int64 or float64" };

const ordered: DtypeRule = ([input]) =>
  input === "int64" || input === "float64" || input === "timestamp"
    ? input
    : { expected: "int64, float64 or timestamp" };

/** Counts of what is no finite number; a state of integers has none of them. */
type Specials = readonly [nans: number, positive: number, negative: number];

const specialParts = (input: Dtype): readonly Dtype[] =>
  input === "float64" ? ["int64", "int64", "int64"] : [];

function specialsOf(folds: Folds, dtype: Dtype): readonly number[] {
  const { nans, positiveInfinities, negativeInfinities } = folds;
  return dtype === "float64" ? [nans, positiveInfinities, negativeInfinities] : [];
}

/** What infinities and NaN make of a sum; undefined where there are none. */
function specialSum([nans = 0, positive = 0, negative = 0]: Specials): number | undefined {
  if (nans > 0 || (positive > 0 && negative > 0)) return NaN;
  if (positive > 0) return Infinity;
  return negative > 0 ? -Infinity : undefined;
}

function addParts(a: State, b: State): State {
  return a.map((part, i) => {
    const other = b[i] ?? 0;
    return typeof part === "bigint" ? part + (other as bigint) : Number(part) + Number(other);
  });
}

type Sums = readonly [sum: bigint, ...specials: Specials];
type Means = readonly [count: number, sum: bigint, ...specials: Specials];
type Moments = readonly [count: number, sum: bigint, squares: bigint, ...specials: Specials];

const moments = {
  dtype: numeric("float64"),
  needs: ["sum", "squares"],
  parts: (input) => ["int64", "exact", "exact", ...specialParts(input)],
  state: (folds, dtype) => [folds.count, folds.sum, folds.squares, ...specialsOf(folds, dtype)],
  merge: addParts,
  nulls: "nulls are skipped; null for fewer than two values",
  nan: "NaN and infinities give NaN",
} as const satisfies Partial<Aggregate>;

/** (n · Σx² − (Σx)²) ÷ (n · (n − 1)), rounded once. */
function variance(state: State, dtype: Dtype): number | null {
  const [count, sum, squares, ...specials] = state as Moments;
  if (count < 2) return null;
  if (specialSum(specials) !== undefined) return NaN;
  const n = BigInt(count);
  return nearestDouble(n * squares - sum * sum, n * (n - 1n), 2 * unitExponent(dtype));
}

/** The lower or the greater of two values; null and NaN give way to anything else. */
function pick(prefersFirst: (a: number, b: number) => boolean) {
  return (a: State, b: State): State => {
    const [x, y] = [a[0] ?? null, b[0] ?? null];
    if (y === null) return a;
    if (x === null) return b;
    // No comparison prefers NaN to b.
    if (Number.isNaN(y)) return a;
    return prefersFirst(x as number, y as number) ? a : b;
  };
}

const extreme = {
  dtype: ordered,
  needs: ["extremes"],
  parts: (input) => [input],
  value: ([value = null]) => value,
  nulls: "nulls are skipped; null if all are",
  nan: "NaN is skipped; NaN if all that is not null is NaN",
} as const satisfies Partial<Aggregate>;

export const aggregates = {
  count: {
    spelling: "count(a)",
    summary: "Number of values that are not null.",
    dtype: () => "int64",
    nulls: "nulls are skipped; 0 if all are",
    nan: "NaN counts",
    needs: [],
    parts: () => ["int64"],
    state: ({ count }) => [count],
    merge: addParts,
    value: ([n = 0]) => n,
  },
  sum: {
    spelling: "sum(a)",
    summary: "Sum; int64 exact, float64 exact and rounded once.",
    dtype: numeric(),
    nulls: "nulls are skipped; 0 if all are; int64: null if the exact sum does not fit in 64 bits",
    nan: "NaN and opposite infinities give NaN",
    needs: ["sum"],
    parts: (input) => ["exact", ...specialParts(input)],
    state: (folds, dtype) => [folds.sum, ...specialsOf(folds, dtype)],
    merge: addParts,
    value: (state, dtype) => {
      const [sum, ...specials] = state as Sums;
      if (dtype === "int64") return toInt64(sum);
      return specialSum(specials) ?? nearestDouble(sum, 1n, unitExponent(dtype));
    },
  },
  mean: {
    spelling: "mean(a)",
    summary: "Arithmetic mean, exact and rounded once.",
    dtype: numeric("float64"),
    nulls: "nulls are skipped; null if all are",
    nan: "NaN and opposite infinities give NaN",
    needs: ["sum"],
    parts: (input) => ["int64", "exact", ...specialParts(input)],
    state: (folds, dtype) => [folds.count, folds.sum, ...specialsOf(folds, dtype)],
    merge: addParts,
    value: (state, dtype) => {
      const [count, sum, ...specials] = state as Means;
      if (count === 0) return null;
      return specialSum(specials) ?? nearestDouble(sum, BigInt(count), unitExponent(dtype));
    },
  },
  var: {
    ...moments,
    spelling: "variance(a)",
    summary: "Sample variance (n − 1), exact and rounded once.",
    value: variance,
  },
  std: {
    ...moments,
    spelling: "std(a)",
    summary: "Sample standard deviation (n − 1): the square root of the variance.",
    value: (state, dtype) => {
      const squared = variance(state, dtype);
      return squared === null ? null : Math.sqrt(squared);
    },
  },
  min: {
    ...extreme,
    spelling: "min(a)",
    summary: "Least value.",
    state: ({ least }) => [least],
    merge: pick((a, b) => a <= b),
  },
  max: {
    ...extreme,
    spelling: "max(a)",
    summary: "Greatest value.",
    state: ({ greatest }) => [greatest],
    merge: pick((a, b) => a >= b),
  },
} as const satisfies Record<string, Aggregate>;

export type AggregateName = keyof typeof aggregates;

/** The row of the table, seen through its interface. */
export function aggregateOf(name: AggregateName): Aggregate {
  return aggregates[name];
}

/** What is taken of no values. */
export const noFolds: Folds = Object.freeze({
  count: 0,
  sum: 0n,
  squares: 0n,
  nans: 0,
  positiveInfinities: 0,
  negativeInfinities: 0,
  least: null,
  greatest: null,
});

/** What is taken of one value that is not null. */
export function foldsOf(value: Value, dtype: Dtype): Folds {
  const own = { ...noFolds, count: 1, least: plusZero(value), greatest: plusZero(value) };
  if (dtype !== "int64" && dtype !== "float64") return own;
  const number = value as number | bigint;
  if (Number.isNaN(number)) return { ...own, nans: 1 };
  if (number === Infinity) return { ...own, positiveInfinities: 1 };
  if (number === -Infinity) return { ...own, negativeInfinities: 1 };
  const sum = unitsOf(number, dtype);
  return { ...own, sum, squares: sum * sum };
}

/** Which of two zeros comes out would depend on the order of rows. */
export function plusZero(value: Value): Value {
  return Object.is(value, -0) ? 0 : value;
}

/** The state of an aggregate over no values. */
export function emptyState(name: AggregateName, dtype: Dtype): State {
  return aggregateOf(name).state(noFolds, dtype);
}

/** The state of an aggregate over one value that is not null. */
export function singleState(name: AggregateName, value: Value, dtype: Dtype): State {
  return aggregateOf(name).state(foldsOf(value, dtype), dtype);
}
