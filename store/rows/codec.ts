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
import type { Value } from "../../engine/language/dtypes.ts";
import { OnceflowError } from "../../engine/errors.ts";
import { int64FromWords } from "../../engine/language/int64.ts";
import type { ByteReader } from "./bytes.ts";
import { MalformedBytes, readVarint, readZigzag, skip, zigzagWords } from "./bytes.ts";
import type { Column, ColumnData } from "./column-data.ts";
import { type BlockEncoder, createEncoder } from "./encoder.ts";
import { formatByte, type Layout, layoutOf } from "./layout.ts";

/**
 * The values of the wanted columns, in the order they were asked for, of the row in bytes
 * [start, end); what follows the last wanted column is not read.
 *
 * @throws STORE_LOST where the bytes are no row of these columns
 */
export type RowDecoder = (bytes: Buffer, start?: number, end?: number) => Value[];

export interface RowCodec {
  readonly columns: readonly Column[];
  /** An encoder of the columns of a batch. */
  readonly encoder: (data: readonly ColumnData[]) => BlockEncoder;
  /** @throws INTERNAL where a wanted column does not exist */
  readonly decoder: (wanted: readonly string[]) => RowDecoder;
}

/** Makes the codec of rows with these columns, in storage order. */
export function createRowCodec(columns: readonly Column[]): RowCodec {
  const layout = layoutOf(columns);
  return {
    columns,
    encoder: (data) => createEncoder(layout, data),
    decoder: (wanted) => createDecoder(layout, wanted),
  };
}

/** One column on the way to the last wanted one; `target` is −1 where it is only passed over. */
interface Step {
  readonly column: number;
  readonly dtype: Column["dtype"];
  readonly bool: number;
  readonly target: number;
}

function createDecoder(layout: Layout, wanted: readonly string[]): RowDecoder {
  const { columns, boolIndex, nullBytes, headerBytes } = layout;
  const places = wanted.map((name) => columns.findIndex((column) => column.name === name));
  const unknown = wanted.find((_, target) => places[target] === -1);
  if (unknown !== undefined)
    throw new OnceflowError("INTERNAL", `no stored column is named "${unknown}".`);
  const last = Math.max(-1, ...places);
  const readsAll = last === columns.length - 1;
  const steps = columns.slice(0, last + 1).map(({ dtype }, column): Step => ({
    column,
    dtype,
    bool: boolIndex[column] as number,
    target: places.indexOf(column),
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
      for (const { column, dtype, bool, target } of steps) {
        if (bit(bytes, nulls, column)) continue;
        if (dtype === "bool") {
          if (target >= 0) out[target] = bit(bytes, bools, bool);
        } else if (target >= 0) out[target] = readValue(dtype, reader);
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
