/**
 * The one encoding of a stored row.
 *
 * | part        | bytes                                                                        |
 * | ----------- | ---------------------------------------------------------------------------- |
 * | format      | 0x01                                                                         |
 * | nulls       | ⌈columns / 8⌉; bit i & 7 of byte i >> 3 is 1 where column i is null          |
 * | bools       | ⌈bool columns / 8⌉; the same for the bool columns, 1 is true, null is 0      |
 * | values      | the other columns that are not null, in storage order                        |
 *
 * | dtype            | value                                                                   |
 * | ---------------- | ----------------------------------------------------------------------- |
 * | int64, timestamp | zigzag, then LEB128 varint; exact over 64 bits; timestamps in µs        |
 * | float64          | IEEE 754 binary64, little-endian; one NaN, 0x7ff8000000000000; −0 kept  |
 * | string           | LEB128 varint count of bytes, then UTF-8                                |
 * | list_float64     | LEB128 varint count of elements, then each as float64                   |
 *
 * A row has one encoding, so equal rows have equal bytes.
 */
import type { Value } from "../engine/dtypes.ts";
import { OnceflowError } from "../engine/errors.ts";
import { int64FromWords } from "../engine/int64.ts";
import type { ByteReader, ByteWriter } from "./bytes.ts";
import {
  MalformedBytes,
  readVarint,
  readZigzag,
  reserve,
  skip,
  writeFloat64,
  writeText,
  writeVarint,
  writeZigzag,
  zigzagWords,
} from "./bytes.ts";
import type { Column, ColumnData } from "./column-data.ts";
import { isInt64, refuseValue, requireKind } from "./column-data.ts";
import { wordsOf } from "./version.ts";

/** The most bytes of one encoded value. */
export const valueLimitBytes = 64 * 1024;
/** The most bytes of one encoded row. */
export const rowLimitBytes = 256 * 1024;

const formatByte = 0x01;

/** Appends the encoding of row `row` of a batch. */
export type RowEncoder = (row: number, into: ByteWriter) => void;

/**
 * The values of the wanted columns, in the order they were asked for, of the row in bytes
 * [start, end); what follows the last wanted column is not read.
 *
 * @throws STORE_LOST where the bytes are no row of these columns
 */
export type RowDecoder = (bytes: Buffer, start?: number, end?: number) => Value[];

export interface RowCodec {
  readonly columns: readonly Column[];
  /**
   * Appends one row, its values in storage order.
   *
   * @throws VALUE_INVALID, ROW_TOO_LARGE naming the column
   */
  readonly encode: (values: readonly Value[], into: ByteWriter) => void;
  /** An encoder over the columns of a batch; no value becomes a JavaScript object on the way. */
  readonly encoder: (data: readonly ColumnData[]) => RowEncoder;
  /** @throws INTERNAL where a wanted column does not exist */
  readonly decoder: (wanted: readonly string[]) => RowDecoder;
}

/** Makes the codec of rows with these columns, in storage order. */
export function createRowCodec(columns: readonly Column[]): RowCodec {
  const layout = layoutOf(columns);
  let current: readonly Value[] = [];
  const encodeCurrent = createEncoder(
    layout,
    columns.map((_, i) => ({ kind: "values", get: () => current[i] ?? null })),
  );
  return {
    columns,
    encode(values, into) {
      if (values.length !== columns.length)
        throw new OnceflowError(
          "INTERNAL",
          `a row of ${columns.length} columns was given ${values.length} values.`,
        );
      current = values;
      encodeCurrent(0, into);
    },
    encoder: (data) => createEncoder(layout, data),
    decoder: (wanted) => createDecoder(layout, wanted),
  };
}

interface Layout {
  readonly columns: readonly Column[];
  /** Per column its place among the bool columns, or −1. */
  readonly boolIndex: readonly number[];
  readonly nullBytes: number;
  /** Bytes before the values: format, nulls and bools. */
  readonly headerBytes: number;
}

function layoutOf(columns: readonly Column[]): Layout {
  let bools = 0;
  const boolIndex = columns.map(({ dtype }) => (dtype === "bool" ? bools++ : -1));
  const nullBytes = (columns.length + 7) >> 3;
  return { columns, boolIndex, nullBytes, headerBytes: 1 + nullBytes + ((bools + 7) >> 3) };
}

