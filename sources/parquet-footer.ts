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
  type ThriftStruct,
  type ThriftValue,
  writeInteger,
  writeList,
  writeStruct,
} from "./thrift.ts";

/** What begins and ends a file. */
const magic = Buffer.from("PAR1");

/** Bytes behind the footer: its length and "PAR1". */
export const trailerBytes = 8;

/** Ids of the fields that are looked into, by struct. */
const fileField = { schema: 2, rows: 3, rowGroups: 4 } as const;
const schemaField = { name: 4, children: 5 } as const;
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
  /** The top-level column that each column chunk of a row group is of, in their order. */
  readonly columns: readonly string[];
  readonly rows: number;
  readonly rowGroups: readonly ThriftValue[];
  /** Where the data ends and the footer begins. */
  readonly dataEnd: number;
}

/** A row group and the column chunks in it that are wanted. */
export interface RowGroup {
  readonly rows: number;
  readonly fields: ThriftStruct;
  /** As the footer has them, one for each leaf of the schema. */
  readonly allChunks: readonly ThriftValue[];
  readonly chunks: readonly ColumnChunk[];
}

/** One leaf column of a row group. */
export interface ColumnChunk {
  readonly column: string;
  /** Its place among the row group's chunks. */
  readonly index: number;
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
  return { fields, columns: columnsOf(fields), rows, rowGroups, dataEnd };
}

/** The schema is a tree in preorder: the leaves below each child of its root are that column's. */
function columnsOf(fields: ThriftStruct): string[] {
  const [root, ...elements] = readList(fields.get(fileField.schema)).map(({ bytes }) =>
    readStruct(bytes),
  );
  const columns: string[] = [];
  let name = "";
  // Elements that the current column still has to come.
  let pending = 0;
  for (const element of elements) {
    if (pending === 0) {
      const text = element.get(schemaField.name)?.bytes ?? Buffer.of();
      // The length before it ends at the first byte below 128.
      name = text.subarray(text.findIndex((byte) => byte < 128) + 1).toString();
      pending = 1;
    }
    const children = element.get(schemaField.children);
    const count = children === undefined ? 0 : readCount(children);
    pending += count - 1;
    if (count === 0) columns.push(name);
  }
  if (root === undefined || pending !== 0) throw new Error("its schema is no tree");
  return columns;
}

/**
 * Reads one row group, its chunks of the wanted columns.
 *
 * @throws Error where it is damaged, or points at what is no data of the file
 */
export function readRowGroup(
  { columns, rowGroups, dataEnd }: ParquetFooter,
  index: number,
  wanted: ReadonlySet<string>,
): RowGroup {
  const fields = readStruct(rowGroups[index]?.bytes ?? Buffer.of());
  const allChunks = readList(fields.get(groupField.chunks));
  if (allChunks.length !== columns.length)
    throw new Error(`row group ${index + 1} has ${allChunks.length} of ${columns.length} columns`);
  const rows = readCount(fields.get(groupField.rows));
  // What a row group without rows says of its chunks differs by writer.
  const chunks = columns.flatMap((column, leaf) =>
    wanted.has(column) && rows > 0 ? [readChunk(allChunks[leaf], column, leaf)] : [],
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
  return { rows, fields, allChunks, chunks };
}

function readChunk(chunk: ThriftValue | undefined, column: string, index: number): ColumnChunk {
  const fields = readStruct(chunk?.bytes ?? Buffer.of());
  if (fields.has(chunkField.encryption)) throw new Error(`column "${column}" is encrypted`);
  if (fields.has(chunkField.path)) throw new Error(`column "${column}" is in another file`);
  const metadata = readStruct(fields.get(chunkField.metadata)?.bytes ?? Buffer.of());
  const data = readCount(metadata.get(metadataField.data));
  const dictionary = readDictionaryOffset(metadata, data);
  return {
    column,
    index,
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
 * The schema stays whole, and the other columns' chunks stay described as they were, at places
 * that mean nothing here: only the named columns can be decoded.
 */
export function layOut(
  footer: ParquetFooter,
  groups: readonly RowGroup[],
  columns: ReadonlySet<string>,
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
  const { bytes: tail } = writeStruct(
    new Map(footer.fields)
      .set(fileField.rows, writeInteger(rows))
      .set(fileField.rowGroups, writeList(rowGroups)),
  );
  const bytes = Buffer.allocUnsafe(at + tail.length + trailerBytes);
  magic.copy(bytes);
  tail.copy(bytes, at);
  bytes.writeUInt32LE(tail.length, at + tail.length);
  magic.copy(bytes, at + tail.length + 4);
  const reads = runs.map((run) => ({
    start: run.start,
    into: bytes.subarray(run.at, run.at + run.length),
  }));
  return { bytes, reads };
}

function writeGroup(
  { fields, allChunks }: RowGroup,
  chosen: readonly ColumnChunk[],
  placed: ReadonlyMap<ColumnChunk, number>,
): ThriftValue {
  const chunks = [...allChunks];
  for (const chunk of chosen) chunks[chunk.index] = writeChunk(chunk, placed.get(chunk) ?? 0);
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
