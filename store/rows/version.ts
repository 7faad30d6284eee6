/**
 * The version of a stored row, which decides between two writes of one entity in any order.
 *
 * | bytes   | field          | encoding                                                    |
 * | ------- | -------------- | ----------------------------------------------------------- |
 * | 0 – 7   | event time, µs | int64, big-endian, sign bit flipped                         |
 * | 8 – 11  | generation     | uint32, big-endian                                          |
 * | 12 – 18 | ordinal        | uint53 in 7 bytes, big-endian                               |
 *
 * The integers' order is the bytes' unsigned order. Lua compares the integers, since its string
 * `<` follows the locale. The first 12 bytes alone are a mark.
 */
import type { Int64 } from "../../engine/language/dtypes.ts";
import { OnceflowError } from "../../engine/errors.ts";
import { floorDivInt64, int64FromWords, mulInt64, toInt64 } from "../../engine/language/int64.ts";

export interface Version {
  /** Event time in microseconds, or the interval's end where the source has none. */
  readonly eventTimeUs: Int64;
  /** Allotted to a run by the ledger, uint32. */
  readonly generation: number;
  /** The row's place in the ordered file list, 0 … 2^53 − 1. */
  readonly ordinal: number;
}

/** How far a run has come: the end of its interval, then its generation. */
export interface Mark {
  readonly endMs: number;
  readonly generation: number;
}

export const versionBytes = 19;
export const markBytes = 12;
/** The mark below all marks; a shard starts with it. */
export const zeroMark = Buffer.alloc(markBytes);

/** Writes 19 bytes at `offset`, from the event time's two 32-bit words. */
export function writeVersion(
  view: DataView,
  offset: number,
  eventTimeLow: number,
  eventTimeHigh: number,
  generation: number,
  ordinal: number,
): void {
  view.setUint32(offset, eventTimeHigh ^ 0x80000000);
  view.setUint32(offset + 4, eventTimeLow);
  view.setUint32(offset + 8, generation);
  // A safe integer has at most 21 bits above these 32.
  const high = Math.floor(ordinal / 0x100000000);
  view.setUint8(offset + 12, high >>> 16);
  view.setUint16(offset + 13, high & 0xffff);
  // A remainder would be that of doubles, which takes ten times as long.
  view.setUint32(offset + 15, ordinal - high * 0x100000000);
}

/**
 * The 19 bytes of a version.
 *
 * @throws VALUE_INVALID where a field is outside its range
 */
export function encodeVersion({ eventTimeUs, generation, ordinal }: Version): Buffer {
  const bytes = Buffer.allocUnsafe(versionBytes);
  const [low, high] = wordsOf(eventTimeUs);
  requireGeneration(generation);
  requireOrdinal(ordinal);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  writeVersion(view, 0, low, high, generation, ordinal);
  return bytes;
}

export function decodeVersion(bytes: Buffer, offset = 0): Version {
  return {
    eventTimeUs: readEventTime(bytes, offset),
    generation: bytes.readUInt32BE(offset + 8),
    ordinal: bytes.readUIntBE(offset + 12, 3) * 0x100000000 + bytes.readUInt32BE(offset + 15),
  };
}

/** The event time alone of an encoded version, in microseconds. */
export function readEventTime(bytes: Buffer, offset = 0): Int64 {
  return int64FromWords(bytes.readInt32BE(offset + 4), bytes.readUInt32BE(offset) ^ 0x80000000);
}

/** Negative, 0 or positive as `a` is older than, equal to or newer than `b`. */
export function compareVersions(a: Version, b: Version): number {
  if (a.eventTimeUs !== b.eventTimeUs) return a.eventTimeUs < b.eventTimeUs ? -1 : 1;
  return a.generation - b.generation || a.ordinal - b.ordinal;
}

/** The 12 bytes of a mark: the first 12 of any version with that event time and generation. */
export function encodeMark({ endMs, generation }: Mark): Buffer {
  requireGeneration(generation);
  const endUs = mulInt64(endMs, 1000);
  if (endUs === null) throw new OnceflowError("VALUE_INVALID", `${endMs} ms is no instant.`);
  const version = encodeVersion({ eventTimeUs: endUs, generation, ordinal: 0 });
  return version.subarray(0, markBytes);
}

export function decodeMark(bytes: Buffer, offset = 0): Mark {
  return {
    endMs: Number(floorDivInt64(readEventTime(bytes, offset), 1000)),
    generation: bytes.readUInt32BE(offset + 8),
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
