/**
 * For tests of features: computes them over rows, without Redis and Temporal, as the online service
 * would and as a materialization would.
 */
import type { State } from "../engine/aggregates.ts";
import { aggregateOf } from "../engine/aggregates.ts";
import { compileOnline } from "../engine/compile/online.ts";
import type { Dtype, Value } from "../engine/dtypes.ts";
import { OnceflowError } from "../engine/errors.ts";
import type { Expr } from "../engine/expression.ts";
import { fingerprintOf } from "../engine/fingerprint.ts";
import { type AggregateNode, type ColumnNode, type Node, visit } from "../engine/node.ts";
import type { Shape } from "../engine/node.ts";
import { fromJson, type Json, toJson } from "../engine/wire.ts";

/** Features by any name. */
export type Features = Readonly<Record<string, Expr<Dtype, Shape>>>;

/** Raw columns of a row by name, in the form that requests have; a column left out is null. */
export type Row = Readonly<Record<string, Json>>;

/** Values of a row by feature, in the form that answers have. */
export type Evaluated<F extends Features> = Readonly<Record<keyof F, Json>>;

/**
 * Computes features as the online service does. Aggregates are those of the rows, as if these had
 * been materialized; to take others, pass the rows that they are of.
 *
 * @throws VALUE_INVALID, DEFINITION_INVALID
 */
export function evaluateOnline<F extends Features>(
  features: F,
  rows: readonly Row[],
  { aggregatesOf = rows }: { readonly aggregatesOf?: readonly Row[] } = {},
): Evaluated<F>[] {
  const parts = partsOf(features);
  const bound = aggregateValues(parts, readRows(parts, aggregatesOf));
  const slots = new Map(
    [...parts.columns, ...parts.aggregates].map((node, i) => [fingerprintOf(node), i]),
  );
  const program = compileOnline(parts.nodes, (node) => slots.get(fingerprintOf(node)));
  const values = parts.aggregates.map((node) => bound.get(fingerprintOf(node)) ?? null);
  return readRows(parts, rows).map((row) => toRow<F>(parts, program([...row, ...values])));
}

/**
 * Computes features as a materialization does, on polars; otherwise as `evaluateOnline`.
 *
 * @throws VALUE_INVALID, DEFINITION_INVALID, POLARS_MISSING
 */
export async function evaluateBatch<F extends Features>(
  features: F,
  rows: readonly Row[],
  { aggregatesOf = rows }: { readonly aggregatesOf?: readonly Row[] } = {},
): Promise<Evaluated<F>[]> {
  const { requirePolars } = await import("../store/polars.ts");
  await requirePolars();
  const { runBatch } = await import("./batch.ts");
  const parts = partsOf(features);
  const bound = aggregateValues(parts, readRows(parts, aggregatesOf));
  const table = await runBatch(parts, readRows(parts, rows), bound);
  return table.map((row) => toRow<F>(parts, row));
}

/** What features are made of. */
export interface Parts {
  readonly names: readonly string[];
  readonly nodes: readonly Node[];
  readonly columns: readonly ColumnNode[];
  readonly aggregates: readonly AggregateNode[];
}

function partsOf(features: Features): Parts {
  const columns = new Map<string, ColumnNode>();
  const aggregates = new Map<string, AggregateNode>();
  const nodes = Object.values(features).map(({ node }) => node);
  visit(nodes, (node) => {
    if (node.kind === "invalid")
      throw new OnceflowError("DEFINITION_INVALID", `a feature ${node.problem}`);
    if (node.kind === "column") columns.set(fingerprintOf(node), node);
    if (node.kind === "aggregate") aggregates.set(fingerprintOf(node), node);
  });
  return {
    names: Object.keys(features),
    nodes,
    columns: [...columns.values()],
    aggregates: [...aggregates.values()],
  };
}

function readRows({ columns }: Parts, rows: readonly Row[]): Value[][] {
  return rows.map((row, i) =>
    columns.map(({ name, dtype }) => fromJson(dtype, row[name] ?? null, `rows[${i}].${name}`)),
  );
}

function toRow<F extends Features>(
  { names, nodes }: Parts,
  values: readonly Value[],
): Evaluated<F> {
  return Object.fromEntries(
    names.map((name, i) => [name, toJson(nodes[i]!.dtype, values[i] ?? null)]),
  ) as Evaluated<F>;
}

/** The aggregates of rows by formula, from the states of the single rows, merged in order. */
function aggregateValues(parts: Parts, rows: readonly Value[][]): ReadonlyMap<string, Value> {
  const slots = new Map(parts.columns.map((node, i) => [fingerprintOf(node), i]));
  return new Map(
    parts.aggregates.map((node) => {
      const { dtype } = node.input;
      const { single, empty, merge, value } = aggregateOf(node.aggregate);
      const input = compileOnline([node.input], (each) => slots.get(fingerprintOf(each)));
      let state: State = empty(dtype);
      for (const row of rows) {
        const [own = null] = input(row);
        if (own !== null) state = merge(state, single(own, dtype), dtype);
      }
      return [fingerprintOf(node), value(state, dtype)];
    }),
  );
}
