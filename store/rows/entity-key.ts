/**
 * The encoding of an entity key, and the bucket it falls into.
 *
 * An entity key is a tuple of one or more exact strings. Each is written as a varint count of
 * bytes and its UTF-8, so no two tuples share an encoding, whatever the strings hold.
 */
import { OnceflowError } from "../../engine/errors.ts";
import type { ByteReader, ByteWriter } from "./bytes.ts";
import { createByteWriter, MalformedBytes, readVarint, skip, writeText } from "./bytes.ts";

/** The most UTF-8 bytes that the strings of one entity key may have together. */
const entityKeyLimitBytes = 512;

const scratch = createByteWriter(1024);

/**
 * The encoded entity key.
 *
 * @throws VALUE_INVALID for ill-formed UTF-16 or an empty tuple, ROW_TOO_LARGE over 512 bytes
 */
export function encodeEntityKey(parts: readonly string[]): Buffer {
  if (parts.length === 0) throw new OnceflowError("VALUE_INVALID", "an entity key has no columns.");
  scratch.length = 0;
  let size = 0;
  for (let i = 0; i < parts.length; i++) size += writeKeyPart(scratch, parts[i] as string, i);
  requireKeySize(size);
  return Buffer.from(scratch.bytes.subarray(0, scratch.length));
}

/** Appends one string of a key and returns its UTF-8 bytes. @throws VALUE_INVALID */
function writeKeyPart(writer: ByteWriter, text: string, column: number): number {
  // A text this long is refused by its length alone, before any work on it.
  if (text.length > entityKeyLimitBytes) requireKeySize(text.length);
  const size = writeText(writer, text);
  if (size < 0)
    throw new OnceflowError(
      "VALUE_INVALID",
      `entity key column ${column + 1} is ill-formed UTF-16 (a lone surrogate): send valid text.`,
    );
  return size;
}

/** @throws ROW_TOO_LARGE */
export function requireKeySize(size: number): void {
  if (size > entityKeyLimitBytes)
    throw new OnceflowError(
      "ROW_TOO_LARGE",
      `the entity key has at least ${size} bytes of UTF-8; the limit is ${entityKeyLimitBytes}.`,
      { size, limit: entityKeyLimitBytes },
    );
}

/**
 * The strings of an encoded entity key.
 *
 * @throws STORE_LOST where the bytes are no key
 */
export function decodeEntityKey(bytes: Buffer): string[] {
  const reader: ByteReader = { bytes, at: 0, end: bytes.length };
  const parts: string[] = [];
  try {
    while (reader.at < reader.end) {
      const size = readVarint(reader);
      const start = skip(reader, size);
      parts.push(bytes.toString("utf8", start, start + size));
    }
  } catch (error) {
    if (!(error instanceof MalformedBytes)) throw error;
    throw new OnceflowError("STORE_LOST", `a stored entity key is malformed: ${error.message}.`);
  }
  return parts;
}

/**
 * The 32-bit hash of an encoded entity key: FNV-1a over its bytes, then the finalizer of
 * MurmurHash3. Fixed for ever, since it decides where rows are found.
 */
export function hashKey(bytes: Buffer, start = 0, end = bytes.length): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** The bucket, 0 … buckets − 1, of an encoded entity key: its hash modulo the bucket count. */
export function bucketOf(key: Buffer, buckets: number): number {
  return hashKey(key) % buckets;
}
