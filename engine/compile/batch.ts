/**
 * The batch compiler: expressions to polars, built once per process and run on many frames.
 *
 * Aggregates are bound parameters: each becomes a column with one value, so that a feature never
 * uses polars' own mean of whatever rows happen to be in the frame. Building costs about 0.25 ms a
 * node, running a prebuilt program far less.
 */
import pl from "nodejs-polars";
import { OnceflowError } from "../errors.ts";
import type { Dtype, Value } from "../language/dtypes.ts";
import { fingerprintOf } from "../fingerprint.ts";
import type { MapNode, Node } from "../language/node.ts";
import { operationOf, type PolarsExpr } from "../operations/table.ts";
import {
  columnNamed,
  heightOf,
  lazyOf,
  polarsType,
  sideBySide,
  toColumns,
  toSeries,
  valueAt,
} from "./frame.ts";
import { callMap } from "./program.ts";

/** A polars frame held in memory. */
export type Frame = pl.DataFrame;

/** A named expression to compute. */
export interface NamedNode {
  readonly name: string;
  readonly node: Node;
}

/** Values of aggregates by the fingerprint of their formula (`fingerprintOf(node)`). */
export type AggregateValues = ReadonlyMap<string, Value>;

export interface BatchProgram {
  /** Source columns that the frame must have. */
  readonly columns: readonly string[];
  /** Aggregates that must be bound. */
  readonly aggregates: readonly Node[];
  /**
   * The outputs as a frame of the same height; `keep` are columns of the frame to carry along, by
   * name, or expressions over them.
   */
  readonly run: (
    frame: Frame,
    aggregates: AggregateValues,
    keep?: readonly (string | PolarsExpr)[],
  ) => Promise<Frame>;
}

/** Compiles named expressions to polars. */
export function compileBatch(outputs: readonly NamedNode[]): BatchProgram {
  const built = new Map<string, PolarsExpr>();
  const sizes = new Map<string, number>();
  const columns = new Set<string>();
  const aggregates = new Map<string, Node>();
  const steps: Step[] = [];
  const build = (node: Node): PolarsExpr => {
    const key = fingerprintOf(node);
    let expression = built.get(key);
    if (expression === undefined) {
      expression = translate(node);
      if (estimateSize(node, sizes) > largestExpression) {
        const name = `__step_${steps.length}`;
        steps.push({ kind: "column", expression: expression.alias(name) });
        expression = pl.col(name);
        sizes.set(key, 1);
      }
      built.set(key, expression);
    }
    return expression;
  };
  const translate = (node: Node): PolarsExpr => {
    switch (node.kind) {
      case "column":
        columns.add(node.name);
        return columnNamed(node.name);
      case "literal":
        return typedLiteral(node.dtype, node.value);
      case "aggregate":
        aggregates.set(fingerprintOf(node), node);
        return pl.col(`__aggregate_${fingerprintOf(node)}`);
      case "map":
        steps.push({
          kind: "map",
          node,
          inputs: node.inputs.map((input) => build(input.node)),
        });
        return pl.col(`__map_${fingerprintOf(node)}`);
      case "operation": {
        const context = {
          pl,
          dtypes: node.inputs.map((input) => input.dtype),
          values: node.inputs.map((input) => (input.kind === "literal" ? input.value : undefined)),
          literal: typedLiteral,
        };
        return operationOf(node.operation).batch(context, ...node.inputs.map(build));
      }
      case "invalid":
        throw new Error(`an invalid node passed the catalogue: ${node.problem}`);
    }
  };
  const selected = outputs.map(({ name, node }) => build(node).alias(name));
  const bind = createBinder(aggregates);
  return {
    columns: [...columns],
    aggregates: [...aggregates.values()],
    run: async (frame, values, keep = []) => {
      const bound = bind(values, heightOf(frame));
      let lazy = lazyOf(bound === undefined ? frame : sideBySide([frame, bound]));
      for (const step of steps) lazy = await applyStep(step, lazy);
      const kept = keep.map((each) => (typeof each === "string" ? columnNamed(each) : each));
      return lazy.select([...kept, ...selected]).collect();
    },
  };
}

/** What is added to the frame before outputs are computed, in this order. */
type Step =
  | { readonly kind: "column"; readonly expression: PolarsExpr }
  | { readonly kind: "map"; readonly node: MapNode; readonly inputs: readonly PolarsExpr[] };

