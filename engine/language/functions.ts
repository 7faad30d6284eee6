/** The functions that features are written with, beside the methods of `Expr`. */
import { aggregateOf, type AggregateName } from "../aggregates.ts";
import { literal, operationNode, promote } from "./build.ts";
import type { ColumnType, Dtype, Int64 } from "./dtypes.ts";
import {
  type Column,
  Expr,
  invalid,
  type Joined,
  type LiteralOf,
  type Numeric,
  type OperandShape,
  toNode,
} from "./expression.ts";
import type { MapFunction, Shape } from "./node.ts";

/** Chooses between two values of one dtype: `when(c).then(a).otherwise(b)`. */
export function when<S extends Shape>(condition: Expr<"bool", S>) {
  return {
    then: <D extends Dtype, T extends Shape>(value: Expr<D, T>) => ({
      otherwise: <U extends Expr<D> | LiteralOf<D>>(
        other: U,
      ): Expr<D, Joined<Joined<S, T>, OperandShape<U>>> => {
        const branches = promote("common", [value.node, toNode(other)]);
        return new Expr(operationNode("when", [condition.node, ...branches]));
      },
    }),
  };
}

function aggregate<D extends Dtype>(name: AggregateName, input: Expr): Expr<D, "scalar"> {
  const row = aggregateOf(name);
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
  { version }: { readonly version: number },
  inputs: I,
  type: ColumnType<D>,
  compute: (inputs: {
    readonly [K in keyof I]: I[K] extends Expr<infer T> ? JavaScriptTypes[T] : never;
  }) => JavaScriptTypes[D],
): Expr<D, "column"> {
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
  const { node } = column;
  const name = node.kind === "column" ? node.name : "one_hot";
  const features = values.map((value) => {
    const is = operationNode("eq", [node, literal(value)]);
    return [`${name}_${value}`, new Expr(operationNode("to_int64", [is]))] as const;
  });
  return Object.freeze(Object.fromEntries(features)) as Readonly<
    Record<`${Name}_${V}`, Expr<"int64", "column">>
  >;
}
