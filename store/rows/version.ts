/**
 * The version of a stored row, which decides between two writes of one entity in any order: of two
 * publishes the later, within one the newest row.
 *
 * | bytes   | field                   | encoding                                           |
 * | ------- | ----------------------- | -------------------------------------------------- |
 * | 0 – 3   | generation of a publish | uint32, big-endian                                 |
 * | 4 – 9   | end of the publish, ms  | uint48 from `earliestEndMs` on, big-endian         |
 * | 10 – 17 | event time, µs          | int64, big-endian, sign bit flipped                |
 * | 18 – 24 | ordinal                 | uint53 in 7 bytes, big-endian                      |
 *
 * The integers' order is the bytes' unsigned order. Lua compares the integers, since its string
 * `<` follows the locale. The first 10 bytes alone are a mark.
 */
import type { Int64 } from "../../engine/language/dtypes.ts";
import { OnceflowError } from "../../engine/errors.ts";
import { int64FromWords, toInt64 } from "../../engine/language/int64.ts";

export interface Version extends Mark {
  /** Event time in microseconds, or the interval's end where the source has none. */
  readonly eventTimeUs: Int64;
  /** The row's place in the ordered file list, 0 … 2^53 − 1. */
  readonly ordinal: number;
}

/** A publish: its generation, and the end up to which it counts. */
export interface Mark {
  /** Allotted to the publish when it begins, uint32; a later publish has a greater one. */
  readonly generation: number;
  readonly endMs: number;
}

export const versionBytes = 25;
export const markBytes = 10;
/** The mark below all marks; a shard starts with it. */
export const zeroMark = Buffer.alloc(markBytes);

/** Writes what follows the mark at `offset`, from the event time's two 32-bit words. */
export function writeRest(
  view: DataView,
  offset: number,
  eventTimeLow: number,
  eventTimeHigh: number,
  ordinal: number,
): void {
  view.setUint32(offset + markBytes, eventTimeHigh ^ 0x80000000);
  view.setUint32(offset + markBytes + 4, eventTimeLow);
  // A safe integer has at most 21 bits above these 32.
  const high = Math.floor(ordinal / 0x100000000);
  view.setUint8(offset + markBytes + 8, high >>> 16);
  view.setUint16(offset + markBytes + 9, high & 0xffff);
  // A remainder would be that of doubles, which takes ten times as long.
  view.setUint32(offset + markBytes + 11, ordinal - high * 0x100000000);
}

/**
 * The bytes of a version.
 *
 * @throws VALUE_INVALID where a field is outside its range
 */
export function encodeVersion({ eventTimeUs, ordinal, ...mark }: Version): Buffer {
  const bytes = Buffer.allocUnsafe(versionBytes);
  encodeMark(mark).copy(bytes);
  requireOrdinal(ordinal);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  writeRest(view, 0, ...wordsOf(eventTimeUs), ordinal);
  return bytes;
}

export function decodeVersion(bytes: Buffer, offset = 0): Version {
  const rest = offset + markBytes;
  return {
    ...decodeMark(bytes, offset),
    eventTimeUs: readEventTime(bytes, offset),
    ordinal: bytes.readUIntBE(rest + 8, 3) * 0x100000000 + bytes.readUInt32BE(rest + 11),
  };
}

/** The event time alone of an encoded version, in microseconds. */
export function readEventTime(bytes: Buffer, offset = 0): Int64 {
  const place = offset + markBytes;
  return int64FromWords(bytes.readInt32BE(place + 4), bytes.readUInt32BE(place) ^ 0x80000000);
}

/** Negative, 0 or positive as `a` is older than, equal to or newer than `b`. */
export function compareVersions(a: Version, b: Version): number {
  const marks = a.generation - b.generation || a.endMs - b.endMs;
  if (marks !== 0) return marks;
  if (a.eventTimeUs !== b.eventTimeUs) return a.eventTimeUs < b.eventTimeUs ? -1 : 1;
  return a.ordinal - b.ordinal;
}

/** The ends that 48 bits have room for: back from the last of the calendar, to the year 1080. */
export const latestEndMs = Date.parse("9999-12-31T23:59:59.999Z");
export const earliestEndMs = latestEndMs - (2 ** 48 - 1);

/**
 * The bytes of a mark, with which all versions of its publish begin.
 *
 * @throws VALUE_INVALID where a field is outside its range
 */
export function encodeMark({ generation, endMs }: Mark): Buffer {
  requireGeneration(generation);
  if (!Number.isInteger(endMs) || endMs < earliestEndMs || endMs > latestEndMs)
    throw new OnceflowError(
      "VALUE_INVALID",
      `a publish cannot end at ${endMs} ms: its end must be in the years 1080 to 9999.`,
    );
  const bytes = Buffer.allocUnsafe(markBytes);
  bytes.writeUInt32BE(generation);
  bytes.writeUIntBE(endMs - earliestEndMs, 4, 6);
  return bytes;
}

export function decodeMark(bytes: Buffer, offset = 0): Mark {
  return {
    generation: bytes.readUInt32BE(offset),
    endMs: bytes.readUIntBE(offset + 4, 6) + earliestEndMs,
  };
}

/**
 * The two 32-bit words, low and high, of an exact 64-bit integer.
 *
 * @throws VALUE_INVALID where it is no integer, not exact, or does not fit
 */
export function wordsOf(value: Int64): readonly [low: number, high: number] {
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value))
      throw new OnceflowError("VALUE_INVALID", `${value} is no exact 64-bit integer.`);
    return [value | 0, Math.floor(value / 0x100000000)];
  }
  if (toInt64(value) === null)
    throw new OnceflowError("VALUE_INVALID", `${value} does not fit in 64 bits.`);
  return [Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n))];
}

export function requireGeneration(generation: number): void {
  if (!Number.isInteger(generation) || generation < 0 || generation > 0xffffffff)
    throw new OnceflowError("VALUE_INVALID", `the generation ${generation} is no uint32.`);
}

export function requireOrdinal(ordinal: number): void {
  if (!Number.isSafeInteger(ordinal) || ordinal < 0)
    throw new OnceflowError("VALUE_INVALID", `the ordinal ${ordinal} is outside 0 … 2^53 − 1.`);
}
