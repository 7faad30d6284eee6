/**
 * For tests of features: computes them over rows, without Redis and Temporal, as the online service
 * would and as a materialization would.
 */
import type { State } from "../engine/aggregates.ts";
import { aggregateOf, emptyState, singleState } from "../engine/aggregates.ts";
import { compileOnline } from "../engine/compile/online.ts";
import { sourceColumns } from "../engine/language/definitions.ts";
import type { Dtype, Value } from "../engine/language/dtypes.ts";
import { didYouMean, OnceflowError } from "../engine/errors.ts";
import type { Expr } from "../engine/language/expression.ts";
import { fingerprintOf } from "../engine/fingerprint.ts";
import type { ColumnNode, Shape } from "../engine/language/node.ts";
import { columnsBySource } from "../engine/rests-on.ts";
import { fromJson, type Json, toJson } from "../engine/wire.ts";
import { type Parts, partsOf } from "./feature-inputs.ts";

/** Features by any name. */
export type Features = Readonly<Record<string, Expr<Dtype, Shape>>>;

/**
 * Raw columns of a row by name, in the form that requests have. A column left out is null; it must
 * be there where it is declared without nulls and something computed of the row needs it.
 */
export type Row = Readonly<Record<string, Json>>;

/** Values of a row by feature, in the form that answers have. */
export type Evaluated<F extends Features> = Readonly<Record<keyof F, Json>>;

/**
 * Computes features as the online service does. Aggregates are those of the rows, as if these had
 * been materialized; to take others, pass the rows that they are of.
 *
 * @throws UNKNOWN_INPUT, MISSING_INPUT, VALUE_INVALID, DEFINITION_INVALID
 */
export function evaluateOnline<F extends Features>(
  features: F,
  rows: readonly Row[],
  { aggregatesOf = rows }: { readonly aggregatesOf?: readonly Row[] } = {},
): Evaluated<F>[] {
  const parts = partsOf(features);
  const bound = aggregateValues(parts, readRows(parts, aggregatesOf, parts.aggregated));
  const places = new Map(
    [...parts.columns, ...parts.aggregates].map((node, i) => [fingerprintOf(node), i]),
  );
  const program = compileOnline(parts.nodes, (node) => places.get(fingerprintOf(node)));
  const values = parts.aggregates.map((node) => bound.get(fingerprintOf(node)) ?? null);
  return readRows(parts, rows, parts.direct).map((row) =>
    toRow<F>(parts, program([...row, ...values])),
  );
}

/**
 * Computes features as a materialization does, on polars; otherwise as `evaluateOnline`.
 *
 * @throws UNKNOWN_INPUT, MISSING_INPUT, VALUE_INVALID, DEFINITION_INVALID, POLARS_MISSING
 */
export async function evaluateBatch<F extends Features>(
  features: F,
  rows: readonly Row[],
  { aggregatesOf = rows }: { readonly aggregatesOf?: readonly Row[] } = {},
): Promise<Evaluated<F>[]> {
  const { requirePolars } = await import("../engine/compile/polars.ts");
  await requirePolars();
  const { runBatch } = await import("./batch.ts");
  const parts = partsOf(features);
  const bound = aggregateValues(parts, readRows(parts, aggregatesOf, parts.aggregated));
  const table = await runBatch(parts, readRows(parts, rows, parts.direct), bound);
  return table.map((row) => toRow<F>(parts, row));
}

/** The values of rows, refused where the service would refuse them as inputs. */
function readRows(
  { columns }: Parts,
  rows: readonly Row[],
  needed: ReadonlySet<ColumnNode>,
): Value[][] {
  const sources = new Map(
    [...columnsBySource(columns)].map(([name, [column]]) => [name, sourceColumns(column)]),
  );
  const known = new Set([...sources.values()].flat());
  return rows.map((row, i) => {
    for (const name of Object.keys(row))
      if (!known.has(name)) throw unknownColumn(name, i, [...sources.keys()], known);
    return columns.map((column) => readValue(row, i, column, needed.has(column)));
  });
}

function readValue(row: Row, place: number, column: ColumnNode, isNeeded: boolean): Value {
  const { name, source, dtype, nullable } = column;
  const where = `rows[${place}].${name}`;
  const isThere = Object.hasOwn(row, name) && row[name] !== undefined;
  const value = isThere ? fromJson(dtype, row[name], where) : null;
  if (value !== null || nullable || !(isThere || isNeeded)) return value;
  throw new OnceflowError(
    isThere ? "VALUE_INVALID" : "MISSING_INPUT",
    `${where} is ${isThere ? "null" : "left out"}, and column ${source}.${name} is declared without nulls; give ${dtype === "int64" ? "an" : "a"} ${dtype}.`,
    { where, dtype },
  );
}

function unknownColumn(
  name: string,
  place: number,
  sources: readonly string[],
  known: Iterable<string>,
): OnceflowError {
  return new OnceflowError(
    "UNKNOWN_INPUT",
    `rows[${place}].${name}: input "${name}" is no column of ${sources.map((source) => `source "${source}"`).join(" or ") || "a source that the features read"}.${didYouMean(name, known)}`,
    { input: name, where: `rows[${place}].${name}` },
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
  const places = new Map(parts.columns.map((node, i) => [fingerprintOf(node), i]));
  return new Map(
    parts.aggregates.map((node) => {
      const { dtype } = node.input;
      const { merge, value } = aggregateOf(node.aggregate);
      const input = compileOnline([node.input], (each) => places.get(fingerprintOf(each)));
      let state: State = emptyState(node.aggregate, dtype);
      for (const row of rows) {
        const [own = null] = input(row);
        if (own !== null) state = merge(state, singleState(node.aggregate, own, dtype));
      }
      return [fingerprintOf(node), value(state, dtype)];
    }),
  );
}
