/** Reads parquet: the schema is compared first, then the declared columns are decoded. */
import { setImmediate as turn } from "node:timers/promises";
import pl from "nodejs-polars";
import {
  columnNamesOf,
  describeType,
  dtypesOf,
  heightOf,
  isRectangular,
  sideBySide,
  sliceOf,
  toColumns,
} from "../engine/compile/frame.ts";
import { messageOf, OnceflowError } from "../engine/errors.ts";
import { cut } from "../engine/words.ts";
import {
  arrowTypesOf,
  keyValuesOf,
  layOut,
  type ParquetFooter,
  readFooter,
  readRowGroup,
  readTrailer,
  type RowGroup,
  trailerBytes,
} from "./parquet-footer.ts";
import { assertPages } from "./parquet-pages.ts";
import { describeColumn, int96, selectColumns } from "./parquet-schema.ts";
import { assertTypes, assertWithin, isExactly, readInt96, widen } from "./parquet-types.ts";
import type { ThriftValue } from "./thrift.ts";
import { rowsPerFile } from "./ordinal.ts";
import {
  type Chunk,
  type ChunkSize,
  declared,
  fault,
  type Input,
  nullsOf,
  openPart,
  project,
} from "./chunk.ts";
import { findColumns } from "./columns.ts";
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
    const file = openColumns(input, part, await openFooter(input, part));
    const { footer } = file;
    const empty = await readGroups(file, [], 0);
    const types = typesOf(file, empty);
    let firstRow = 0;
    for (const groups of batchesOf(input, footer, chunkValues)) {
      const frame = await readGroups(file, groups, firstRow);
      const rows = heightOf(frame);
      const size = chunkSize(groups, rows, chunkValues);
      for (let from = 0; from < rows; from += size) {
        if (from > 0) await turn();
        const isWhole = size >= rows;
        const rowsOfChunk = isWhole ? frame : sliceOf(frame, from, size);
        yield toChunk(file, rowsOfChunk, types, firstRow + from);
      }
      firstRow += rows;
    }
    if (firstRow !== footer.rows)
      throw damaged(input, `it has ${firstRow} rows, and ${footer.rows} by its footer`);
    // A file without rows still gives one frame, so that its schema is known.
    if (firstRow === 0) yield toChunk(file, empty, types, 0);
  } finally {
    await part.close();
  }
}

/** An open file, and what its footer says. */
interface ParquetFile {
  readonly input: Input;
  readonly part: PartBytes;
  /** Its schema has the declared columns alone, by their declared names. */
  readonly footer: ParquetFooter;
  /** What the file calls them. */
  readonly names: ReadonlyMap<string, string>;
  /** The types that the footer says they are of. */
  readonly described: ReadonlyMap<string, string>;
}

/** Compares the schema with the declared columns; what else the file has may be anything. */
function openColumns(input: Input, part: PartBytes, footer: ParquetFooter): ParquetFile {
  const { columns } = footer.schema;
  const places = findColumns(
    input,
    columns.map(({ name }) => name),
  );
  const names = new Map([...places].map(([name, place]) => [name, columns[place]?.name ?? name]));
  const schema = selectColumns(footer.schema, places);
  const types = decode(input, () => {
    const arrowTypes = arrowTypesOf(footer, new Set(names.values()));
    return new Map(
      schema.columns.map((column) => [
        column.name,
        arrowTypes.get(names.get(column.name) ?? "") ?? describeColumn(column),
      ]),
    );
  });
  assertTypes(input, types, names);
  return { input, part, footer: { ...footer, schema }, names, described: types };
}

/** The types that polars decodes the declared columns as: also of nested ones they are as expected. */
function typesOf(
  { input, names }: ParquetFile,
  empty: pl.DataFrame,
): ReadonlyMap<string, pl.DataType | undefined> {
  const dtypes = decode(input, () => dtypesOf(empty));
  const types = columnNamesOf(empty).map((name, i) => [name, dtypes[i]] as const);
  const described = types.flatMap(([name, type]) =>
    type === undefined ? [] : [[name, describeType(type)] as const],
  );
  assertTypes(input, new Map(described), names);
  return new Map(types);
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
  const maxGroups = Math.max(1, Math.floor(batchColumnChunks / declared(input.source).length));
  let batch: RowGroup[] = [];
  let [rows, values, bytes] = [0, 0, 0];
  for (const index of footer.rowGroups.keys()) {
    const group = decode(input, () => readRowGroup(footer, index));
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

/** Decodes the declared columns of row groups, some at a time; INT96 becomes µs. */
async function readGroups(
  file: ParquetFile,
  groups: readonly RowGroup[],
  firstRow: number,
): Promise<pl.DataFrame> {
  const { input, described } = file;
  const frames: pl.DataFrame[] = [];
  for (const columns of stepsOf(input, groups)) {
    const frame = await readColumns(file, groups, columns);
    const wide = columns.filter((name) => described.get(name) === int96);
    if (wide.length > 0) {
      const coarse = await readColumns(file, groups, wide, inMilliseconds(wide));
      for (const name of wide) {
        const [ns, ms] = [frame.getColumn(name), coarse.getColumn(name)];
        const place = (row: number) => `row ${firstRow + row + 1}`;
        const us = decode(input, () => readInt96(input, ns, ms, place));
        frame.replaceAtIdx(columnNamesOf(frame).indexOf(name), us);
      }
    }
    frames.push(frame);
  }
  return project(sideBySide(frames), input.source);
}

async function readColumns(
  { input, part, footer }: ParquetFile,
  groups: readonly RowGroup[],
  columns: string[],
  keyValues?: ThriftValue,
): Promise<pl.DataFrame> {
  const { bytes, reads, placed } = decode(input, () =>
    layOut(footer, groups, new Set(columns), keyValues),
  );
  for (const { start, into } of reads) await read(input, part, start, into);
  const frame = decode(input, () => {
    for (const [chunk, at] of placed) assertPages(bytes, at, at + chunk.bytes, chunk.values);
    return pl.readParquet(bytes, { columns });
  });
  const height = heightOf(frame);
  const rows = sum(groups, (group) => group.rows);
  if (height !== rows) throw damaged(input, `${height} of ${rows} rows are in a row group`);
  if (!isRectangular(frame)) throw damaged(input, "its columns differ in length");
  return frame;
}

/** The metadata by which polars decodes these columns as ms, as it writes it itself. */
function inMilliseconds(columns: readonly string[]): ThriftValue | undefined {
  const none = pl.Series(new BigInt64Array()).cast(pl.Datetime("ms"));
  const bytes = pl.DataFrame(columns.map((name) => none.alias(name))).writeParquet();
  const length = readTrailer(bytes.subarray(-trailerBytes), bytes.length);
  return keyValuesOf(readFooter(bytes.subarray(-trailerBytes - length, -trailerBytes), 0));
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
  { input, described }: ParquetFile,
  frame: pl.DataFrame,
  types: ReadonlyMap<string, pl.DataType | undefined>,
  firstRow: number,
): Chunk {
  const place = (row: number) => `row ${firstRow + row + 1}`;
  const columns = declared(input.source);
  for (const [index, [name, dtype]] of columns.entries()) {
    assertWithin(input, frame, name, described.get(name) ?? "", place);
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
