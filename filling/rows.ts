/** Rows on their way from source frames to the online store. */
import pl from "nodejs-polars";
import type { View } from "../engine/catalogue.ts";
import { type Frame, typedLiteral } from "../engine/compile/batch.ts";
import {
  type ColumnData as FrameColumn,
  columnNamed,
  heightOf,
  lazyOf,
  toColumns,
  toUtf8,
} from "../engine/compile/frame.ts";
import type { Value } from "../engine/language/dtypes.ts";
import type { PolarsExpr } from "../engine/operations/table.ts";
import type { ColumnData } from "../store/rows/column-data.ts";
import { createRowCodec } from "../store/rows/codec.ts";
import type { Mark } from "../store/rows/version.ts";
import { assertStorable as assertRowsStorable, type RowBatch } from "../store/rows/writer.ts";
import type { RunRef } from "../workflows/contract.ts";
import { intervalOfRun } from "./run-facts.ts";
import { rowColumns } from "./view-program.ts";

/** Event time, known-at and ordinal of a run's rows, as expressions over chunks of its source. */
export function rowColumnsOf(view: View, run: RunRef, startedAtMs: number): PolarsExpr[] {
  const { eventTime } = view.rows;
  const at =
    eventTime === undefined
      ? typedLiteral("timestamp", microseconds(intervalOfRun(view, run).endMs))
      : columnNamed(eventTime);
  return [
    at.alias(rowColumns.eventTime),
    typedLiteral("timestamp", microseconds(startedAtMs)).alias(rowColumns.knownAt),
    columnNamed(rowColumns.ordinal),
  ];
}

function microseconds(ms: number): Value {
  const exact = BigInt(ms) * 1000n;
  return Number.isSafeInteger(Number(exact)) ? Number(exact) : exact;
}

type IntegerColumn = Extract<FrameColumn, { readonly words: Int32Array }>;
type FloatColumn = Extract<FrameColumn, { readonly data: Float64Array }>;

const exactOrdinal = pl.col(rowColumns.ordinal).cast(pl.Float64);

/** Bytes of a row's texts and lists, up to which no row can be too large to store. */
const surelySmall = 512;

/**
 * Whether every row of a chunk could be stored: once it is committed, it must be.
 *
 * @throws VALUE_INVALID, ROW_TOO_LARGE
 */
export async function assertStorable(frame: Frame, view: View): Promise<void> {
  const wide = [
    ...view.rows.key.map((name) => ({ name, dtype: "string" as const })),
    ...view.stores.filter(({ dtype }) => dtype === "string" || dtype === "list_float64"),
  ];
  const sizes = wide.map(({ name, dtype }, i) =>
    (dtype === "string"
      ? columnNamed(name).str.lengths().max().cast(pl.Float64).mul(pl.lit(4))
      : columnNamed(name).lst.lengths().max().cast(pl.Float64).mul(pl.lit(8))
    ).alias(`size_${i}`),
  );
  const found = (await lazyOf(frame).select(sizes).collect()).row(0) as (number | null)[];
  const bytes = found.reduce<number>((sum, size) => sum + (size ?? 0), 0);
  if (bytes <= surelySmall) return;
  const mark = { generation: 0, endMs: 0 };
  assertRowsStorable(await toRowBatch(frame, view, mark));
}

/** The offline rows of one part as a batch for the online store. */
export async function toRowBatch(frame: Frame, view: View, mark: Mark): Promise<RowBatch> {
  const [eventTimes] = toColumns(frame, [rowColumns.eventTime]) as [IntegerColumn];
  const [ordinals] = toColumns(await lazyOf(frame).select(exactOrdinal).collect()) as [FloatColumn];
  return {
    codec: createRowCodec(view.stores),
    count: heightOf(frame),
    keys: view.rows.key.map((key) => toUtf8(frame, key)),
    columns: view.stores.map(({ name, dtype }) => {
      if (dtype !== "string") return toBatchColumn(toColumns(frame, [name])[0] as FrameColumn);
      const { nulls, ...texts } = toUtf8(frame, name);
      return { kind: "utf8", ...texts, nulls: nulls ?? undefined };
    }),
    eventTimesUs: eventTimes.words,
    mark,
    ordinals: ordinals.data,
  };
}

function toBatchColumn(column: FrameColumn): ColumnData {
  const nulls = column.nulls ?? undefined;
  switch (column.dtype) {
    case "bool":
      return { kind: "bools", values: column.data, nulls };
    case "float64":
      return { kind: "floats", values: column.data, nulls };
    case "int64":
    case "timestamp":
      return { kind: "words", words: column.words, nulls };
    case "string":
    case "list_float64":
      return {
        kind: "values",
        get: (row) => (nulls?.[row] === 1 ? null : (column.data[row] ?? null)),
      };
  }
}
