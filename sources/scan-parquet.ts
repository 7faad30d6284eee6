/** Reads parquet: the schema is compared first, then the declared columns are decoded. */
import { setImmediate as turn } from "node:timers/promises";
import pl from "nodejs-polars";
import {
  columnNamed,
  columnNamesOf,
  describeType,
  dtypeOf,
  dtypesOf,
  heightOf,
  polarsType,
  sideBySide,
  sliceOf,
  toColumns,
} from "../engine/compile/frame.ts";
import type { Dtype } from "../engine/language/dtypes.ts";
import { messageOf, OnceflowError } from "../engine/errors.ts";
import { cut } from "../engine/words.ts";
import {
  layOut,
  type ParquetFooter,
  readFooter,
  readRowGroup,
  readTrailer,
  type RowGroup,
  trailerBytes,
} from "./parquet-footer.ts";
import { rowsPerFile } from "./ordinal.ts";
import {
  assertColumns,
  type Chunk,
  type ChunkSize,
  declared,
  fault,
  type Input,
  nullsOf,
  openPart,
  project,
  unparsable,
} from "./chunk.ts";
import type { PartBytes } from "./raw-part.ts";

/** Many columns, and long lists, make the rows of a chunk fewer. */
const defaultValues = 3 * 1024 * 1024;
/** Rows of a chunk, at most. */
const chunkRows = 512 * 1024;
/** What one synchronous step decodes, about: a column of a row group is never divided. */
const stepValues = 1024 * 1024;
const stepBytes = 16 * 1024 * 1024;
/** What small row groups are read together up to, beside their rows. */
const batchBytes = 64 * 1024 * 1024;
const batchColumnChunks = 2048;
/** What Node reads into one buffer. */
const maxBytes = 2 ** 31 - 1;
/** Far beyond any real footer: a damaged length must not make us allocate gigabytes. */
const maxFooterBytes = 256 * 1024 * 1024;
/** Read at first from a file's end: most footers are smaller. */
const tailBytes = 64 * 1024;

/**
 * The declared columns of a parquet file, in chunks of rows.
 *
 * Row groups are read one by one, small ones several at once, so memory does not grow with the
 * file. Of a large one a few columns are decoded at a time, and other work goes on in between.
 */
export async function* readParquet(
  input: Input,
  { chunkValues = defaultValues }: ChunkSize,
): AsyncGenerator<Chunk> {
  const part = await openPart(input);
  try {
    const footer = await openFooter(input, part);
    assertColumns(input, [...new Set(footer.columns)]);
    const names = declared(input.source).map(([name]) => name);
    const empty = decode(input, () => {
      const { bytes } = layOut(footer, [], new Set());
      return project(pl.readParquet(bytes, { columns: names }), input.source);
    });
    const dtypes = dtypesOf(empty);
    const types = new Map(columnNamesOf(empty).map((name, i) => [name, dtypes[i]]));
    assertTypes(input, types);
    let firstRow = 0;
    for (const groups of batchesOf(input, footer, chunkValues)) {
      const frame = await readGroups(input, part, footer, groups);
      const rows = heightOf(frame);
      const size = chunkSize(groups, rows, chunkValues);
      for (let from = 0; from < rows; from += size) {
        if (from > 0) await turn();
        const isWhole = size >= rows;
        const rowsOfChunk = isWhole ? frame : sliceOf(frame, from, size);
        yield toChunk(input, rowsOfChunk, types, firstRow + from);
      }
      firstRow += rows;
    }
    if (firstRow !== footer.rows)
      throw damaged(input, `it has ${firstRow} rows, and ${footer.rows} by its footer`);
    // A file without rows still gives one frame, so that its schema is known.
    if (firstRow === 0) yield toChunk(input, empty, types, 0);
  } finally {
    await part.close();
  }
}

