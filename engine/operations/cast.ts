/** Casts: one row for each target dtype. */
import type { Dtype, Int64, Value } from "../language/dtypes.ts";
import * as exact from "../language/int64.ts";
import * as scalar from "./scalar.ts";
import { type DtypeRule, type Operation } from "./operation.ts";
import { known } from "./time.ts";

const ofCast = {
  arity: 1,
  promotes: "none",
  propagates: true,
  nulls: "null if the input is",
} as const;

/** A cast takes these dtypes and gives one. */
function castRule(result: Dtype, ...from: readonly Dtype[]): DtypeRule {
  return ([dtype]) =>
    dtype !== undefined && from.includes(dtype) ? result : { expected: from.join(", ") };
}

export const castOperations = {
  to_int64: {
    ...ofCast,
    spelling: "a.cast(int64)",
    summary:
      "Integer of a bool, of a float64 truncated towards 0, or of a timestamp's microseconds.",
    dtype: castRule("int64", "bool", "float64", "int64", "timestamp"),
    nulls: "null if the input is; float64: null for what does not fit in 64 bits",
    nan: "NaN and ±Infinity give null",
    row: ([dtype]) => {
      if (dtype === "bool") return (a: boolean) => (a ? 1 : 0);
      return dtype === "float64" ? exact.float64ToInt64 : (a: Int64) => a;
    },
    code: ([dtype]) => {
      if (dtype === "float64") return undefined;
      return (a) => (dtype === "bool" ? `${a} ? 1 : 0` : `${a}`);
    },
    batch: ({ pl }, a) => a.cast(pl.Int64),
  },
  to_float64: {
    ...ofCast,
    spelling: "a.cast(float64)",
    summary: "Double of a bool or an int64, to the nearest, ties to even.",
    dtype: castRule("float64", "bool", "int64", "float64"),
    nan: "kept",
    row: ([dtype]) => (dtype === "bool" ? (a: boolean) => (a ? 1 : 0) : (a: Int64) => Number(a)),
    code:
      ([dtype]) =>
      (a) =>
        dtype === "bool" ? `${a} ? 1 : 0` : `Number(${a})`,
    batch: ({ pl }, a) => a.cast(pl.Float64),
  },
  to_bool: {
    ...ofCast,
    spelling: "a.cast(bool)",
    summary: "Whether an int64 is not 0.",
    dtype: castRule("bool", "int64", "bool"),
    nan: "does not apply",
    row: ([dtype]) => (dtype === "bool" ? (a: boolean) => a : (a: Int64) => a !== 0),
    batch: ({ pl }, a) => a.cast(pl.Bool),
  },
  to_string: {
    ...ofCast,
    spelling: "a.cast(string)",
    summary: "Decimal text of an int64, or true and false of a bool.",
    dtype: castRule("string", "int64", "bool", "string"),
    nan: "does not apply: float64 has no cast to string",
    row: () => (a: Value) => String(a),
    batch: ({ pl }, a) => a.cast(pl.Utf8),
  },
  to_timestamp: {
    ...ofCast,
    spelling: "a.cast(timestamp)",
    summary: "Timestamp of an int64 of microseconds since 1970 in UTC.",
    dtype: castRule("timestamp", "int64", "timestamp"),
    nulls: "null if the input is, and outside the years 1 to 9999",
    nan: "does not apply",
    row: () => scalar.toTimestamp,
    batch: (c, a) => {
      const { pl, literal, dtypes } = c;
      return dtypes[0] === "timestamp"
        ? known(c, a)
        : pl
            .when(
              a
                .gtEq(literal("int64", scalar.timestampMin))
                .and(a.ltEq(literal("int64", scalar.timestampMax))),
            )
            .then(a)
            .otherwise(literal("int64", null))
            .cast(pl.Datetime("us"));
    },
  },
} as const satisfies Record<string, Operation>;
