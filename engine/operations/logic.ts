/** Boolean logic, nulls and choice. */
import type { Value } from "../language/dtypes.ts";
import { type Operation, rule, sameRule } from "./operation.ts";

const logic = {
  arity: 2,
  promotes: "none",
  dtype: rule("bool", "bool"),
  propagates: false,
  nan: "does not apply",
} as const;
const ofAny = { promotes: "none", propagates: false } as const;

export const logicOperations = {
  and: {
    ...logic,
    spelling: "a.and(b)",
    summary: "Both.",
    nulls: "false if either is false, else null if either is null (Kleene)",
    row: () => (a: Value, b: Value) =>
      a === false || b === false ? false : a === null || b === null ? null : true,
    code: () => (a, b) => `${a} && ${b}`,
    batch: (_, a, b) => a.and(b),
  },
  or: {
    ...logic,
    spelling: "a.or(b)",
    summary: "Either.",
    nulls: "true if either is true, else null if either is null (Kleene)",
    row: () => (a: Value, b: Value) =>
      a === true || b === true ? true : a === null || b === null ? null : false,
    code: () => (a, b) => `${a} || ${b}`,
    batch: (_, a, b) => a.or(b),
  },
  not: {
    ...logic,
    spelling: "a.not()",
    summary: "Not.",
    arity: 1,
    propagates: true,
    nulls: "null if the input is",
    row: () => (a: boolean) => !a,
    code: () => (a) => `!${a}`,
    batch: (_, a) => a.not(),
  },
  is_null: {
    ...ofAny,
    spelling: "a.isNull()",
    summary: "Whether the value is null.",
    arity: 1,
    dtype: () => "bool",
    nulls: "never null",
    nan: "NaN is not null",
    row: () => (a: Value) => a === null,
    code: () => () => "false",
    batch: (_, a) => a.isNull(),
  },
  fill_null: {
    ...ofAny,
    spelling: "a.fillNull(b)",
    summary: "The first value, or the second where the first is null.",
    arity: 2,
    promotes: "common",
    dtype: sameRule,
    nulls: "null if both are",
    nan: "NaN is kept",
    row: () => (a: Value, b: Value) => a ?? b,
    code: () => (a) => `${a}`,
    batch: (_, a, b) => a.fillNull(b),
  },
  when: {
    ...ofAny,
    spelling: "when(c).then(a).otherwise(b)",
    summary: "The second input where the first is true, else the third.",
    arity: 3,
    dtype: ([condition, ...branches]) =>
      condition === "bool" ? sameRule(branches) : { expected: "a bool condition" },
    nulls: "a null condition takes the otherwise branch",
    nan: "kept",
    row: () => (condition: Value, a: Value, b: Value) => (condition === true ? a : b),
    code: () => (condition, a, b) => `${condition} ? ${a} : ${b}`,
    batch: ({ pl }, condition, a, b) => pl.when(condition).then(a).otherwise(b),
  },
} as const satisfies Record<string, Operation>;
