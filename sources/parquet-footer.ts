/**
 * The footer of a parquet file, and small files in memory that hold some of its row groups and
 * columns: a decoder that knows only whole files then needs no more memory than these take.
 *
 * Spec: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
 */
import {
  readInteger,
  readList,
  readStruct,
  readText,
  type ThriftStruct,
  type ThriftValue,
  writeInteger,
  writeList,
  writeStruct,
} from "./thrift.ts";
import { arrowSchemaKey, readArrowTypes } from "./arrow-schema.ts";
import { type ParquetSchema, readSchema, writeSchema } from "./parquet-schema.ts";

/** What begins and ends a file. */
const magic = Buffer.from("PAR1");

/** Bytes behind the footer: its length and "PAR1". */
export const trailerBytes = 8;

/** Ids of the fields that are looked into, by struct. */
const fileField = { version: 1, schema: 2, rows: 3, rowGroups: 4, keyValues: 5 } as const;
const groupField = { chunks: 1, bytes: 2, rows: 3 } as const;
const chunkField = { path: 1, offset: 2, metadata: 3, encryption: 8 } as const;
const metadataField = {
  values: 5,
  decodedBytes: 6,
  bytes: 7,
  data: 9,
  dictionary: 11,
} as const;
/** Type, encodings, path, codec, counts: the others place or describe what is left behind. */
const keptMetadata = [1, 2, 3, 4, 5, 6, 7];

/** What a footer says of its file. */
export interface ParquetFooter {
  readonly fields: ThriftStruct;
  readonly schema: ParquetSchema;
  readonly rows: number;
  readonly rowGroups: readonly ThriftValue[];
  /** Where the data ends and the footer begins. */
  readonly dataEnd: number;
}

/** A row group and the column chunks in it that are wanted, in the order of the schema. */
export interface RowGroup {
  readonly rows: number;
  readonly fields: ThriftStruct;
  readonly chunks: readonly ColumnChunk[];
}

/** One leaf column of a row group. */
export interface ColumnChunk {
  readonly column: string;
  readonly start: number;
  readonly bytes: number;
  /** Elements of lists count, nulls too. */
  readonly values: number;
  /** Once decompressed. */
  readonly decodedBytes: number;
  readonly metadata: ThriftStruct;
}

/** A small file, and what is to be read into it before it is whole. */
export interface PartialFile {
  readonly bytes: Buffer;
  readonly reads: readonly { readonly start: number; readonly into: Buffer }[];
  /** Where the column chunks are in it, once they are read. */
  readonly placed: ReadonlyMap<ColumnChunk, number>;
}

/**
 * Reads the length of the footer from the last 8 bytes of a file.
 *
 * @throws Error where they do not end a parquet file of `fileBytes`
 */
export function readTrailer(trailer: Buffer, fileBytes: number): number {
  const mark = trailer.subarray(4);
  if (mark.equals(Buffer.from("PARE"))) throw new Error("its footer is encrypted");
  if (!mark.equals(magic)) throw new Error('it does not end in "PAR1"');
  const length = trailer.readUInt32LE(0);
  if (length > fileBytes - trailerBytes - magic.length)
    throw new Error(`its footer would have ${length} bytes, of ${fileBytes} in all`);
  return length;
}

/**
 * Reads a footer that begins at `dataEnd`.
 *
 * @throws Error where it is damaged
 */
export function readFooter(bytes: Buffer, dataEnd: number): ParquetFooter {
  const fields = readStruct(bytes);
  const rowGroups = readList(fields.get(fileField.rowGroups));
  const rows = readCount(fields.get(fileField.rows));
  return { fields, schema: readSchema(fields.get(fileField.schema)), rows, rowGroups, dataEnd };
}

/** The metadata that a footer has beside what the format says of a file. */
export function keyValuesOf({ fields }: ParquetFooter): ThriftValue | undefined {
  return fields.get(fileField.keyValues);
}

/**
 * What writers of Arrow say of columns beside what the format can, by name.
 *
 * @throws Error where it is damaged
 */
export function arrowTypesOf(
  footer: ParquetFooter,
  wanted: ReadonlySet<string>,
): ReadonlyMap<string, string> {
  const pairs = keyValuesOf(footer);
  for (const { bytes } of pairs === undefined ? [] : readList(pairs)) {
    const pair = readStruct(bytes);
    const value = readText(pair.get(2));
    if (readText(pair.get(1)) === arrowSchemaKey && value !== undefined)
      return readArrowTypes(value, wanted);
  }
  return new Map();
}

/**
 * Reads one row group, its chunks of the columns of the footer's schema.
 *
 * @throws Error where it is damaged, or points at what is no data of the file
 */
export function readRowGroup(
  { schema, rowGroups, dataEnd }: ParquetFooter,
  index: number,
): RowGroup {
  const fields = readStruct(rowGroups[index]?.bytes ?? Buffer.of());
  const allChunks = readList(fields.get(groupField.chunks));
  if (allChunks.length !== schema.leafCount)
    throw new Error(
      `row group ${index + 1} has ${allChunks.length} of ${schema.leafCount} columns`,
    );
  const rows = readCount(fields.get(groupField.rows));
  // What a row group without rows says of its chunks differs by writer.
  const chunks = schema.columns.flatMap(({ name, leaves }) =>
    rows > 0 ? leaves.map((leaf) => readChunk(allChunks[leaf], name)) : [],
  );
  let end = magic.length;
  for (const { column, start, bytes, values } of [...chunks].sort((a, b) => a.start - b.start)) {
    const place = `row group ${index + 1}, column "${column}"`;
    // Chunks that overlapped could ask for many times the file's size.
    if (start < end || start + bytes > dataEnd)
      throw new Error(`${place}: its bytes lie elsewhere`);
    if (values < rows) throw new Error(`${place}: has ${values} values for ${rows} rows`);
    end = start + bytes;
  }
  return { rows, fields, chunks };
}

