/** The half of `evaluate` that loads polars. */
import pl from "nodejs-polars";
import { type AggregateValues, compileBatch } from "../engine/compile/batch.ts";
import { toColumns, toSeries, valueAt } from "../engine/compile/frame.ts";
import type { Value } from "../engine/language/dtypes.ts";
import type { Parts } from "./feature-inputs.ts";

/** Runs features over rows of the parts' columns; values of the features by row. */
export async function runBatch(
  { names, nodes, columns }: Parts,
  rows: readonly (readonly Value[])[],
  aggregates: AggregateValues,
): Promise<Value[][]> {
  const outputs = nodes.map((node, i) => ({ name: names[i] ?? "", node }));
  const series = columns.map(({ name, dtype }, i) =>
    toSeries(
      name,
      dtype,
      rows.map((row) => row[i] ?? null),
    ),
  );
  const table = await compileBatch(outputs).run(pl.DataFrame(series), aggregates);
  const values = toColumns(table, names);
  return rows.map((_, row) => values.map((column) => valueAt(column, row)));
}
