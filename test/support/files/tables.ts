/** Source files of values of every dtype, written as others would write them. */
import type pl from "nodejs-polars";
import polars from "nodejs-polars";
import { toSeries } from "../../../engine/compile/frame.ts";
import type { Dtype, Value } from "../../../engine/language/dtypes.ts";

/** A column of a file. */
export interface TableColumn {
  readonly name: string;
  readonly dtype: Dtype;
  readonly values: readonly Value[];
}

/** The text of a CSV file; CSV holds no lists. */
export function csvOf(columns: readonly TableColumn[]): string {
  const rows = (columns[0]?.values ?? []).map((_, row) =>
    columns.map(({ dtype, values }) => cellOf(dtype, values[row] ?? null)).join(","),
  );
  return [columns.map(({ name }) => name).join(","), ...rows].map((line) => `${line}\n`).join("");
}

function cellOf(dtype: Dtype, value: Value): string {
  if (value === null) return "";
  if (dtype === "string") return `"${String(value).replaceAll('"', '""')}"`;
  if (dtype === "timestamp") return isoOf(BigInt(value as number | bigint));
  return Object.is(value, -0) ? "-0" : String(value);
}

/** ISO 8601 with six decimals. */
function isoOf(us: bigint): string {
  const micros = ((us % 1000n) + 1000n) % 1000n;
  const ms = new Date(Number((us - micros) / 1000n)).toISOString();
  return ms.replace("Z", `${micros.toString().padStart(3, "0")}Z`);
}

/** Writes a parquet file in row groups of a few rows. */
export async function writeParquet(
  path: string,
  columns: readonly TableColumn[],
  rowGroupSize: number,
): Promise<void> {
  const frame: pl.DataFrame = polars.DataFrame(
    columns.map(({ name, dtype, values }) => toSeries(name, dtype, values)),
  );
  await frame.lazy().sinkParquet(path, { rowGroupSize }).collect();
}
