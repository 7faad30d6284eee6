/**
 * What batch computes in JavaScript: functions of the user's, and those of the mathematical library,
 * which no two libraries round alike. Their inputs leave polars as columns, and a column comes back.
 */
import type pl from "nodejs-polars";
import { OnceflowError } from "../errors.ts";
import { fingerprintOf } from "../fingerprint.ts";
import { inputsOf, type MapNode, type Node } from "../language/node.ts";
import type { PolarsExpr, RowFunction } from "../operations/table.ts";
import {
  type ColumnData,
  columnNamed,
  heightOf,
  lazyOf,
  mapFloats,
  toColumns,
  toSeries,
  valueAt,
} from "./frame.ts";
import { callMap } from "./program.ts";

/** Makes a column of that name and height of what it may overwrite: columns of the inputs' values. */
type Call = (name: string, inputs: readonly ColumnData[], height: number) => pl.Series;

/** What is added to a frame at one go: columns of polars, each resting on those before, then calls. */
interface Stage {
  readonly columns: PolarsExpr[];
  readonly calls: {
    readonly name: string;
    readonly inputs: readonly PolarsExpr[];
    readonly call: Call;
  }[];
}

/**
 * Collects what is to be added to a frame before outputs are computed of it. Values leave polars by
 * a query, and a query costs more than the values of a small frame: calls that rest on none of each
 * other share one.
 */
export function createStages() {
  const stages: Stage[] = [];
  // By fingerprint, how many calls lie below a node, one above the other: the stage that may read it.
  const depths = new Map<string, number>();
  const depthOf = (node: Node): number => {
    if (node.kind === "aggregate") return 0;
    const key = fingerprintOf(node);
    const depth = depths.get(key) ?? Math.max(0, ...inputsOf(node).map(depthOf));
    depths.set(key, depth);
    return depth;
  };
  const stageOf = (node: Node) => (stages[depthOf(node)] ??= { columns: [], calls: [] });
  return {
    /** The column that an expression of a node is kept in. */
    keep(node: Node, expression: PolarsExpr): PolarsExpr {
      const name = `__kept_${fingerprintOf(node)}`;
      stageOf(node).columns.push(expression.alias(name));
      return columnNamed(name);
    },

    /** The column that a call makes of the inputs of a node. */
    call(node: Node, inputs: readonly PolarsExpr[], call: Call): PolarsExpr {
      const name = `__call_${fingerprintOf(node)}`;
      stageOf(node).calls.push({ name, inputs, call });
      depths.set(fingerprintOf(node), depthOf(node) + 1);
      return columnNamed(name);
    },

    /** The frame with all of these columns. */
    async run(frame: pl.DataFrame): Promise<pl.LazyDataFrame> {
      let lazy = lazyOf(frame);
      for (const { columns, calls } of stages) {
        for (const column of columns) lazy = lazy.withColumns(column);
        if (calls.length > 0) lazy = await applyCalls(calls, await lazy.collect());
      }
      return lazy;
    },
  };
}

async function applyCalls(calls: Stage["calls"], frame: pl.DataFrame): Promise<pl.LazyDataFrame> {
  const named = calls.flatMap(({ inputs }, i) =>
    inputs.map((input, place) => input.alias(`${i}_${place}`)),
  );
  const values = toColumns(await lazyOf(frame).select(named).collect()).values();
  const made = calls.map(({ name, inputs, call }) => {
    const own = Array.from(inputs, () => values.next().value as ColumnData);
    return call(name, own, heightOf(frame));
  });
  return lazyOf(frame.withColumns(...made));
}

/** A function of one double, from the mathematical library. */
export function floatCall(row: RowFunction): Call {
  return (name, [input]) => mapFloats(name, input as ColumnData, row as (x: number) => number);
}

/** A function of the user's. */
export function mapCall(node: MapNode): Call {
  const call = callMap(node);
  return (name, inputs, height) => {
    const values = Array.from({ length: height }, (_, row) => {
      try {
        return call(...inputs.map((column) => valueAt(column, row)));
      } catch (error) {
        throw atRow(error, node, row);
      }
    });
    return toSeries(name, node.dtype, values);
  };
}

/** The error of a map with its place in the frame, for whoever knows what its rows are. */
function atRow(error: unknown, node: MapNode, row: number): unknown {
  if (!(error instanceof OnceflowError)) return error;
  const { code, message, details, cause } = error;
  return new OnceflowError(code, message, { ...details, node: fingerprintOf(node), row }, cause);
}
