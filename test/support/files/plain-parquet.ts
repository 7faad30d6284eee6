/** Parquet files of columns of any type, also such as no writer here knows: plain, required values. */
import {
  type ThriftStruct,
  type ThriftValue,
  thriftType,
  writeInt32,
  writeInteger,
  writeList,
  writeStruct,
} from "../../../sources/thrift.ts";

/** A column: how the format numbers its physical type, what its schema element says beside, its bytes. */
export interface PlainColumn {
  readonly name: string;
  readonly type: number;
  /** Further fields of its schema element, by id. */
  readonly element?: ThriftStruct;
  /** Each value as the encoding PLAIN has it. */
  readonly values: readonly Buffer[];
  /** Values that its page says it has; default as many as there are. */
  readonly count?: number;
}

/** A file of one row group. */
export function plainParquet(columns: readonly PlainColumn[]): Buffer {
  const parts: Buffer[] = [Buffer.from("PAR1")];
  let at = 4;
  const chunks = columns.map((column) => {
    const page = pageOf(column.values, column.count ?? column.values.length);
    parts.push(page);
    const metadata = new Map([
      [1, writeInt32(column.type)],
      // PLAIN and RLE.
      [2, listOf(thriftType.i32, [writeInt32(0).bytes, writeInt32(3).bytes])],
      [3, listOf(thriftType.text, [text(column.name).bytes])],
      [4, writeInt32(0)],
      [5, writeInteger(column.values.length)],
      [6, writeInteger(page.length)],
      [7, writeInteger(page.length)],
      [9, writeInteger(at)],
    ]);
    const chunk = struct([2, writeInteger(at)], [3, writeStruct(metadata)]);
    at += page.length;
    return chunk;
  });
  const rows = writeInteger(columns[0]?.values.length ?? 0);
  const elements = columns.map(({ name, type, element }) =>
    writeStruct(
      new Map([...(element ?? []), [1, writeInt32(type)], [3, writeInt32(0)], [4, text(name)]]),
    ),
  );
  const root = struct([4, text("schema")], [5, writeInt32(columns.length)]);
  const group = struct([1, writeList(chunks)], [2, writeInteger(at - 4)], [3, rows]);
  const { bytes: footer } = struct(
    [1, writeInt32(1)],
    [2, writeList([root, ...elements])],
    [3, rows],
    [4, writeList([group])],
  );
  const length = Buffer.alloc(4);
  length.writeUInt32LE(footer.length);
  return Buffer.concat([...parts, footer, length, Buffer.from("PAR1")]);
}

/** Text as a column stores it. */
export function plainText(value: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(Buffer.byteLength(value));
  return Buffer.concat([length, Buffer.from(value)]);
}

/** A moment of INT96: ns of the day, and the Julian day. */
export function plainInt96(nsOfDay: bigint, day: number): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeBigInt64LE(nsOfDay);
  bytes.writeUInt32LE(day, 8);
  return bytes;
}

/** Text as Thrift has it. */
export function text(value: string): ThriftValue {
  const bytes = Buffer.from(value);
  return { type: thriftType.text, bytes: Buffer.concat([Buffer.of(bytes.length), bytes]) };
}

/** A struct of some fields. */
export function struct(...fields: readonly (readonly [number, ThriftValue])[]): ThriftValue {
  return writeStruct(new Map(fields));
}

function pageOf(values: readonly Buffer[], claimed: number): Buffer {
  const data = Buffer.concat(values);
  const count = writeInt32(claimed);
  const encodings = [3, 4].map((id) => [id, writeInt32(3)] as const);
  const header = struct(
    [1, writeInt32(0)],
    [2, writeInt32(data.length)],
    [3, writeInt32(data.length)],
    [5, struct([1, count], [2, writeInt32(0)], ...encodings)],
  );
  return Buffer.concat([header.bytes, data]);
}

function listOf(type: number, elements: readonly Buffer[]): ThriftValue {
  const header = Buffer.of((elements.length << 4) | type);
  return { type: thriftType.list, bytes: Buffer.concat([header, ...elements]) };
}
