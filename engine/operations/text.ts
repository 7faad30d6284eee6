/** Operations on strings. */
import * as scalar from "./scalar.ts";
import { type Operation, rule } from "./operation.ts";

const ofStrings = {
  promotes: "none",
  propagates: true,
  nulls: "null if any input is",
  nan: "does not apply",
} as const;

export const textOperations = {
  lower: {
    ...ofStrings,
    spelling: "a.lower()",
    summary:
      "Lower case by Unicode's default mapping, except that Σ is σ also at the end of a word.",
    arity: 1,
    dtype: rule("string", "string"),
    // Whether Σ ends a word is told differently by polars, which forgets ASCII letters before it.
    row: () => (a: string) => a.replaceAll("Σ", "σ").toLowerCase(),
    batch: (_, a) => a.str.replaceAll("Σ", "σ").str.toLowerCase(),
  },
  upper: {
    ...ofStrings,
    spelling: "a.upper()",
    summary: "Upper case by Unicode's default mapping.",
    arity: 1,
    dtype: rule("string", "string"),
    row: () => (a: string) => a.toUpperCase(),
    batch: (_, a) => a.str.toUpperCase(),
  },
  length: {
    ...ofStrings,
    spelling: "a.length()",
    summary: "Number of code points.",
    arity: 1,
    dtype: rule("string", "int64"),
    row: () => scalar.lengthOfString,
    batch: ({ pl }, a) => a.str.lengths().cast(pl.Int64),
  },
  starts_with: {
    ...ofStrings,
    spelling: "a.startsWith(prefix)",
    summary: "Whether the text begins with the literal.",
    arity: 2,
    dtype: rule("string", "bool"),
    literals: { from: 1 },
    row: () => (a: string, prefix: string) => a.startsWith(prefix),
    batch: ({ values }, a) => a.str.startsWith(String(values[1])),
  },
  concat: {
    ...ofStrings,
    spelling: "a.concat(b)",
    summary: "One text after the other.",
    arity: 2,
    dtype: rule("string", "string"),
    row: () => (a: string, b: string) => a + b,
    batch: (_, a, b) => a.add(b),
  },
} as const satisfies Record<string, Operation>;
