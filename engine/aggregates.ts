/**
 * The table of aggregates: states that merge, so that the value over any set of intervals comes
 * from the states of the intervals. One row each: dtype rule, how polars makes the parts of a
 * state from a chunk of rows, how one row makes them, how two states merge, and the value.
 *
 * A state is a tuple of values, of the dtypes that `parts` names; null inputs are skipped by all.
 * Variance keeps (n, mean, M2) and merges by the pairwise update of Chan, Golub and LeVeque
 * (1979), never a sum of squares.
 */
import type { Dtype, Int64, Value } from "./language/dtypes.ts";
import { addInt64, toInt64 } from "./language/int64.ts";
import type { DtypeRule, Polars, PolarsExpr } from "./operations/table.ts";

/** Parts of a state, in the order and of the dtypes of `parts`. */
export type State = readonly Value[];

export interface Aggregate {
  readonly spelling: string;
  readonly summary: string;
  readonly dtype: DtypeRule;
  readonly nulls: string;
  readonly nan: string;
  /** Dtypes of the parts of the state, for an input dtype. */
  readonly parts: (input: Dtype) => readonly Dtype[];
  /** One scalar polars expression for each part. */
  readonly batch: (pl: Polars, input: PolarsExpr, dtype: Dtype) => readonly PolarsExpr[];
  /** The state of one value that is not null. */
  readonly single: (value: Value, dtype: Dtype) => State;
  /** The state of no values. */
  readonly empty: (dtype: Dtype) => State;
  readonly merge: (a: State, b: State, dtype: Dtype) => State;
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

/** Which of two zeros comes out depends on the order of rows, so an aggregate is never −0. */
function withoutNegativeZero(value: Value): Value {
  return Object.is(value, -0) ? 0 : value;
}

/** (n, mean, M2): count, mean, and the sum of squared distances from the mean. */
type Moments = readonly [n: number, mean: number, m2: number];

function mergeMoments(a: Moments, b: Moments): Moments {
  const [na, meanA, m2A] = a;
  const [nb, meanB, m2B] = b;
  if (na === 0) return b;
  if (nb === 0) return a;
  const n = na + nb;
  const delta = meanB - meanA;
  if (!Number.isFinite(delta)) {
    const mean = meanA * (na / n) + meanB * (nb / n);
    // No distance from an infinite mean is a number; finite means may lie too far apart for one.
    const isKnown = Number.isFinite(meanA) && Number.isFinite(meanB);
    return [n, mean, isKnown ? Infinity : NaN];
  }
  return [n, meanA + (delta * nb) / n, m2A + m2B + (delta * delta * na * nb) / n];
}

const moments = {
  dtype: numeric("float64"),
  parts: () => ["int64", "float64", "float64"],
  batch: (pl, input) => {
    const x = input.cast(pl.Float64);
    // polars' one-pass variance (n − 1); it is null for fewer than two values, where M2 is 0.
    const m2 = x.var().mul(x.count().cast(pl.Float64).sub(pl.lit(1)));
    return [x.count().cast(pl.Int64), x.mean(), m2];
  },
  single: (value) => [1, Number(value), 0],
  empty: () => [0, null, 0],
  merge: (a, b) => mergeMoments(a as Moments, b as Moments),
} as const satisfies Partial<Aggregate>;

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
  nulls: "nulls are skipped; null if all are",
  nan: "NaN is skipped; NaN if all that is not null is NaN",
  parts: (input) => [input],
  single: (value) => [value],
  empty: () => [null],
  value: ([value = null]) => withoutNegativeZero(value),
} as const satisfies Partial<Aggregate>;

/** Splits an int64 in (high, low) words, whose sums over a chunk cannot overflow. */
const wordSize = 4_294_967_296n;

function sumExactly(high: Value, low: Value): Value {
  return toInt64(BigInt(high as Int64) * wordSize + BigInt(low as Int64));
}

export const aggregates = {
  count: {
    spelling: "count(a)",
    summary: "Number of values that are not null.",
    dtype: () => "int64",
    nulls: "nulls are skipped; 0 if all are",
    nan: "NaN counts",
    parts: () => ["int64"],
    batch: (pl, input) => [input.count().cast(pl.Int64)],
    single: () => [1],
    empty: () => [0],
    merge: ([a = 0], [b = 0]) => [Number(a) + Number(b)],
    value: ([n = 0]) => n,
  },
  sum: {
    spelling: "sum(a)",
    summary: "Sum; int64 exact.",
    dtype: numeric(),
    nulls: "nulls are skipped; 0 if all are; int64: null if the exact sum does not fit in 64 bits",
    nan: "NaN and opposite infinities give NaN",
    parts: (input) => (input === "int64" ? ["int64", "int64"] : ["float64"]),
    batch: (pl, input, dtype) => {
      if (dtype === "float64") return [input.sum()];
      const word = pl.lit(Number(wordSize)).cast(pl.Int64);
      // polars' int64 div floors, so the low word is never negative.
      const high = input.div(word);
      return [high.sum(), input.sub(high.mul(word)).sum()];
    },
    single: (value, dtype) => {
      if (dtype === "float64") return [value];
      const low = BigInt.asUintN(32, BigInt(value as number));
      return [toInt64((BigInt(value as number) - low) / wordSize), Number(low)];
    },
    empty: (dtype) => (dtype === "float64" ? [0] : [0, 0]),
    merge: (a, b, dtype) =>
      dtype === "float64"
        ? [Number(a[0]) + Number(b[0])]
        : [addInt64(a[0] as Int64, b[0] as Int64), addInt64(a[1] as Int64, b[1] as Int64)],
    value: ([first = 0, second = 0], dtype) =>
      dtype === "float64" ? withoutNegativeZero(first) : sumExactly(first, second),
  },
  mean: {
    ...moments,
    spelling: "mean(a)",
    summary: "Arithmetic mean.",
    nulls: "nulls are skipped; null if all are",
    nan: "NaN and opposite infinities give NaN",
    value: ([n, mean = null]) => (n === 0 ? null : withoutNegativeZero(mean)),
  },
  var: {
    ...moments,
    spelling: "variance(a)",
    summary: "Sample variance (n − 1).",
    nulls: "nulls are skipped; null for fewer than two values",
    nan: "NaN and infinities give NaN",
    value: variance,
  },
  std: {
    ...moments,
    spelling: "std(a)",
    summary: "Sample standard deviation (n − 1).",
    nulls: "nulls are skipped; null for fewer than two values",
    nan: "NaN and infinities give NaN",
    value: (state) => {
      const squared = variance(state);
      return squared === null ? null : Math.sqrt(squared);
    },
  },
  min: {
    ...extreme,
    spelling: "min(a)",
    summary: "Least value.",
    batch: (_, input) => [input.min()],
    merge: pick((a, b) => a <= b),
  },
  max: {
    ...extreme,
    spelling: "max(a)",
    summary: "Greatest value.",
    batch: (_, input) => [input.max()],
    merge: pick((a, b) => a >= b),
  },
} as const satisfies Record<string, Aggregate>;

function variance(state: State): number | null {
  const [n, , m2] = state as Moments;
  return n < 2 ? null : m2 / (n - 1);
}

export type AggregateName = keyof typeof aggregates;

/** The row of the table, seen through its interface. */
export function aggregateOf(name: AggregateName): Aggregate {
  return aggregates[name];
}