/** Appends a value of row `row`, or returns `isNull`, `isTrue` or `isFalse` and appends nothing. */
type ValueEncoder = (row: number, into: ByteWriter) => number;
const isWritten = 0;
const isNull = 1;
const isTrue = 2;
const isFalse = 3;

function createEncoder(layout: Layout, data: readonly ColumnData[]): RowEncoder {
  const { columns, boolIndex, nullBytes, headerBytes } = layout;
  if (data.length !== columns.length)
    throw new OnceflowError(
      "INTERNAL",
      `a batch of ${columns.length} stored columns was given ${data.length}.`,
    );
  const encoders = columns.map((column, i) => createValueEncoder(column, data[i] as ColumnData));
  return (row, into) => {
    const start = into.length;
    reserve(into, headerBytes);
    into.bytes[start] = formatByte;
    for (let i = 1; i < headerBytes; i++) into.bytes[start + i] = 0;
    into.length = start + headerBytes;
    for (let i = 0; i < encoders.length; i++) {
      const before = into.length;
      const outcome = (encoders[i] as ValueEncoder)(row, into);
      if (outcome === isWritten) {
        if (into.length - before > valueLimitBytes)
          refuseSize(columns[i] as Column, "value", into.length - before, valueLimitBytes);
        if (into.length - start > rowLimitBytes)
          refuseSize(columns[i] as Column, "row", into.length - start, rowLimitBytes);
      } else if (outcome === isNull) setBit(into.bytes, start + 1, i);
      else if (outcome === isTrue)
        setBit(into.bytes, start + 1 + nullBytes, boolIndex[i] as number);
    }
  };
}

function setBit(bytes: Buffer, start: number, bit: number): void {
  const at = start + (bit >> 3);
  bytes[at] = (bytes[at] as number) | (1 << (bit & 7));
}

function refuseSize({ name }: Column, what: "value" | "row", size: number, limit: number): never {
  throw new OnceflowError(
    "ROW_TOO_LARGE",
    what === "value"
      ? `a value of column "${name}" takes ${size} bytes; the limit is ${limit}.`
      : `a row takes ${size} bytes with column "${name}"; the limit is ${limit}.`,
    { column: name, size, limit },
  );
}

function createValueEncoder(column: Column, data: ColumnData): ValueEncoder {
  requireKind(column, data);
  switch (data.kind) {
    case "bools": {
      const { values, nulls } = data;
      return (row) => (nulls?.[row] ? isNull : values[row] ? isTrue : isFalse);
    }
    case "floats": {
      const { values, nulls } = data;
      return (row, into) => {
        if (nulls?.[row]) return isNull;
        writeFloat64(into, values[row] as number);
        return isWritten;
      };
    }
    case "words": {
      const { words, nulls } = data;
      return (row, into) => {
        if (nulls?.[row]) return isNull;
        writeZigzag(into, words[2 * row] as number, words[2 * row + 1] as number);
        return isWritten;
      };
    }
    case "texts": {
      const { values, nulls } = data;
      return (row, into) => {
        const value = values[row];
        if (nulls?.[row] || value == null) return isNull;
        return encodeText(column, value, into);
      };
    }
    case "values": {
      const { get } = data;
      return (row, into) => {
        const value = get(row);
        return value === null ? isNull : encodeValue(column, value, into);
      };
    }
  }
}

function encodeText(column: Column, value: string, into: ByteWriter): number {
  if (writeText(into, value) < 0)
    throw new OnceflowError(
      "VALUE_INVALID",
      `a text in column "${column.name}" is ill-formed UTF-16 (a lone surrogate).`,
      { column: column.name },
    );
  return isWritten;
}