function readChunk(chunk: ThriftValue | undefined, column: string): ColumnChunk {
  const fields = readStruct(chunk?.bytes ?? Buffer.of());
  if (fields.has(chunkField.encryption)) throw new Error(`column "${column}" is encrypted`);
  if (fields.has(chunkField.path)) throw new Error(`column "${column}" is in another file`);
  const metadata = readStruct(fields.get(chunkField.metadata)?.bytes ?? Buffer.of());
  const data = readCount(metadata.get(metadataField.data));
  const dictionary = readDictionaryOffset(metadata, data);
  return {
    column,
    start: dictionary ?? data,
    bytes: readCount(metadata.get(metadataField.bytes)),
    values: readCount(metadata.get(metadataField.values)),
    decodedBytes: readCount(metadata.get(metadataField.decodedBytes)),
    metadata,
  };
}

/** Some writers give an offset of 0, or one behind the data, where there is no dictionary. */
function readDictionaryOffset(metadata: ThriftStruct, data: number): number | undefined {
  const field = metadata.get(metadataField.dictionary);
  const offset = field === undefined ? 0 : readCount(field);
  return offset >= magic.length && offset < data ? offset : undefined;
}

function readCount(value: ThriftValue | undefined): number {
  const count = readInteger(value);
  if (count < 0) throw new Error("its metadata holds a negative size");
  return count;
}

/**
 * Lays out a file of some row groups and, of their chunks, those of the columns that are named.
 *
 * Nothing is left of the other columns, nor of what is said of the file as a whole, so that a
 * decoder meets no type, order or metadata that it does not know.
 *
 * @param keyValues - metadata of the file, for a decoder that heeds it
 */
export function layOut(
  footer: ParquetFooter,
  groups: readonly RowGroup[],
  columns: ReadonlySet<string>,
  keyValues?: ThriftValue,
): PartialFile {
  const chosen = groups.map(({ chunks }) => chunks.filter(({ column }) => columns.has(column)));
  const inOrder = chosen.flat().sort((a, b) => a.start - b.start);
  const placed = new Map<ColumnChunk, number>();
  const runs: { readonly start: number; readonly at: number; length: number }[] = [];
  let at = magic.length;
  for (const chunk of inOrder) {
    const last = runs.at(-1);
    // Neighbours are read at once.
    if (last !== undefined && last.start + last.length === chunk.start) last.length += chunk.bytes;
    else runs.push({ start: chunk.start, at, length: chunk.bytes });
    placed.set(chunk, at);
    at += chunk.bytes;
  }
  const rowGroups = groups.map((group, i) => writeGroup(group, chosen[i] ?? [], placed));
  const rows = groups.reduce((sum, group) => sum + group.rows, 0);
  const kept = footer.schema.columns.filter(({ name }) => columns.has(name));
  const fields = pick(footer.fields, [fileField.version])
    .set(fileField.schema, writeList(writeSchema(footer.schema, kept)))
    .set(fileField.rows, writeInteger(rows))
    .set(fileField.rowGroups, writeList(rowGroups));
  if (keyValues !== undefined) fields.set(fileField.keyValues, keyValues);
  const { bytes: tail } = writeStruct(fields);
  const bytes = Buffer.allocUnsafe(at + tail.length + trailerBytes);
  magic.copy(bytes);
  tail.copy(bytes, at);
  bytes.writeUInt32LE(tail.length, at + tail.length);
  magic.copy(bytes, at + tail.length + 4);
  const reads = runs.map((run) => ({
    start: run.start,
    into: bytes.subarray(run.at, run.at + run.length),
  }));
  return { bytes, reads, placed };
}

function writeGroup(
  { fields }: RowGroup,
  chosen: readonly ColumnChunk[],
  placed: ReadonlyMap<ColumnChunk, number>,
): ThriftValue {
  const chunks = chosen.map((chunk) => writeChunk(chunk, placed.get(chunk) ?? 0));
  // Not which columns are said to be sorted: nobody has checked it.
  const kept = pick(fields, [groupField.bytes, groupField.rows]);
  return writeStruct(kept.set(groupField.chunks, writeList(chunks)));
}

function writeChunk({ metadata, start }: ColumnChunk, at: number): ThriftValue {
  const data = readCount(metadata.get(metadataField.data));
  const moved = pick(metadata, keptMetadata).set(
    metadataField.data,
    writeInteger(data - start + at),
  );
  if (start < data) moved.set(metadataField.dictionary, writeInteger(at));
  return writeStruct(
    new Map([
      [chunkField.offset, writeInteger(at)],
      [chunkField.metadata, writeStruct(moved)],
    ]),
  );
}

function pick(fields: ThriftStruct, ids: readonly number[]): Map<number, ThriftValue> {
  return new Map([...fields].filter(([id]) => ids.includes(id)));
}