async function openFooter(input: Input, part: PartBytes): Promise<ParquetFooter> {
  const size = await part.size();
  if (size < 3 * 4) throw damaged(input, `it has ${size} bytes`);
  let tail = Buffer.allocUnsafe(Math.min(size, tailBytes));
  await read(input, part, size - tail.length, tail);
  const length = decode(input, () => readTrailer(tail.subarray(-trailerBytes), size));
  if (length > maxFooterBytes) throw damaged(input, `its footer would have ${length} bytes`);
  if (length + trailerBytes > tail.length) {
    tail = Buffer.allocUnsafe(length + trailerBytes);
    await read(input, part, size - tail.length, tail);
  }
  const bytes = tail.subarray(-trailerBytes - length, -trailerBytes);
  const footer = decode(input, () => readFooter(bytes, size - trailerBytes - length));
  // So that every ordinal is the row's own.
  if (footer.rows > rowsPerFile) throw damaged(input, `it has ${footer.rows} rows`);
  return footer;
}

/** Fills `into` from `start` on: a file that has become shorter is no longer what its footer says. */
async function read(input: Input, part: PartBytes, start: number, into: Buffer) {
  const length = await part.read(into, start);
  if (length < into.length) throw damaged(input, `it ends at byte ${start + length}`);
}

/** The row groups that have rows, in turn: each alone, or as many as are small together. */
function* batchesOf(
  input: Input,
  footer: ParquetFooter,
  chunkValues: number,
): Generator<RowGroup[]> {
  const wanted = new Set(declared(input.source).map(([name]) => name));
  const maxGroups = Math.max(1, Math.floor(batchColumnChunks / footer.columns.length));
  let batch: RowGroup[] = [];
  let [rows, values, bytes] = [0, 0, 0];
  for (const index of footer.rowGroups.keys()) {
    const group = decode(input, () => readRowGroup(footer, index, wanted));
    if (group.rows === 0) continue;
    const groupBytes = sum(group.chunks, ({ bytes }) => bytes);
    const groupValues = sum(group.chunks, ({ values }) => values);
    if (groupBytes > maxBytes)
      throw fault(
        "SOURCE_CORRUPT",
        input,
        `row group ${index + 1} holds ${groupBytes} bytes of the columns read, and at most 2 GiB are decoded at once`,
        { fix: "Write it in smaller row groups." },
      );
    rows += group.rows;
    values += groupValues;
    bytes += groupBytes;
    const isChunk = rows > chunkRows || values > chunkValues;
    if ((isChunk || bytes > batchBytes || batch.length === maxGroups) && batch.length > 0) {
      yield batch;
      [batch, rows, values, bytes] = [[], group.rows, groupValues, groupBytes];
    }
    batch.push(group);
  }
  if (batch.length > 0) yield batch;
}

/** Decodes the declared columns of row groups, some at a time. */
async function readGroups(
  input: Input,
  part: PartBytes,
  footer: ParquetFooter,
  groups: readonly RowGroup[],
): Promise<pl.DataFrame> {
  const rows = sum(groups, (group) => group.rows);
  const frames: pl.DataFrame[] = [];
  for (const columns of stepsOf(input, groups)) {
    const { bytes, reads } = layOut(footer, groups, new Set(columns));
    for (const { start, into } of reads) await read(input, part, start, into);
    const frame = decode(input, () => pl.readParquet(bytes, { columns }));
    const height = heightOf(frame);
    if (height !== rows) throw damaged(input, `${height} of ${rows} rows are in a row group`);
    frames.push(frame);
  }
  return project(sideBySide(frames), input.source);
}

