/**
 * Reads and writes structs of Thrift's compact protocol, in which parquet keeps its metadata.
 *
 * A struct is its fields by id, and each value stays the bytes that were read, so what is not
 * looked into is written back as it was, fields of later versions included.
 *
 * Spec: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
 */

/** The types that values of ours have, as the protocol numbers them. */
export const thriftType = {
  true: 1,
  false: 2,
  i32: 5,
  i64: 6,
  text: 8,
  list: 9,
  struct: 12,
} as const;

/** A value: the protocol's number of its type, and its bytes without id and type. */
export interface ThriftValue {
  readonly type: number;
  readonly bytes: Buffer;
}

/** The fields of a struct by id. */
export type ThriftStruct = ReadonlyMap<number, ThriftValue>;

/** What is read nests about ten deep; without a limit, damaged bytes could exhaust the stack. */
const maxDepth = 64;

/**
 * Reads the fields of a struct; bytes behind it are left alone.
 *
 * @throws Error where the bytes are no struct: callers know which file they are of
 */
export function readStruct(bytes: Buffer): ThriftStruct {
  const fields = new Map<number, ThriftValue>();
  let at = 0;
  let id = 0;
  for (let header; (header = byteAt(bytes, at++)) !== 0;) {
    if (header >> 4 === 0) {
      const { value, end } = readVarint(bytes, at);
      id = unzigzag(value);
      at = end;
    } else id += header >> 4;
    const type = header & 15;
    const end = endOf(bytes, at, type, true, 0);
    fields.set(id, { type, bytes: bytes.subarray(at, end) });
    at = end;
  }
  return fields;
}

/**
 * Where the struct ends that begins at `at`.
 *
 * @throws Error where the bytes are no struct
 */
export function structEnd(bytes: Buffer, at: number): number {
  return endOf(bytes, at, thriftType.struct, false, 0);
}

/**
 * Reads the elements of a list.
 *
 * @throws Error where the value is no list
 */
export function readList(list: ThriftValue | undefined): ThriftValue[] {
  if (list?.type !== thriftType.list) throw new Error("its metadata lacks a list");
  const { type, size, start } = readListHeader(list.bytes, 0);
  const elements: ThriftValue[] = [];
  for (let i = 0, at = start; i < size; i++) {
    const end = endOf(list.bytes, at, type, false, 0);
    elements.push({ type, bytes: list.bytes.subarray(at, end) });
    at = end;
  }
  return elements;
}

/**
 * Reads an integer of 16, 32 or 64 bits.
 *
 * @throws Error where the value is none, or beyond what a double holds exactly
 */
export function readInteger(integer: ThriftValue | undefined): number {
  if (integer === undefined || integer.type < 4 || integer.type > 6)
    throw new Error("its metadata lacks a number");
  const { value } = readVarint(integer.bytes, 0);
  if (value > Number.MAX_SAFE_INTEGER) throw new Error("its metadata holds too large a number");
  return unzigzag(value);
}

/** Reads text; undefined where the value is none. */
export function readText(text: ThriftValue | undefined): string | undefined {
  if (text?.type !== thriftType.text) return undefined;
  return text.bytes.toString("utf8", readVarint(text.bytes, 0).end);
}

/** Writes a struct, its fields in the order of their ids as readers expect them. */
export function writeStruct(fields: ThriftStruct): ThriftValue {
  const parts: Buffer[] = [];
  let last = 0;
  for (const [id, { type, bytes }] of [...fields].sort(([a], [b]) => a - b)) {
    const step = id - last;
    const isShort = step > 0 && step < 16;
    parts.push(Buffer.from(isShort ? [(step << 4) | type] : [type, ...varint(zigzag(id))]), bytes);
    last = id;
  }
  parts.push(Buffer.from([0]));
  return { type: thriftType.struct, bytes: Buffer.concat(parts) };
}

