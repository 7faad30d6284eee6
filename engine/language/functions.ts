/** The functions that features are written with, beside the methods of `Expr`. */
import { aggregateOf, type AggregateName } from "../aggregates.ts";
import { didYouMean } from "../errors.ts";
import { invalidNode, literal, operationNode, promote } from "./build.ts";
import { type ColumnType, type Dtype, type Int64, isColumnType } from "./dtypes.ts";
import {
  type Column,
  Expr,
  invalid,
  isExpr,
  type Joined,
  type LiteralOf,
  type Numeric,
  type OperandDtype,
  type OperandShape,
  toNode,
  type Wider,
  withUnknown,
} from "./expression.ts";
import { unfinished } from "./unfinished.ts";
import { isRecord } from "./record.ts";
import { showValue } from "../wire.ts";
import type { MapFunction, Shape } from "./node.ts";

/** What `then` takes: an expression, or a literal of a dtype that has them. */
type Branch = Expr | LiteralOf<Dtype>;
/** The dtype of a branch. */
type BranchDtype<V> = V extends boolean
  ? "bool"
  : V extends string
    ? "string"
    : V extends Date
      ? "timestamp"
      : OperandDtype<V>;
/** What `otherwise` takes beside a branch; a number beside any number. */
type OtherBranch<V> = V extends Int64
  ? Expr<Numeric> | Int64
  : Expr<BranchDtype<V>> | LiteralOf<BranchDtype<V>>;
type ChosenDtype<V, U> = V extends Int64 ? Wider<OperandDtype<V>, OperandDtype<U>> : BranchDtype<V>;

/** Chooses between two values of one dtype: `when(c).then(a).otherwise(b)`. */
export function when<S extends Shape>(condition: Expr<"bool", S>) {
  const asked = isExpr(condition)
    ? condition.node
    : invalidNode(
        "bool",
        "column",
        `when(c) takes a bool expression; got ${showValue(condition)}.`,
        [],
      );
  return unfinished({
    then: <V extends Branch>(value: V) =>
      unfinished({
        otherwise: <U extends OtherBranch<V>>(
          other: U,
        ): Expr<ChosenDtype<V, U>, Joined<Joined<S, OperandShape<V>>, OperandShape<U>>> => {
          const branches = promote("common", [toNode(value), toNode(other)]);
          return new Expr(operationNode("when", [asked, ...branches]));
        },
      }),
  });
}

function aggregate<D extends Dtype>(name: AggregateName, input: Expr): Expr<D, "scalar"> {
  const row = aggregateOf(name);
  if (!isExpr(input))
    return invalid(
      "float64" as D,
      `${row.spelling} takes an expression; got ${showValue(input)}.`,
      [],
    );
  const dtype = row.dtype([input.node.dtype]);
  if (typeof dtype !== "string")
    return invalid(
      input.node.dtype as D,
      `${row.spelling} takes ${dtype.expected}; got ${input.node.dtype}.`,
      [input.node],
    );
  return new Expr(
    Object.freeze({
      kind: "aggregate",
      aggregate: name,
      input: input.node,
      dtype,
      shape: "scalar",
    }),
  );
}

/** Number of values that are not null. */
export const count = (input: Expr<Dtype, "column">): Expr<"int64", "scalar"> =>
  aggregate("count", input);
/** Sum; null where an int64 sum does not fit in 64 bits. */
export const sum = <D extends Numeric>(input: Expr<D, "column">): Expr<D, "scalar"> =>
  aggregate("sum", input);
/** Arithmetic mean. */
export const mean = (input: Expr<Numeric, "column">): Expr<"float64", "scalar"> =>
  aggregate("mean", input);
/** Sample variance (n − 1). */
export const variance = (input: Expr<Numeric, "column">): Expr<"float64", "scalar"> =>
  aggregate("var", input);
/** Sample standard deviation (n − 1). */
export const std = (input: Expr<Numeric, "column">): Expr<"float64", "scalar"> =>
  aggregate("std", input);
/** Least value. */
export const min = <D extends Numeric | "timestamp">(input: Expr<D, "column">): Expr<D, "scalar"> =>
  aggregate("min", input);