/** Divides the declared columns into those that are decoded in one step. */
function stepsOf(input: Input, groups: readonly RowGroup[]): string[][] {
  const chunks = groups.flatMap((group) => group.chunks);
  const sizes = new Map(declared(input.source).map(([name]) => [name, { values: 0, bytes: 0 }]));
  for (const { column, values, decodedBytes } of chunks) {
    const size = sizes.get(column);
    if (size === undefined) continue;
    size.values += values;
    size.bytes += decodedBytes;
  }
  const steps: string[][] = [[]];
  let [values, bytes] = [0, 0];
  for (const [name, size] of sizes) {
    values += size.values;
    bytes += size.bytes;
    if ((values > stepValues || bytes > stepBytes) && steps.at(-1)?.length !== 0) {
      steps.push([]);
      ({ values, bytes } = size);
    }
    steps.at(-1)?.push(name);
  }
  return steps;
}

/** Rows of each chunk that row groups of so many rows are handed on in, about equal in size. */
function chunkSize(groups: readonly RowGroup[], rows: number, chunkValues: number): number {
  const values = sum(groups, ({ chunks }) => sum(chunks, (chunk) => chunk.values));
  const chunks = Math.ceil(Math.max(rows / chunkRows, values / chunkValues));
  return Math.max(1, Math.ceil(rows / chunks));
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

/** Widens what was decoded to the dtypes of ours. */
function toChunk(
  input: Input,
  frame: pl.DataFrame,
  types: ReadonlyMap<string, pl.DataType | undefined>,
  firstRow: number,
): Chunk {
  const place = (row: number) => `row ${firstRow + row + 1}`;
  const columns = declared(input.source);
  for (const [index, [name, dtype]] of columns.entries()) {
    const type = types.get(name);
    if (type !== undefined && isExactly(type, dtype)) continue;
    frame.replaceAtIdx(
      index,
      decode(input, () => widen(input, frame.getColumn(name), dtype, place)),
    );
  }
  const times = new Map(
    columns.flatMap(([name, dtype]) => {
      const [column] = dtype === "timestamp" ? toColumns(frame, [name]) : [];
      return column?.dtype === "timestamp" ? [[name, column.data] as const] : [];
    }),
  );
  return { frame: () => frame, nulls: nullsOf(frame), times, firstRow, place };
}

/** Runs polars over a file's bytes: what it throws, panics included, means that they are damaged. */
function decode<T>(input: Input, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    if (cause instanceof OnceflowError) throw cause;
    throw damaged(input, cut(messageOf(cause), 200), cause);
  }
}

function damaged(input: Input, problem: string, cause?: unknown): OnceflowError {
  return fault(
    "SOURCE_CORRUPT",
    input,
    `is no whole parquet file: ${problem}`,
    { fix: "Write it again, under another name, and rename it into place." },
    cause,
  );
}

const smallIntegers = ["Int8", "Int16", "Int32", "UInt8", "UInt16", "UInt32"];

/** Whether a parquet dtype holds values of ours, as it is or widened without loss. */
function isAccepted(type: pl.DataType, dtype: Dtype, isKey: boolean): boolean {
  if (dtypeOf(type) === dtype) return true;
  const variant = type.variant as string;
  const name = describeType(type);
  switch (dtype) {
    case "bool":
      return false;
    case "int64":
      return smallIntegers.includes(variant);
    case "float64":
      return variant === "Float32";
    case "string":
      return (
        variant === "Categorical" ||
        (isKey && [...smallIntegers, "Int64", "UInt64"].includes(variant))
      );
    case "timestamp":
      return variant === "Datetime";
    case "list_float64":
      return /^(?:List|FixedSizeList)\(Float(?:32|64)[,)]/.test(name);
  }
}

function assertTypes(input: Input, types: ReadonlyMap<string, pl.DataType | undefined>) {
  const wrong = declared(input.source).filter(([name, dtype]) => {
    const type = types.get(name);
    const isKey = input.source.entity.keys.includes(name);
    return type === undefined || !isAccepted(type, dtype, isKey);
  });
  if (wrong.length === 0) return;
  const got = declared(input.source).map(([name]) => {
    const type = types.get(name);
    return `${name} ${type === undefined ? "none" : describeType(type)}`;
  });
  const expected = declared(input.source).map(([name, dtype]) => `${name} ${dtype}`);
  throw fault(
    "SCHEMA_MISMATCH",
    input,
    `has another dtype in ${wrong.map(([name]) => `"${name}"`).join(", ")}. Expected: ${expected.join(", ")}. Got: ${got.join(", ")}`,
    { expected, got, fix: "Write the file with those dtypes, or change the source." },
  );
}

