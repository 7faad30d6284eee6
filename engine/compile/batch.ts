/**
 * The batch compiler: expressions to polars, built once per process and run on many frames.
 *
 * Aggregates are bound parameters: each becomes a column with one value, so that a feature never
 * uses polars' own mean of whatever rows happen to be in the frame. Building costs about 0.25 ms a
 * node, running a prebuilt program far less.
 */
import pl from "nodejs-polars";
import type { Dtype, Value } from "../language/dtypes.ts";
import { fingerprintOf } from "../fingerprint.ts";
import type { Node } from "../language/node.ts";
import { operationOf, type PolarsExpr } from "../operations/table.ts";
import { createStages, floatCall, mapCall } from "./calls.ts";
import { columnNamed, heightOf, polarsType, sideBySide } from "./frame.ts";

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
  const stages = createStages();
  const build = (node: Node): PolarsExpr => {
    const key = fingerprintOf(node);
    let expression = built.get(key);
    if (expression === undefined) {
      expression = translate(node);
      if (estimateSize(node, sizes) > largestExpression) {
        expression = stages.keep(node, expression);
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
        return stages.call(
          node,
          mapCall(
            node,
            node.inputs.map((input) => build(input.node)),
          ),
        );
      case "operation": {
        const inputs = node.inputs.map(build);
        const { batch } = operationOf(node.operation);
        if (typeof batch !== "function")
          return stages.call(node, floatCall(batch, inputs[0] as PolarsExpr));
        const context = {
          pl,
          dtypes: node.inputs.map((input) => input.dtype),
          values: node.inputs.map((input) => (input.kind === "literal" ? input.value : undefined)),
          literal: typedLiteral,
        };
        return batch(context, ...inputs);
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
      const lazy = await stages.run(bound === undefined ? frame : sideBySide([frame, bound]));
      const kept = keep.map((each) => (typeof each === "string" ? columnNamed(each) : each));
      return lazy.select([...kept, ...selected]).collect();
    },
  };
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
