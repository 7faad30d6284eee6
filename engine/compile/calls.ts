/**
 * What batch computes in JavaScript: functions of the user's, and those of the mathematical library,
 * which no two libraries round alike. Their inputs leave polars as columns, and a column comes back.
 */
import pl from "nodejs-polars";
import { OnceflowError } from "../errors.ts";
import { fingerprintOf } from "../fingerprint.ts";
import { inputsOf, type MapNode, type Node } from "../language/node.ts";
import type { InJavaScript, PolarsExpr } from "../operations/table.ts";
import {
  columnNamed,
  compileOverwrite,
  heightOf,
  lazyOf,
  sideBySide,
  toColumns,
  toSeries,
  valueAt,
} from "./frame.ts";
import { callMap } from "./program.ts";

/** A column that is computed in JavaScript. */
interface Call {
  /** What it is computed of, under names of their own. */
  readonly inputs: readonly PolarsExpr[];
  /** A frame of that column alone, of one of the inputs and its height. */
  readonly run: (inputs: pl.DataFrame, height: number) => pl.DataFrame;
}

/** What is added to a frame at one go: columns of polars, each resting on those before, then calls. */
interface Stage {
  readonly columns: PolarsExpr[];
  readonly calls: Call[];
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

    /** The column of a node that JavaScript computes. */
    call(node: Node, compile: (name: string) => Call): PolarsExpr {
      const name = `__call_${fingerprintOf(node)}`;
      stageOf(node).calls.push(compile(name));
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

async function applyCalls(calls: readonly Call[], frame: pl.DataFrame): Promise<pl.LazyDataFrame> {
  const named = calls.flatMap(({ inputs }) => inputs);
  const inputs = await lazyOf(frame).select(named).collect();
  return lazyOf(sideBySide([frame, ...calls.map(({ run }) => run(inputs, heightOf(frame)))]));
}

/** A function of the mathematical library. */
export function floatCall({ overwrite }: InJavaScript, input: PolarsExpr) {
  return (name: string): Call => {
    const given = `${name}_0`;
    return { inputs: [input.alias(given)], run: compileOverwrite(given, name, overwrite) };
  };
}

/** A function of the user's. */
export function mapCall(node: MapNode, inputs: readonly PolarsExpr[]) {
  const call = callMap(node);
  return (name: string): Call => {
    const names = inputs.map((_, i) => `${name}_${i}`);
    return {
      inputs: inputs.map((input, i) => input.alias(names[i] as string)),
      run: (frame, height) => {
        const columns = toColumns(frame, names);
        const values = Array.from({ length: height }, (_, row) => {
          try {
            return call(...columns.map((column) => valueAt(column, row)));
          } catch (error) {
            throw atRow(error, node, row);
          }
        });
        return pl.DataFrame([toSeries(name, node.dtype, values)]);
      },
    };
  };
}

/** The error of a map with its place in the frame, for whoever knows what its rows are. */
function atRow(error: unknown, node: MapNode, row: number): unknown {
  if (!(error instanceof OnceflowError)) return error;
  const { code, message, details, cause } = error;
  return new OnceflowError(code, message, { ...details, node: fingerprintOf(node), row }, cause);
}
