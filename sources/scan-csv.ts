/** Reads CSV in chunks of whole records: our own pass finds them, polars decodes the values. */
import pl from "nodejs-polars";
import { extremesOf, heightOf, polarsType, toSeries } from "../engine/compile/frame.ts";
import type { Source } from "../engine/language/definitions.ts";
import type { Dtype, Int64 } from "../engine/language/dtypes.ts";
import { messageOf, type OnceflowError } from "../engine/errors.ts";
import { parseTimestamp } from "../engine/wire.ts";
import { cut } from "../engine/words.ts";
import {
  type CsvPlace,
  type CsvRecords,
  describePlace,
  fieldText,
  isBlankField,
  isReadable,
  losesReturn,
  measureRecords,
  readRecord,
} from "./csv.ts";
import {
  called,
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
import { findColumns, hasColumns, type NamesInFile } from "./columns.ts";
import type { PartBytes } from "./raw-part.ts";

const defaultBytes = 16 * 1024 * 1024;
/** A chunk grows up to this where a record does not fit in it. */
const maxRecordBytes = 64 * 1024 * 1024;

/** The declared columns of CSV, in chunks of about `chunkBytes`. */
export async function* readCsv(input: Input, size: ChunkSize): AsyncGenerator<Chunk> {
  // Most files are far smaller than a chunk; one byte more tells the end.
  const chunkBytes = Math.min(size.chunkBytes ?? defaultBytes, input.part.sizeBytes + 1);
  const part = await openPart(input);
  try {
    let text = await readOn(part, { bytes: Buffer.alloc(0), end: 0, isLast: false }, chunkBytes);
    let header: CsvHeader | undefined;
    while ((header = readHeader(input, text)) === undefined)
      text = await readOn(part, text, grown(input, text.bytes, "the header"));
    text = { ...text, bytes: text.bytes.subarray(header.end) };
    for (let start: CsvPlace = { row: 0, line: header.lineCount }; ;) {
      const { bytes, isLast } = text;
      const records = measureRecords(bytes, 0, header.separator, header.width, isLast);
      const { end, rows, lines, problem } = records;
      const next = { row: start.row + rows, line: start.line + lines };
      if (problem !== undefined)
        throw fault("SOURCE_CORRUPT", input, `${describePlace(next)} ${problem}`);
      // A file with a header alone still gives one frame, so that its schema is known.
      if (rows > 0 || (isLast && next.row === 0))
        yield parseCsv({ input, header, bytes: bytes.subarray(0, end), start, records });
      if (isLast) return;
      const left = bytes.subarray(end);
      const capacity = rows > 0 ? chunkBytes : grown(input, left, describePlace(next));
      text = await readOn(part, { ...text, bytes: left }, capacity);
      start = next;
    }
  } finally {
    await part.close();
  }
}

/** Bytes of a part, in turn; a record at their end may not be whole unless they are the last. */
interface CsvText {
  readonly bytes: Buffer;
  /** Offset in the part behind them. */
  readonly end: number;
  readonly isLast: boolean;
}

/** Reads on behind the bytes that are left until there are `capacity`, or the part ends. */
async function readOn(part: PartBytes, left: CsvText, capacity: number): Promise<CsvText> {
  const bytes = Buffer.allocUnsafe(Math.max(capacity, left.bytes.length + 1));
  const kept = left.bytes.copy(bytes);
  const read = await part.read(bytes.subarray(kept), left.end);
  const length = kept + read;
  return {
    bytes: bytes.subarray(0, length),
    end: left.end + read,
    isLast: length < bytes.length,
  };
}

/** The capacity that a record needs that does not end within the bytes. */
function grown(input: Input, bytes: Buffer, what: string): number {
  if (bytes.length < maxRecordBytes) return 2 * bytes.length;
  const problem = `${what} does not end within ${maxRecordBytes} bytes; is a quote left open?`;
  throw fault("SOURCE_CORRUPT", input, problem);
}

interface CsvHeader {
  readonly separator: number;
  /** Columns of the file. */
  readonly width: number;
  /** The place of each declared column in the file's order. */
  readonly places: ReadonlyMap<string, number>;
  /** Offset of the first data row. */
  readonly end: number;
  readonly lineCount: number;
  /** What polars is to read each column as, in the file's order. */
  readonly schema: Record<string, pl.DataType>;
}

const byteOrderMark = Buffer.from("\ufeff");

/** The checked header, or undefined where it does not end within the bytes. */
function readHeader(input: Input, { bytes, isLast }: CsvText): CsvHeader | undefined {
  const separator = input.source.csv.separator.charCodeAt(0);
  const hasMark = bytes.subarray(0, 3).equals(byteOrderMark);
  const record = readRecord(bytes, hasMark ? 3 : 0, separator, isLast, true);
  if (record === undefined) return undefined;
  if (record.problem !== undefined)
    throw fault("SOURCE_CORRUPT", input, `the header ${record.problem}`);
  const texts: (string | undefined)[] = [];
  for (let i = 0; i < record.bounds.length; i += 2)
    texts.push(fieldText(bytes, record.bounds[i] ?? 0, record.bounds[i + 1] ?? 0));
  if (texts.includes(undefined) && !hasColumns(input, texts))
    throw fault("SOURCE_CORRUPT", input, "is no UTF-8 text");
  const places = findColumns(input, texts, () => headerHint(input, texts));
  const { end, lineCount } = record;
  const width = texts.length;
  return {
    separator,
    width,
    places,
    end,
    lineCount,
    schema: schemaOf(input.source, width, places),
  };
}

/**
 * polars takes a schema by position, and an object would move a name such as "1" to its front; the
 * declared names are safe, and others are replaced. Times are read as text.
 */
function schemaOf(
  source: Source,
  width: number,
  places: ReadonlyMap<string, number>,
): Record<string, pl.DataType> {
  const columns = Array.from({ length: width }, (_, i): [string, pl.DataType] => [
    `undeclared:${i}`,
    pl.Utf8,
  ]);
  for (const [name, dtype] of declared(source))
    columns[places.get(name) ?? 0] = [name, polarsType(dtype === "timestamp" ? "string" : dtype)];
  return Object.fromEntries(columns);
}

/** What makes another header of this one: another separator, or other line ends. */
function headerHint(input: Input, header: NamesInFile): string | undefined {
  const line = header.join(input.source.csv.separator);
  const other = [",", ";", "\t", "|"].find((separator) => hasColumns(input, line.split(separator)));
  if (other === undefined)
    return header.some((name) => name?.includes("\r"))
      ? "A carriage return ends no line: end lines with a line feed, alone or behind it."
      : undefined;
  return `The columns match with another separator: set csv: { separator: ${JSON.stringify(other)} } in the source.`;
}

/** Whole records of a part, in a row. */
interface CsvPiece {
  readonly input: Input;
  readonly header: CsvHeader;
  readonly bytes: Buffer;
  readonly start: CsvPlace;
  readonly records: CsvRecords;
}

/** Decodes whole records that `measureRecords` accepted. */
function parseCsv(piece: CsvPiece): Chunk {
  const { input, start, records } = piece;
  const place = (row: number) => describePlace(locateRow(piece, row));
  const columns = declared(input.source);
  if (records.rows === 0) {
    const frame = () => pl.DataFrame(columns.map(([name, dtype]) => toSeries(name, dtype, [])));
    const times = columns.filter(([, dtype]) => dtype === "timestamp");
    return {
      frame,
      nulls: {},
      times: new Map(times.map(([name]) => [name, new BigInt64Array(0)])),
      firstRow: start.row,
      place,
    };
  }
  const text = project(decodeCsv(piece), input.source);
  const nulls = nullsOf(text);
  assertAsWritten(piece, text, nulls);
  const values = new Map<string, readonly (Int64 | null)[]>();
  const times = new Map<string, BigInt64Array>();
  for (const [name, dtype] of columns) {
    if (dtype !== "timestamp") continue;
    const read = readTimes(input, name, text, place);
    values.set(name, read);
    times.set(
      name,
      BigInt64Array.from(read, (us) => BigInt(us ?? 0)),
    );
    // An empty cell in quotes is text to polars.
    nulls[name] = read.filter((us) => us === null).length;
  }
  const frame = () => {
    for (const [index, [name]] of columns.entries()) {
      const read = values.get(name);
      if (read !== undefined) text.replaceAtIdx(index, toSeries(name, "timestamp", read));
    }
    return text;
  };
  return { frame, nulls, times, firstRow: start.row, place };
}

function decodeCsv(piece: CsvPiece): pl.DataFrame {
  const { input, header, bytes, start } = piece;
  const { rows } = piece.records;
  // polars drops a mark at the head of what it reads, and here it would be part of a value.
  const hasMark = bytes.subarray(0, 3).equals(byteOrderMark);
  const content = hasMark ? Buffer.concat([byteOrderMark, bytes]) : bytes;
  const decode = (encoding: "utf8" | "utf8-lossy") =>
    pl.readCSV(content, {
      schema: header.schema,
      columns: declared(input.source).map(([name]) => name),
      hasHeader: false,
      sep: input.source.csv.separator,
      encoding,
      ignoreErrors: false,
      truncateRaggedLines: false,
      inferSchemaLength: 0,
    });
  let raw: pl.DataFrame;
  try {
    raw = decode("utf8");
  } catch (cause) {
    const unreadable = findUnreadable(piece);
    if (unreadable !== undefined) throw unreadable;
    try {
      // It refuses bytes that are no UTF-8 in any column; here they are in undeclared ones alone.
      raw = decode("utf8-lossy");
    } catch {
      const problem = `cannot be decoded between ${describePlace(start)} and row ${start.row + rows}: ${cut(messageOf(cause), 200)}`;
      throw fault("SOURCE_CORRUPT", input, problem, {}, cause);
    }
  }
  if (heightOf(raw) !== rows) {
    const problem = `holds ${rows} rows from ${describePlace(start)} on, and polars reads ${heightOf(raw)}`;
    throw fault("SOURCE_CORRUPT", input, problem);
  }
  return raw;
}

/** Refuses what polars reads otherwise than it is written: blanks as null, 1e400 as infinity. */
function assertAsWritten(
  piece: CsvPiece,
  frame: pl.DataFrame,
  nulls: Readonly<Record<string, number>>,
): void {
  const { input, bytes, records } = piece;
  const columns = declared(input.source);
  if (records.hasLostReturn) {
    const cell = findCell(piece, columns, (_, from, to) => losesReturn(bytes, from, to));
    if (cell !== undefined) {
      const problem = `${describePlace(cell.place)}: ${called(input.source, cell.name)} ends in a carriage return`;
      throw fault("SOURCE_CORRUPT", input, problem, {
        column: cell.name,
        fix: "Write it in quotes, or end lines with a line feed alone or with both.",
      });
    }
  }
  if (records.hasBlank) {
    const withNulls = columns.filter(
      ([name, dtype]) => dtype !== "string" && dtype !== "timestamp" && (nulls[name] ?? 0) > 0,
    );
    const unreadable = findUnreadable(piece, withNulls, (from, to) =>
      isBlankField(bytes, from, to),
    );
    if (unreadable !== undefined) throw unreadable;
  }
  const floats = columns.filter(([, dtype]) => dtype === "float64");
  const infinite = floats.filter(([name]) => {
    const { min, max } = extremesOf(frame, name);
    return min === -Infinity || max === Infinity;
  });
  const unreadable = infinite.length === 0 ? undefined : findUnreadable(piece, infinite);
  if (unreadable !== undefined) throw unreadable;
}

/** The times of a text column. */
function readTimes(
  input: Input,
  name: string,
  frame: pl.DataFrame,
  place: (row: number) => string,
): (Int64 | null)[] {
  const texts = frame.getColumn(name).toArray() as (string | null)[];
  return texts.map((text, row) => {
    if (text === null || text === "") return null;
    const us = readTime(text);
    if (us === undefined) throw unparsable(input, place(row), name, "timestamp", text);
    return us;
  });
}

function readTime(text: string): Int64 | undefined {
  return isReadable("timestamp", text) ? parseTimestamp(text) : undefined;
}

/** The place of a row of a chunk: its line is further on than its number where cells span lines. */
function locateRow({ header, bytes, start }: CsvPiece, row: number): CsvPlace {
  const head = measureRecords(bytes, 0, header.separator, header.width, true, row);
  return { row: start.row + row, line: start.line + head.lines };
}

/** A column, and a cell of it. */
interface CsvCell {
  readonly name: string;
  readonly dtype: Dtype;
  readonly place: CsvPlace;
  /** Offsets in the bytes, quotes included. */
  readonly from: number;
  readonly to: number;
}

/** The first cell of some columns that is looked for. */
function findCell(
  { header: { separator, places }, bytes, start }: CsvPiece,
  columns: readonly (readonly [name: string, dtype: Dtype])[],
  isIt: (dtype: Dtype, from: number, to: number) => boolean,
): CsvCell | undefined {
  const indexed = columns.map(([name, dtype]) => ({ name, dtype, index: places.get(name) ?? 0 }));
  let { row, line } = start;
  for (let at = 0; at < bytes.length; row++) {
    const record = readRecord(bytes, at, separator, true, true);
    if (record === undefined) return undefined;
    for (const { name, dtype, index } of indexed) {
      const [from = 0, to = 0] = [record.bounds[2 * index], record.bounds[2 * index + 1]];
      if (isIt(dtype, from, to)) return { name, dtype, place: { row, line }, from, to };
    }
    at = record.end;
    line += record.lineCount;
  }
  return undefined;
}

/**
 * The error for the first cell that is no value of its column's dtype, if there is one.
 *
 * @param isAsked - leaves out cells
 */
function findUnreadable(
  piece: CsvPiece,
  columns = declared(piece.input.source),
  isAsked: (from: number, to: number) => boolean = () => true,
): OnceflowError | undefined {
  const { input, bytes } = piece;
  if (columns.length === 0) return undefined;
  const cell = findCell(piece, columns, (dtype, from, to) => {
    if (!isAsked(from, to)) return false;
    const text = fieldText(bytes, from, to);
    return text === undefined || (text !== "" && !isReadable(dtype, text));
  });
  if (cell === undefined) return undefined;
  const { from, to, place, name, dtype } = cell;
  const shown =
    fieldText(bytes, from, to) ?? `${bytes.subarray(from, to).toString("latin1")} (no UTF-8)`;
  return unparsable(input, describePlace(place), name, dtype, shown);
}