function encodeValue(column: Column, value: NonNullable<Value>, into: ByteWriter): number {
  switch (column.dtype) {
    case "bool":
      if (typeof value !== "boolean") refuseValue(column, value);
      return value ? isTrue : isFalse;
    case "int64":
    case "timestamp": {
      if (!isInt64(value)) refuseValue(column, value);
      const [low, high] = wordsOf(value);
      writeZigzag(into, low, high);
      return isWritten;
    }
    case "float64":
      if (typeof value !== "number") refuseValue(column, value);
      writeFloat64(into, value);
      return isWritten;
    case "string":
      if (typeof value !== "string") refuseValue(column, value);
      return encodeText(column, value, into);
    case "list_float64":
      if (typeof value !== "object") refuseValue(column, value);
      writeVarint(into, value.length);
      for (const element of value) {
        if (typeof element !== "number") refuseValue(column, element);
        writeFloat64(into, element);
      }
      return isWritten;
  }
}

/** One column on the way to the last wanted one; `slot` is −1 where it is only passed over. */
interface Step {
  readonly column: number;
  readonly dtype: Column["dtype"];
  readonly bool: number;
  readonly slot: number;
}

function createDecoder(layout: Layout, wanted: readonly string[]): RowDecoder {
  const { columns, boolIndex, nullBytes, headerBytes } = layout;
  const places = wanted.map((name) => columns.findIndex((column) => column.name === name));
  const unknown = wanted.find((_, slot) => places[slot] === -1);
  if (unknown !== undefined)
    throw new OnceflowError("INTERNAL", `no stored column is named "${unknown}".`);
  const last = Math.max(-1, ...places);
  const readsAll = last === columns.length - 1;
  const steps = columns.slice(0, last + 1).map(({ dtype }, column): Step => ({
    column,
    dtype,
    bool: boolIndex[column] as number,
    slot: places.indexOf(column),
  }));
  const count = wanted.length;
  const reader: ByteReader = { bytes: Buffer.alloc(0), at: 0, end: 0 };

  return (bytes, start = 0, end = bytes.length) => {
    const out = new Array<Value>(count).fill(null);
    try {
      reader.bytes = bytes;
      reader.at = start;
      reader.end = end;
      skip(reader, headerBytes);
      if (bytes[start] !== formatByte) throw new MalformedBytes("the row's format is unknown");
      const nulls = start + 1;
      const bools = nulls + nullBytes;
      for (const { column, dtype, bool, slot } of steps) {
        if (bit(bytes, nulls, column)) continue;
        if (dtype === "bool") {
          if (slot >= 0) out[slot] = bit(bytes, bools, bool);
        } else if (slot >= 0) out[slot] = readValue(dtype, reader);
        else passValue(dtype, reader);
      }
      if (readsAll && reader.at !== end) throw new MalformedBytes("bytes follow the last column");
      return out;
    } catch (error) {
      if (!(error instanceof MalformedBytes)) throw error;
      throw new OnceflowError(
        "STORE_LOST",
        `a stored row is malformed: ${error.message}. Rebuild the view's online rows.`,
      );
    }
  };
}

function bit(bytes: Buffer, start: number, index: number): boolean {
  return (((bytes[start + (index >> 3)] as number) >> (index & 7)) & 1) === 1;
}

function readValue(dtype: Exclude<Column["dtype"], "bool">, reader: ByteReader): Value {
  switch (dtype) {
    case "int64":
    case "timestamp":
      readZigzag(reader);
      return int64FromWords(zigzagWords.low, zigzagWords.high);
    case "float64":
      return reader.bytes.readDoubleLE(skip(reader, 8));
    case "string": {
      const size = readVarint(reader);
      const from = skip(reader, size);
      return reader.bytes.toString("utf8", from, from + size);
    }
    case "list_float64": {
      const size = readVarint(reader);
      const from = skip(reader, size * 8);
      const list = new Array<number>(size);
      for (let i = 0; i < size; i++) list[i] = reader.bytes.readDoubleLE(from + i * 8);
      return list;
    }
  }
}

function passValue(dtype: Exclude<Column["dtype"], "bool">, reader: ByteReader): void {
  switch (dtype) {
    case "int64":
    case "timestamp":
      readZigzag(reader);
      return;
    case "float64":
      skip(reader, 8);
      return;
    case "string":
      skip(reader, readVarint(reader));
      return;
    case "list_float64":
      skip(reader, readVarint(reader) * 8);
      return;
  }
}
