/** Writes frames as CSV for people and other tools. */
import pl from "nodejs-polars";
import { dtypeOf, lazyOf, toColumns, toSeries } from "../../engine/compile/frame.ts";
import { toJson } from "../../engine/wire.ts";

/**
 * What a spreadsheet would run, as patterns that JavaScript and polars read alike, and what stands
 * in its place: with a ' before it, it is text. Whoever reads with another separator than the comma
 * begins a cell behind each.
 */
const escapes = [
  // A sign of a formula, of full width too, at the beginning or behind a separator.
  ["(^|[;|\\t\\r\\n])( *)([=+@＝＋－＠-])", "${1}${2}'${3}"],
  // What some programs drop before they look at the rest.
  ["(^[\\t\\r\\n])", "'${1}"],
] as const;

/**
 * A frame as CSV in UTF-8, with a header, comma-separated.
 *
 * | dtype        | text                                                                           |
 * | ------------ | ------------------------------------------------------------------------------ |
 * | bool         | true, false                                                                    |
 * | int64        | decimal, exact                                                                 |
 * | float64      | shortest text that reads back as the same double; NaN, Infinity, -Infinity, -0.0 |
 * | string       | as it is, quoted where it must be; a ' stands before what a spreadsheet would run |
 * | timestamp    | 2026-01-31T12:00:00.000000Z                                                    |
 * | list_float64 | a JSON array                                                                   |
 *
 * In texts and in names of columns a ' stands before = + - @ where they begin the cell, or come
 * after a semicolon, a bar, a tab or a line end, blanks between or not; and before a tab or a line
 * end that begins the cell.
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
    if (dtypes[i] !== "string") return column;
    return escapes
      .reduce((text, [pattern, shown]) => text.str.replaceAll(pattern, shown), column)
      .alias(name);
  });
  const text = lazyOf(frame)
    .select(...expressions)
    .collectSync();
  for (const [i, column] of columns.entries())
    if (dtypes[i] === "list_float64") text.replaceAtIdx(i, listsToText(column));
  const rows = text.writeCSV({
    datetimeFormat: "%Y-%m-%dT%H:%M:%S%.6fZ",
    includeHeader: false,
  });
  const header = columns.map(({ name }) => headerCell(name)).join(",");
  return Buffer.concat([Buffer.from(`${header}\n`), rows]);
}

function headerCell(name: string): string {
  const cell = escapes.reduce(
    (text, [pattern, shown]) =>
      text.replaceAll(new RegExp(pattern, "g"), shown.replaceAll(/[{}]/g, "")),
    name,
  );
  return cell === "" || /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}

function listsToText(series: pl.Series): pl.Series {
  const [column] = toColumns(pl.DataFrame([series]));
  if (column?.dtype !== "list_float64") return series;
  const texts = column.data.map((list, row) =>
    column.nulls?.[row] === 1 ? null : JSON.stringify(toJson("list_float64", list)),
  );
  return toSeries(series.name, "string", texts);
}