async function applyStep(step: Step, lazy: pl.LazyDataFrame): Promise<pl.LazyDataFrame> {
  if (step.kind === "column") return lazy.withColumns(step.expression);
  // Maps need values in JavaScript: each is computed on the frame so far and added to it.
  const before = await lazy.collect();
  const series = await computeMap(step.node, step.inputs, before);
  return lazyOf(before.withColumn(series));
}

/**
 * To polars an expression is a tree: what it uses twice, it holds and walks twice, so that a formula
 * of a few dozen operations would never end. What is larger becomes a column, and is 1 from there.
 */
const largestExpression = 2_000;

/** How often an operation holds each of its inputs, at most: an int64 sum looks for overflow. */
const usesOfInput = 6;

/** The nodes of a node's expression, about; `sizes` are those of what lies below, by fingerprint. */
function estimateSize(node: Node, sizes: Map<string, number>): number {
  const sizeOf = (input: Node) => sizes.get(fingerprintOf(input)) ?? 1;
  const isTree = node.kind === "operation";
  const size = isTree
    ? node.inputs.reduce((sum, input) => sum + usesOfInput * sizeOf(input), 1)
    : 1;
  sizes.set(fingerprintOf(node), size);
  return size;
}

/**
 * Makes columns with an aggregate's value in every row: with a literal polars takes short cuts that
 * change the last bit (see `spread` in operations/arithmetic.ts). Those of the last values are kept,
 * since chunk after chunk has the same.
 */
function createBinder(aggregates: ReadonlyMap<string, Node>) {
  let kept: { readonly values: AggregateValues; readonly frame: Frame } | undefined;
  return (values: AggregateValues, height: number): Frame | undefined => {
    if (aggregates.size === 0) return undefined;
    if (kept?.values !== values || heightOf(kept.frame) < height) {
      const rows = pl.DataFrame([pl.Series("row", new Uint8Array(height))]);
      const everyRow = columnNamed("row").isNull();
      const bound = [...aggregates].map(([key, node]) => {
        const value = values.get(key);
        if (value === undefined) throw new Error(`aggregate ${key} is not bound`);
        const literal = typedLiteral(node.dtype, value);
        return pl.when(everyRow).then(literal).otherwise(literal).alias(`__aggregate_${key}`);
      });
      kept = { values, frame: rows.select(...bound) };
    }
    return heightOf(kept.frame) === height ? kept.frame : kept.frame.slice(0, height);
  };
}

async function computeMap(node: MapNode, inputs: readonly PolarsExpr[], frame: Frame) {
  const named = inputs.map((input, i) => input.alias(node.inputs[i]?.name ?? ""));
  const table = await lazyOf(frame).select(named).collect();
  const columns = toColumns(
    table,
    node.inputs.map((input) => input.name),
  );
  const call = callMap(node);
  const values = Array.from({ length: heightOf(frame) }, (_, row) => {
    try {
      return call(...columns.map((column) => valueAt(column, row)));
    } catch (error) {
      throw atRow(error, node, row);
    }
  });
  return toSeries(`__map_${fingerprintOf(node)}`, node.dtype, values);
}

/** The error of a map with its place in the frame, for whoever knows what its rows are. */
function atRow(error: unknown, node: MapNode, row: number): unknown {
  if (!(error instanceof OnceflowError)) return error;
  const { code, message, details, cause } = error;
  return new OnceflowError(code, message, { ...details, node: fingerprintOf(node), row }, cause);
}

/** A literal of exactly this dtype and value. */
export function typedLiteral(dtype: Dtype, value: Value): PolarsExpr {
  if (value === null) return pl.lit(null).cast(polarsType(dtype));
  switch (dtype) {
    case "int64":
      // Through text: a JS number becomes Float64, and a negative bigint a wrong UInt64.
      return pl.lit(String(value)).cast(pl.Int64);
    case "timestamp":
      return pl.lit(String(value)).cast(pl.Int64).cast(pl.Datetime("us"));
    case "float64":
    case "bool":
    case "string":
      return pl.lit(value).cast(polarsType(dtype));
    case "list_float64":
      throw new Error("a list has no literal");
  }
}
