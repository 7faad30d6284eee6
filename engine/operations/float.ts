/** Functions of float64: rounding, and those of the mathematical library. */
import * as scalar from "./scalar.ts";
import { type Operation, rule } from "./operation.ts";

const unaryFloat = {
  arity: 1,
  promotes: "float64",
  dtype: rule("float64", "float64"),
  propagates: true,
  nulls: "null if the input is",
} as const;

export const floatOperations = {
  round: {
    ...unaryFloat,
    spelling: "a.round(decimals)",
    summary: "Rounded to 0 to 15 decimals, ties to the even digit of the scaled value.",
    arity: 2,
    promotes: "none",
    dtype: ([value, decimals]) =>
      value === "float64" && decimals === "int64" ? "float64" : { expected: "float64" },
    literals: {
      from: 1,
      problem: ([decimals]) =>
        typeof decimals === "number" && decimals >= 0 && decimals <= 15
          ? undefined
          : `round takes 0 to 15 decimals, not ${String(decimals)}.`,
    },
    nan: "NaN, ±Infinity and −0 are kept; a value too large to scale stays as it is",
    row: () => scalar.roundFloat64,
    batch: ({ values }, a) => a.round(Number(values[1])),
  },
  floor: {
    ...unaryFloat,
    spelling: "a.floor()",
    summary: "Largest integer not above, as float64.",
    nan: "NaN, ±Infinity and −0 are kept",
    row: () => Math.floor,
    batch: (_, a) => a.floor(),
  },
  ceil: {
    ...unaryFloat,
    spelling: "a.ceil()",
    summary: "Smallest integer not below, as float64.",
    nan: "NaN, ±Infinity and −0 are kept",
    row: () => Math.ceil,
    batch: (_, a) => a.ceil(),
  },
  log: {
    ...unaryFloat,
    spelling: "a.log()",
    summary: "Natural logarithm.",
    nan: "log(0) is −Infinity, log of a negative is NaN",
    version: 2,
    row: () => Math.log,
    batch: {
      overwrite: (values) => {
        for (let i = 0; i < values.length; i++) values[i] = Math.log(values[i] as number);
      },
    },
  },
  exp: {
    ...unaryFloat,
    spelling: "a.exp()",
    summary: "e to the power of the value.",
    nan: "exp(−Infinity) is 0, overflow is Infinity",
    version: 2,
    row: () => Math.exp,
    batch: {
      overwrite: (values) => {
        for (let i = 0; i < values.length; i++) values[i] = Math.exp(values[i] as number);
      },
    },
  },
  is_nan: {
    ...unaryFloat,
    spelling: "a.isNan()",
    summary: "Whether the value is NaN.",
    dtype: rule("float64", "bool"),
    nan: "true for NaN alone",
    row: () => (a: number) => Number.isNaN(a),
    batch: (_, a) => a.isNan(),
  },
} as const satisfies Record<string, Operation>;