/** Greatest value. */
export const max = <D extends Numeric | "timestamp">(input: Expr<D, "column">): Expr<D, "scalar"> =>
  aggregate("max", input);

/** What JavaScript a user function gets and gives for a dtype. */
interface JavaScriptTypes {
  bool: boolean | null;
  int64: Int64 | null;
  float64: number | null;
  string: string | null;
  timestamp: Int64 | null;
  list_float64: readonly number[] | null;
}

/**
 * The escape hatch: a pure function per row over named inputs. It runs in every context, is opaque
 * to `explain`, and is slower in batch. Raise `version` whenever the function's meaning changes.
 */
export function map<I extends Record<string, Expr<Dtype, Shape>>, D extends Dtype>(
  name: string,
  options: { readonly version: number },
  inputs: I,
  type: ColumnType<D>,
  compute: (inputs: {
    readonly [K in keyof I]: I[K] extends Expr<infer T> ? JavaScriptTypes[T] : never;
  }) => JavaScriptTypes[D],
): Expr<D, "column"> {
  const version = isRecord(options) ? options.version : NaN;
  const problem = mapProblem(name, version, inputs, type, compute);
  if (problem !== undefined) return invalid("float64" as D, problem, []);
  return new Expr(
    Object.freeze({
      kind: "map",
      name,
      version,
      inputs: Object.freeze(
        Object.entries(inputs).map(([key, { node }]) => Object.freeze({ name: key, node })),
      ),
      dtype: type.dtype,
      shape: "column",
      compute: compute as unknown as MapFunction,
    }),
  );
}

/** What is wrong with the arguments of `map`; undefined for nothing. */
function mapProblem(
  name: unknown,
  version: unknown,
  inputs: unknown,
  type: unknown,
  compute: unknown,
): string | undefined {
  const spelling = "map(name, { version }, inputs, dtype, compute)";
  const got = (expected: string, value: unknown) =>
    `${spelling} takes ${expected}; got ${showValue(value)}.`;
  if (typeof name !== "string" || name === "") return got("a text as its name", name);
  if (!Number.isFinite(version)) return got(`{ version: 1 } second, as map "${name}"`, version);
  const given: unknown = isRecord(inputs) && !isExpr(inputs) ? Object.values(inputs) : inputs;
  if (!Array.isArray(given) || given === inputs || !given.every(isExpr))
    return got(`an object of expressions third, as map "${name}"`, inputs);
  if (!isColumnType(type)) return got(`a dtype such as int64 fourth, as map "${name}"`, type);
  if (typeof compute !== "function") return got(`a function last, as map "${name}"`, compute);
  return undefined;
}

/**
 * One int64 feature of 0 or 1 for each value: `const { seasons_1 } = oneHot(seasons, [1])`.
 *
 * @returns features named `<column>_<value>`; null where the column is
 */
export function oneHot<
  Name extends string,
  D extends "int64" | "string",
  const V extends LiteralOf<D> & (string | number),
>(
  column: Column<Name, D>,
  values: readonly V[],
): Readonly<Record<`${Name}_${V}`, Expr<"int64", "column">>> {
  type Features = Readonly<Record<`${Name}_${V}`, Expr<"int64", "column">>>;
  if (!isExpr(column) || !Array.isArray(values)) {
    const got = `${isExpr(column) ? "a column" : showValue(column)}, ${showValue(values)}`;
    return withUnknown(
      {},
      () => `oneHot(column, values) takes a column and an array; got ${got}.`,
      "used",
    ) as Features;
  }
  const { node } = column;
  const name = node.kind === "column" ? node.name : "one_hot";
  const features = (values as readonly V[]).map((value) => {
    const is = operationNode("eq", [node, literal(value)]);
    const label = typeof value === "string" ? value : showValue(value);
    return [`${name}_${label}`, new Expr(operationNode("to_int64", [is]))] as const;
  });
  const names = features.map(([feature]) => feature);
  return withUnknown(
    Object.fromEntries(features),
    (key) => `reads "${key}", which oneHot does not make of these values.${didYouMean(key, names)}`,
    "feature",
  ) as Features;
}
