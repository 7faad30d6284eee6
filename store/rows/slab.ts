/**
 * Encoded entries, none of an entity twice, laid out as the script write_rows.lua reads them: each
 * begins at a multiple of four bytes, so that it is copied word by word.
 */
import { hashKey } from "./entity-key.ts";
import type { Namespace } from "../namespace.ts";
import type { Block } from "./encoder.ts";

/** The same bytes, seen in three ways. */
interface SlabBytes {
  bytes: Buffer;
  view: DataView;
  words: Int32Array;
}

/** Entries by number, from 0 to `count`; all arrays are longer than what they hold. */
export interface Slab extends SlabBytes {
  readonly capacityRows: number;
  /** Bytes that are taken. */
  length: number;
  count: number;
  /** Of each entry, where it begins, in bytes. */
  offsets: Uint32Array;
  /** Of each entry's key. */
  hashes: Uint32Array;
  /** Of each entry, in words. */
  sizes: Uint32Array;
  /** Open addressing by hash: entry + 1, or 0. */
  table: Int32Array;
}

/** Rows of a slab: one for each bucket within these, since Redis works by bucket, not by row. */
const [leastRows, mostRows] = [1 << 18, 1 << 20];
const bytesPerSlab = 96 * 1024 * 1024;
const headerBytes = 8;

/** Makes an empty slab; it grows as it is filled. */
export function createSlab({ buckets }: Pick<Namespace, "buckets">): Slab {
  return {
    ...bytesOf(4096),
    capacityRows: Math.min(mostRows, Math.max(leastRows, buckets)),
    length: 0,
    count: 0,
    offsets: new Uint32Array(64),
    hashes: new Uint32Array(64),
    sizes: new Uint32Array(64),
    table: new Int32Array(256),
  };
}

/** Empties a slab and keeps its memory. */
export function clearSlab(slab: Slab): void {
  slab.table.fill(0);
  slab.length = 0;
  slab.count = 0;
}

/** Whether it has as many rows or bytes as are sent at once. */
export function isFull({ count, capacityRows, length }: Slab): boolean {
  return count >= capacityRows || length >= bytesPerSlab;
}

/**
 * Adds `rows` entries of these sizes of key and value; `write` gets the place of each, at its key,
 * in `places`.
 */
export function addEntries(
  slab: Slab,
  rows: number,
  keySizes: Uint32Array,
  valueSizes: Uint32Array,
  places: Uint32Array,
  write: (into: Block) => void,
): void {
  const first = slab.length;
  let end = first;
  for (let i = 0; i < rows; i++)
    end += entryBytes((keySizes[i] as number) + (valueSizes[i] as number));
  reserve(slab, rows, end - first);
  const { bytes, view, words } = slab;
  let start = first;
  for (let i = 0; i < rows; i++) {
    const keySize = keySizes[i] as number;
    const valueSize = valueSizes[i] as number;
    view.setUint32(start, keySize, true);
    view.setUint32(start + 4, valueSize, true);
    places[i] = start + headerBytes;
    start += entryBytes(keySize + valueSize);
    // The entry's last bytes are written no further.
    words[(start >> 2) - 1] = 0;
  }
  slab.length = end;
  write({ bytes, view, places });
  start = first;
  for (let i = 0; i < rows; i++) {
    const size = entryBytes((keySizes[i] as number) + (valueSizes[i] as number));
    keep(slab, start, size);
    start += size;
  }
}

/** Makes room for so many more entries and bytes. */
function reserve(slab: Slab, rows: number, more: number): void {
  const { length, count } = slab;
  if (length + more > slab.bytes.length) {
    const grown = bytesOf(Math.max(length + more, slab.bytes.length * 2));
    grown.words.set(slab.words.subarray(0, length >> 2));
    Object.assign(slab, grown);
  }
  if (count + rows <= slab.offsets.length) return;
  const capacity = Math.max(count + rows, slab.offsets.length * 2);
  slab.offsets = grow(slab.offsets, capacity);
  slab.hashes = grow(slab.hashes, capacity);
  slab.sizes = grow(slab.sizes, capacity);
  slab.table = new Int32Array(2 ** Math.ceil(Math.log2(capacity * 2)));
  for (let entry = 0; entry < count; entry++)
    slab.table[freeCell(slab.table, slab.hashes[entry] as number)] = entry + 1;
}

function freeCell(table: Int32Array, hash: number): number {
  const mask = table.length - 1;
  let cell = hash & mask;
  while (table[cell] !== 0) cell = (cell + 1) & mask;
  return cell;
}

/** Makes an entry of encoded bytes; of two of one entity the newer stays. */
function keep(slab: Slab, start: number, size: number): void {
  const { bytes, view, offsets, hashes, sizes, table } = slab;
  const key = start + headerBytes;
  const value = key + view.getUint16(start, true);
  const hash = hashKey(bytes, key, value);
  const mask = table.length - 1;
  let cell = hash & mask;
  for (let held = table[cell] as number; held !== 0; held = table[cell] as number) {
    cell = (cell + 1) & mask;
    // Most others are told apart by their hashes, without a look at their bytes far away.
    if (hashes[held - 1] !== hash) continue;
    const other = offsets[held - 1] as number;
    const otherKey = other + headerBytes;
    const otherValue = otherKey + view.getUint16(other, true);
    if (bytes.compare(bytes, otherKey, otherValue, key, value) === 0) {
      const end = value + view.getUint32(start + 4, true);
      const otherEnd = otherValue + view.getUint32(other + 4, true);
      // Versions are ordered as their bytes are, and a full tie is decided by the row's bytes.
      if (bytes.compare(bytes, otherValue, otherEnd, value, end) > 0) {
        offsets[held - 1] = start;
        sizes[held - 1] = size >> 2;
      }
      return;
    }
  }
  const entry = slab.count++;
  hashes[entry] = hash;
  sizes[entry] = size >> 2;
  offsets[entry] = start;
  table[cell] = entry + 1;
}

/** Bytes of an entry whose key and value have `size` bytes. */
function entryBytes(size: number): number {
  return (headerBytes + size + 3) & ~3;
}

/** Room for at least so many bytes, in whole words. */
export function bytesOf(size: number): SlabBytes {
  const buffer = new ArrayBuffer((size + 3) & ~3);
  return {
    bytes: Buffer.from(buffer),
    view: new DataView(buffer),
    words: new Int32Array(buffer),
  };
}

function grow(values: Uint32Array, capacity: number): Uint32Array<ArrayBuffer> {
  const grown = new Uint32Array(capacity);
  grown.set(values);
  return grown;
}
