/**
 * Encodes rows in blocks, column by column: one loop over the numbers of a column is many times
 * faster than a call for each value. bytes.ts has the same encodings for one value; the test of the
 * row codec holds the two together.
 */
import type { Value } from "../../engine/language/dtypes.ts";
import { OnceflowError } from "../../engine/errors.ts";
import {
  type ByteWriter,
  createByteWriter,
  writeFloat64,
  writeText,
  writeVarint,
  writeZigzag,
} from "./bytes.ts";
import type { Column, ColumnData } from "./column-data.ts";
import { isInt64, refuseValue, requireKind } from "./column-data.ts";
import { formatByte, type Layout } from "./layout.ts";
import { wordsOf } from "./version.ts";

/** The most bytes of one encoded value. */
export const valueLimitBytes = 64 * 1024;
/** The most bytes of one encoded row. */
export const rowLimitBytes = 256 * 1024;

/** Where rows are written: row i of a block from places[i] on. */
export interface Block {
  readonly bytes: Uint8Array;
  /** The same bytes. */
  readonly view: DataView;
  readonly places: Uint32Array;
}

/** Encodes the rows of a batch. */
export interface BlockEncoder {
  /**
   * Sets sizes[i] to the bytes of row `from` + i, for each row before `to`.
   *
   * @throws VALUE_INVALID, ROW_TOO_LARGE naming the column
   */
  readonly measure: (from: number, to: number, sizes: Uint32Array) => void;
  /** Writes them, and moves each place behind its row. */
  readonly write: (from: number, to: number, into: Block) => void;
}

/** The part of a block encoder that is of one column. */
interface ColumnEncoder {
  /** Adds the column's bytes to the sizes; absent where all its values lie in the header. */
  readonly measure?: (from: number, to: number, sizes: Uint32Array) => void;
  /** `starts` are the places at which the rows begin. */
  readonly write: (from: number, to: number, into: Block, starts: Uint32Array) => void;
}

/** Sets a bit of row i's header. */
type SetBit = (bytes: Uint8Array, start: number) => void;

export function createEncoder(layout: Layout, data: readonly ColumnData[]): BlockEncoder {
  const { columns, boolIndex, nullBytes, headerBytes } = layout;
  if (data.length !== columns.length)
    throw new OnceflowError(
      "INTERNAL",
      `a batch of ${columns.length} stored columns was given ${data.length}.`,
    );
  const encoders = columns.map((column, i) =>
    createColumnEncoder(
      column,
      data[i] as ColumnData,
      bitSetter(8 + i),
      bitSetter(8 * (1 + nullBytes) + (boolIndex[i] as number)),
    ),
  );
  return {
    measure(from, to, sizes) {
      sizes.fill(headerBytes, 0, to - from);
      encoders.forEach((encoder, i) => {
        if (encoder.measure === undefined) return;
        encoder.measure(from, to, sizes);
        for (let row = 0; row < to - from; row++)
          if ((sizes[row] as number) > rowLimitBytes)
            refuseSize(columns[i] as Column, "row", sizes[row] as number, rowLimitBytes);
      });
    },
    write(from, to, into) {
      const { bytes, places } = into;
      const starts = places.slice(0, to - from);
      for (let i = 0; i < to - from; i++) {
        const start = starts[i] as number;
        bytes[start] = formatByte;
        bytes.fill(0, start + 1, start + headerBytes);
        places[i] = start + headerBytes;
      }
      for (const encoder of encoders) encoder.write(from, to, into, starts);
    },
  };
}