/** Writes a list of structs. */
export function writeList(structs: readonly ThriftValue[]): ThriftValue {
  const { length } = structs;
  const isShort = length < 15;
  const header = ((isShort ? length : 15) << 4) | thriftType.struct;
  const parts = [Buffer.from(isShort ? [header] : [header, ...varint(length)])];
  return {
    type: thriftType.list,
    bytes: Buffer.concat([...parts, ...structs.map(({ bytes }) => bytes)]),
  };
}

/** Writes an integer of 64 bits. */
export function writeInteger(value: number): ThriftValue {
  return { type: thriftType.i64, bytes: Buffer.from(varint(zigzag(value))) };
}

/** Writes an integer of 32 bits. */
export function writeInt32(value: number): ThriftValue {
  return { type: thriftType.i32, bytes: Buffer.from(varint(zigzag(value))) };
}

/** Writes text. */
export function writeText(value: string): ThriftValue {
  const bytes = Buffer.from(value);
  return {
    type: thriftType.text,
    bytes: Buffer.concat([Buffer.from(varint(bytes.length)), bytes]),
  };
}

/** Where the value ends that begins at `at`; every value but a field's boolean has a byte. */
function endOf(bytes: Buffer, at: number, type: number, isField: boolean, depth: number): number {
  if (depth > maxDepth) throw new Error("its metadata nests too deep");
  switch (type) {
    case 1:
    case 2:
      // A field's boolean is in its type.
      return isField ? at : within(bytes, at + 1);
    case 3:
      return within(bytes, at + 1);
    case 4:
    case 5:
    case 6:
      return readVarint(bytes, at).end;
    case 7:
      return within(bytes, at + 8);
    case 8: {
      const { value, end } = readVarint(bytes, at);
      return within(bytes, end + value);
    }
    case 9:
    case 10: {
      const { type: element, size, start } = readListHeader(bytes, at);
      let end = start;
      for (let i = 0; i < size; i++) end = endOf(bytes, end, element, false, depth + 1);
      return end;
    }
    case 11: {
      const { value: size, end: start } = readVarint(bytes, at);
      if (size === 0) return start;
      const types = byteAt(bytes, start);
      let end = start + 1;
      for (let i = 0; i < size; i++) {
        end = endOf(bytes, end, types >> 4, false, depth + 1);
        end = endOf(bytes, end, types & 15, false, depth + 1);
      }
      return end;
    }
    case 12: {
      let end = at;
      for (let header; (header = byteAt(bytes, end++)) !== 0;) {
        if (header >> 4 === 0) end = readVarint(bytes, end).end;
        end = endOf(bytes, end, header & 15, true, depth + 1);
      }
      return end;
    }
    case 13:
      return within(bytes, at + 16);
    default:
      throw new Error(`its metadata holds the unknown type ${type}`);
  }
}

function readListHeader(bytes: Buffer, at: number): { type: number; size: number; start: number } {
  const header = byteAt(bytes, at);
  const type = header & 15;
  if (header >> 4 < 15) return { type, size: header >> 4, start: at + 1 };
  const { value, end } = readVarint(bytes, at + 1);
  return { type, size: value, start: end };
}

/** An unsigned varint as a double: rounded beyond 2^53. */
function readVarint(bytes: Buffer, at: number): { value: number; end: number } {
  let value = 0;
  let unit = 1;
  for (let end = at; end < at + 10; unit *= 128) {
    const byte = byteAt(bytes, end++);
    value += (byte & 127) * unit;
    if (byte < 128) return { value, end };
  }
  throw new Error("its metadata holds a number of more than 64 bits");
}

function byteAt(bytes: Buffer, at: number): number {
  const byte = bytes[at];
  if (byte === undefined) throw new Error("its metadata ends early");
  return byte;
}

function within(bytes: Buffer, end: number): number {
  if (end > bytes.length) throw new Error("its metadata ends early");
  return end;
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return [...bytes, rest];
}

function zigzag(value: number): number {
  return value < 0 ? -2 * value - 1 : 2 * value;
}

function unzigzag(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}