/** Whether a column can stay as it was read. */
function isExactly(type: pl.DataType, dtype: Dtype): boolean {
  // Lists may hold null elements, and instants may have a zone.
  if (dtype === "list_float64") return false;
  if (dtype === "timestamp") return describeType(type) === "Datetime(us)";
  return dtypeOf(type) === dtype;
}

/** Casts an accepted column to the polars dtype of ours, without loss. */
function widen(input: Input, column: pl.Series, dtype: Dtype, place: Place): pl.Series {
  if (dtype === "timestamp") return toMicroseconds(input, column, place);
  const type = column.dtype as pl.DataType;
  const cast = dtypeOf(type) === dtype ? column : column.cast(polarsType(dtype));
  if (dtype === "list_float64") assertNoNullElement(input, cast, place);
  return cast;
}

type Place = Chunk["place"];

const value = columnNamed("value");
const integer = (text: string) => pl.lit(text).cast(pl.Int64);

/** By unit: the µs of a count of it, and whether that is inexact; integer sums wrap in polars. */
const conversions = {
  ns: [value.div(integer("1000")), value.modulo(integer("1000")).neq(integer("0"))],
  ms: [
    value.mul(integer("1000")),
    value.gt(integer("9223372036854775")).or(value.lt(integer("-9223372036854775"))),
  ],
} as const;

/** Instants as µs; the zone of a column names how people see it, the instants are UTC. */
function toMicroseconds(input: Input, column: pl.Series, place: Place): pl.Series {
  const unit = /^Datetime\((\w+)/.exec(describeType(column.dtype as pl.DataType))?.[1];
  const counts = column.cast(pl.Int64);
  if (unit !== "ns" && unit !== "ms") return counts.cast(polarsType("timestamp"));
  const [us, isInexact] = conversions[unit];
  const converted = pl
    .DataFrame([counts.alias("value")])
    .select(us.cast(polarsType("timestamp")).alias("us"), isInexact.cast(pl.UInt8).alias("lossy"));
  const lossy = converted.getColumn("lossy");
  if (lossy.sum() === 0) return converted.getColumn("us").alias(column.name);
  const row = (lossy.toArray() as (number | null)[]).indexOf(1);
  const [read] = toColumns(pl.DataFrame([counts]));
  throw unparsable(
    input,
    place(row),
    column.name,
    "timestamp",
    `${read?.dtype === "int64" ? read.data[row] : ""} ${unit}, which is no whole number of µs within 64 bits`,
  );
}

const count = (condition: pl.Expr) => condition.cast(pl.Int64).sum();

/** Null elements of lists: exploded, each null and each empty list gives a null as well. */
const nullElements = count(value.explode().isNull())
  .sub(count(value.lst.lengths().fillNull(pl.lit(0)).eq(pl.lit(0))))
  .alias("nulls");

function assertNoNullElement(input: Input, lists: pl.Series, place: Place): void {
  const counted = pl.DataFrame([lists.alias("value")]).select(nullElements);
  if (counted.getColumn("nulls").sum() === 0) return;
  const [column] = toColumns(pl.DataFrame([lists]));
  if (column?.dtype !== "list_float64") return;
  const row = column.data.findIndex((list) => list.some((x: number | null) => x === null));
  if (row >= 0)
    throw fault(
      "NULL_NOT_ALLOWED",
      input,
      `${place(row)}: an element of the list "${lists.name}" is null`,
      { column: lists.name },
    );
}