function bitSetter(bit: number): SetBit {
  const [offset, mask] = [bit >> 3, 1 << (bit & 7)];
  return (bytes, start) => {
    bytes[start + offset] = (bytes[start + offset] as number) | mask;
  };
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

function createColumnEncoder(
  column: Column,
  data: ColumnData,
  setNull: SetBit,
  setTrue: SetBit,
): ColumnEncoder {
  requireKind(column, data);
  switch (data.kind) {
    case "bools":
      return encodeBools(data, setNull, setTrue);
    case "floats":
      return encodeFloats(data, setNull);
    case "words":
      return encodeWords(data, setNull);
    case "utf8":
      return encodeUtf8(column, data, setNull);
    case "values":
      return encodeValues(column, data, setNull, setTrue);
  }
}

type Of<Kind extends ColumnData["kind"]> = Extract<ColumnData, { readonly kind: Kind }>;

function encodeBools({ values, nulls }: Of<"bools">, setNull: SetBit, setTrue: SetBit) {
  return {
    write(from: number, to: number, { bytes }: Block, starts: Uint32Array) {
      for (let row = from; row < to; row++) {
        const start = starts[row - from] as number;
        if (nulls?.[row]) setNull(bytes, start);
        else if (values[row]) setTrue(bytes, start);
      }
    },
  };
}

function encodeFloats({ values, nulls }: Of<"floats">, setNull: SetBit): ColumnEncoder {
  return {
    measure(from, to, sizes) {
      for (let row = from; row < to; row++)
        if (!nulls?.[row]) sizes[row - from] = (sizes[row - from] as number) + 8;
    },
    write(from, to, { bytes, view, places }, starts) {
      for (let row = from; row < to; row++) {
        if (nulls?.[row]) {
          setNull(bytes, starts[row - from] as number);
          continue;
        }
        const place = places[row - from] as number;
        const value = values[row] as number;
        // A NaN may have other bits: there is one encoding for it.
        view.setFloat64(place, value === value ? value : NaN, true);
        if (value !== value) view.setUint32(place + 4, 0x7ff80000, true);
        places[row - from] = place + 8;
      }
    },
  };
}

/** Bytes of a varint of so many significant bits, which is at least one byte. */
function varintBytes(bits: number): number {
  return (bits * 9 + 64) >>> 6;
}

function encodeWords({ words, nulls }: Of<"words">, setNull: SetBit): ColumnEncoder {
  return {
    measure(from, to, sizes) {
      for (let row = from; row < to; row++) {
        if (nulls?.[row]) continue;
        const low = words[2 * row] as number;
        const high = words[2 * row + 1] as number;
        const sign = high >> 31;
        const zigzagHigh = ((high << 1) | (low >>> 31)) ^ sign;
        const bits =
          zigzagHigh === 0 ? 32 - Math.clz32(((low << 1) ^ sign) | 1) : 64 - Math.clz32(zigzagHigh);
        sizes[row - from] = (sizes[row - from] as number) + varintBytes(bits);
      }
    },
    write(from, to, { bytes, places }, starts) {
      for (let row = from; row < to; row++) {
        if (nulls?.[row]) {
          setNull(bytes, starts[row - from] as number);
          continue;
        }
        const low = words[2 * row] as number;
        const high = words[2 * row + 1] as number;
        const sign = high >> 31;
        let restLow = ((low << 1) ^ sign) >>> 0;
        let restHigh = (((high << 1) | (low >>> 31)) ^ sign) >>> 0;
        let place = places[row - from] as number;
        while (restHigh !== 0) {
          bytes[place++] = (restLow & 0x7f) | 0x80;
          restLow = ((restLow >>> 7) | (restHigh << 25)) >>> 0;
          restHigh >>>= 7;
        }
        while (restLow >= 0x80) {
          bytes[place++] = (restLow & 0x7f) | 0x80;
          restLow >>>= 7;
        }
        bytes[place++] = restLow;
        places[row - from] = place;
      }
    },
  };
}

function encodeUtf8(column: Column, data: Of<"utf8">, setNull: SetBit): ColumnEncoder {
  const { nulls } = data;
  return {
    measure(from, to, sizes) {
      for (let row = from; row < to; row++) {
        if (nulls?.[row]) continue;
        const size = utf8PartBytes(data, row);
        if (size > valueLimitBytes) refuseSize(column, "value", size, valueLimitBytes);
        sizes[row - from] = (sizes[row - from] as number) + size;
      }
    },
    write(from, to, { bytes, places }, starts) {
      for (let row = from; row < to; row++)
        if (nulls?.[row]) setNull(bytes, starts[row - from] as number);
        else places[row - from] = writeUtf8Part(data, row, bytes, places[row - from] as number);
    },
  };
}

/** Bytes of a text behind its varint count of bytes. */
export function utf8PartBytes({ offsets }: Pick<Of<"utf8">, "offsets">, row: number): number {
  const size = (offsets[row + 1] as number) - (offsets[row] as number);
  return size + varintBytes(32 - Math.clz32(size | 1));
}

/** Writes a text behind its varint count of bytes, and returns where it ends. */
export function writeUtf8Part(
  { bytes: from, offsets }: Pick<Of<"utf8">, "bytes" | "offsets">,
  row: number,
  into: Uint8Array,
  place: number,
): number {
  const start = offsets[row] as number;
  const end = offsets[row + 1] as number;
  let rest = end - start;
  while (rest >= 0x80) {
    into[place++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  into[place++] = rest;
  for (let at = start; at < end; at++) into[place++] = from[at] as number;
  return place;
}

/** Of values one by one: what is encoded is copied. */
function encodeValues(
  column: Column,
  { get }: Of<"values">,
  setNull: SetBit,
  setTrue: SetBit,
): ColumnEncoder {
  const scratch = createByteWriter();
  const isBool = column.dtype === "bool";
  const encode = (row: number): Value => {
    const value = get(row);
    scratch.length = 0;
    if (value !== null) encodeValue(column, value, scratch);
    return value;
  };
  return {
    measure(from, to, sizes) {
      for (let row = from; row < to; row++) {
        encode(row);
        if (scratch.length > valueLimitBytes)
          refuseSize(column, "value", scratch.length, valueLimitBytes);
        sizes[row - from] = (sizes[row - from] as number) + scratch.length;
      }
    },
    write(from, to, { bytes, places }, starts) {
      for (let row = from; row < to; row++) {
        const value = encode(row);
        const start = starts[row - from] as number;
        if (value === null) setNull(bytes, start);
        else if (isBool && value === true) setTrue(bytes, start);
        const place = places[row - from] as number;
        bytes.set(scratch.bytes.subarray(0, scratch.length), place);
        places[row - from] = place + scratch.length;
      }
    },
  };
}

/** Appends a value; of a bool there is nothing to append. */
function encodeValue(column: Column, value: NonNullable<Value>, into: ByteWriter): void {
  switch (column.dtype) {
    case "bool":
      if (typeof value !== "boolean") refuseValue(column, value);
      return;
    case "int64":
    case "timestamp": {
      if (!isInt64(value)) refuseValue(column, value);
      const [low, high] = wordsOf(value);
      writeZigzag(into, low, high);
      return;
    }
    case "float64":
      if (typeof value !== "number") refuseValue(column, value);
      writeFloat64(into, value);
      return;
    case "string":
      if (typeof value !== "string") refuseValue(column, value);
      if (writeText(into, value) >= 0) return;
      throw new OnceflowError(
        "VALUE_INVALID",
        `a text in column "${column.name}" is ill-formed UTF-16 (a lone surrogate).`,
        { column: column.name },
      );
    case "list_float64":
      if (typeof value !== "object") refuseValue(column, value);
      writeVarint(into, value.length);
      for (const element of value) {
        if (typeof element !== "number") refuseValue(column, element);
        writeFloat64(into, element);
      }
      return;
  }
}
