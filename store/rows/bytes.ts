/** A growable buffer and the primitive encodings of the store: varints, doubles, UTF-8. */

/** Bytes 0 … length − 1 of `bytes` are written; writing functions grow it as needed. */
export interface ByteWriter {
  bytes: Buffer;
  length: number;
}

export function createByteWriter(capacity = 4096): ByteWriter {
  return { bytes: Buffer.allocUnsafe(Math.max(16, capacity)), length: 0 };
}

/** Makes room for `extra` more bytes. */
export function reserve(writer: ByteWriter, extra: number): void {
  const needed = writer.length + extra;
  if (needed <= writer.bytes.length) return;
  const grown = Buffer.allocUnsafe(Math.max(needed, writer.bytes.length * 2));
  writer.bytes.copy(grown, 0, 0, writer.length);
  writer.bytes = grown;
}

/** Writes an unsigned LEB128 varint of at most 32 bits. */
export function writeVarint(writer: ByteWriter, value: number): void {
  reserve(writer, 5);
  const { bytes } = writer;
  let at = writer.length;
  let rest = value;
  while (rest >= 0x80) {
    bytes[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  bytes[at++] = rest;
  writer.length = at;
}

/** Writes the signed 64-bit integer of two 32-bit words as a zigzag LEB128 varint. */
export function writeZigzag(writer: ByteWriter, low: number, high: number): void {
  reserve(writer, 10);
  const sign = high >> 31;
  let restLow = ((low << 1) ^ sign) >>> 0;
  let restHigh = (((high << 1) | (low >>> 31)) ^ sign) >>> 0;
  const { bytes } = writer;
  let at = writer.length;
  while (restHigh !== 0) {
    bytes[at++] = (restLow & 0x7f) | 0x80;
    restLow = ((restLow >>> 7) | (restHigh << 25)) >>> 0;
    restHigh >>>= 7;
  }
  while (restLow >= 0x80) {
    bytes[at++] = (restLow & 0x7f) | 0x80;
    restLow >>>= 7;
  }
  bytes[at++] = restLow;
  writer.length = at;
}

/** Writes 8 bytes, little-endian; every NaN becomes the quiet NaN 0x7ff8000000000000. */
export function writeFloat64(writer: ByteWriter, value: number): void {
  reserve(writer, 8);
  const { bytes, length } = writer;
  if (Number.isNaN(value)) {
    bytes.fill(0, length, length + 6);
    bytes[length + 6] = 0xf8;
    bytes[length + 7] = 0x7f;
  } else bytes.writeDoubleLE(value, length);
  writer.length = length + 8;
}

/** The longest text whose characters are worth looking at one by one instead of in native code. */
const shortText = 40;

/**
 * Writes a varint byte count and the UTF-8 bytes of a text.
 *
 * @returns the count of UTF-8 bytes, or −1 (nothing written) where the UTF-16 is ill-formed
 */
export function writeText(writer: ByteWriter, text: string): number {
  const units = text.length;
  if (units <= shortText) {
    reserve(writer, units + 1);
    const { bytes } = writer;
    let at = writer.length + 1;
    let i = 0;
    for (; i < units; i++) {
      const unit = text.charCodeAt(i);
      if (unit >= 0x80) break;
      bytes[at++] = unit;
    }
    if (i === units) {
      bytes[writer.length] = units;
      writer.length = at;
      return units;
    }
  }
  // Node writes U+FFFD for a lone surrogate, so two texts could become one.
  if (!text.isWellFormed()) return -1;
  const count = Buffer.byteLength(text);
  writeVarint(writer, count);
  reserve(writer, count);
  writer.bytes.write(text, writer.length, count, "utf8");
  writer.length += count;
  return count;
}

/** A place in a buffer that is being read; `end` is the first byte that must not be read. */
export interface ByteReader {
  bytes: Buffer;
  at: number;
  end: number;
}

/** What a reading function throws where the bytes end early or are no canonical encoding. */
export class MalformedBytes extends Error {
  override readonly name = "MalformedBytes";
}

/** Moves over `count` bytes and returns where they begin. */
export function skip(reader: ByteReader, count: number): number {
  const start = reader.at;
  if (count > reader.end - start) throw new MalformedBytes("the bytes end early");
  reader.at = start + count;
  return start;
}

/** Reads what `writeVarint` writes. */
export function readVarint(reader: ByteReader): number {
  const { bytes, end } = reader;
  let value = 0;
  for (let shift = 0; shift < 35; shift += 7) {
    if (reader.at >= end) throw new MalformedBytes("the bytes end early");
    const byte = bytes[reader.at++] as number;
    if (shift === 28 && byte > 0x0f) break;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      if (byte === 0 && shift > 0) break;
      return value >>> 0;
    }
  }
  throw new MalformedBytes("a varint is too long");
}

/** The two words that `readZigzag` read last. */
export const zigzagWords = { low: 0, high: 0 };

/** Reads what `writeZigzag` writes into `zigzagWords`, so that no pair is allocated. */
export function readZigzag(reader: ByteReader): void {
  const { bytes, end } = reader;
  let low = 0;
  let high = 0;
  for (let shift = 0; shift < 70; shift += 7) {
    if (reader.at >= end) throw new MalformedBytes("the bytes end early");
    const byte = bytes[reader.at++] as number;
    if (shift === 63 && byte > 1) break;
    const group = byte & 0x7f;
    if (shift < 32) low |= group << shift;
    if (shift >= 32) high |= group << (shift - 32);
    else if (shift === 28) high |= group >>> 4;
    if (byte < 0x80) {
      if (byte === 0 && shift > 0) break;
      const sign = -(low & 1);
      zigzagWords.low = ((low >>> 1) | (high << 31)) ^ sign;
      zigzagWords.high = (high >>> 1) ^ sign;
      return;
    }
  }
  throw new MalformedBytes("a varint is too long");
}
