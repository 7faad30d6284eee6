/** Writes frames as CSV for people and other tools. */
import pl from "nodejs-polars";
import { dtypeOf, lazyOf, toColumns, toSeries } from "../../engine/compile/frame.ts";
import { toJson } from "../../engine/wire.ts";

/**
 * A frame as CSV in UTF-8, with a header, comma-separated.
 *
 * | dtype        | text                                                                           |
 * | ------------ | ------------------------------------------------------------------------------ |
 * | bool         | true, false                                                                    |
 * | int64        | decimal, exact                                                                 |
 * | float64      | shortest text that reads back as the same double; NaN, Infinity, -Infinity, -0.0 |
 * | string       | as it is, quoted where it must be; one that begins with = + - @ tab or carriage return gets a ' before it |
 * | timestamp    | 2026-01-31T12:00:00.000000Z                                                    |
 * | list_float64 | a JSON array                                                                   |
 *
 * A null is an empty cell; an empty string is "" in quotes. Readers that ignore the quotes take it
 * for a null, and the ' cannot be told from one that was there: parquet is the exact form.
 */
export function toCsv(frame: pl.DataFrame): Buffer {
  const columns = frame.getColumns();
  const dtypes = columns.map((column) => dtypeOf(column.dtype as pl.DataType));
  const expressions = columns.map(({ name }, i) => {
    const column = pl.col(name);
    if (dtypes[i] === "float64")
      // Spelled as everywhere else on the wire; polars itself writes inf.
      return column.cast(pl.Utf8).str.replace("^(-?)inf$", "${1}Infinity").alias(name);
    // A spreadsheet would run such text as a formula.
    if (dtypes[i] === "string") return column.str.replace("^([=+\\-@\\t\\r])", "'${1}").alias(name);
    return column;
  });
  const text = lazyOf(frame)
    .select(...expressions)
    .collectSync();
  for (const [i, column] of columns.entries())
    if (dtypes[i] === "list_float64") text.replaceAtIdx(i, listsToText(column));
  return text.writeCSV({ datetimeFormat: "%Y-%m-%dT%H:%M:%S%.6fZ" });
}

function listsToText(series: pl.Series): pl.Series {
  const [column] = toColumns(pl.DataFrame([series]));
  if (column?.dtype !== "list_float64") return series;
  const texts = column.data.map((list, row) =>
    column.nulls?.[row] === 1 ? null : JSON.stringify(toJson("list_float64", list)),
  );
  return toSeries(series.name, "string", texts);
}
