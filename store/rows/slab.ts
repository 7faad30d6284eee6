/**
 * Encoded entries, none of an entity twice, laid out as the script write_rows.lua reads them: each
 * begins at a multiple of four bytes, so that it is copied word by word.
 */
import { hashKey } from "./entity-key.ts";
import { bucketsPerShard, type Namespace } from "../namespace.ts";
import type { Block } from "./encoder.ts";

/** The same bytes, seen in three ways. */
interface SlabBytes {
  readonly bytes: Buffer;
  readonly view: DataView;
  readonly words: Int32Array;
}

/** Entries of one call: those of each bucket behind their count. */
export interface RowCall {
  readonly buckets: readonly number[];
  readonly rows: Buffer;
}

export type Slab = ReturnType<typeof createSlab>;

/** Rows of a slab: one for each bucket within these, since Redis works by bucket, not by row. */
const [leastRows, mostRows] = [1 << 18, 1 << 20];
const bytesPerSlab = 96 * 1024 * 1024;
/** Rows of a call: Redis serves nobody else meanwhile. */
const rowsPerCall = 128;
const wordsPerCall = 64 * 1024;
const headerBytes = 8;

export function createSlab({ buckets }: Pick<Namespace, "buckets">) {
  const capacityRows = Math.min(mostRows, Math.max(leastRows, buckets));
  let { bytes, view, words } = bytesOf(4096);
  let length = 0;
  let count = 0;
  let offsets = new Uint32Array(64);
  let hashes = new Uint32Array(64);
  /** In words. */
  let sizes = new Uint32Array(64);
  /** Open addressing by hash: entry + 1, or 0. */
  let table = new Int32Array(256);

  const reserve = (rows: number, more: number): void => {
    if (length + more > bytes.length) {
      const grown = bytesOf(Math.max(length + more, bytes.length * 2));
      grown.words.set(words.subarray(0, length >> 2));
      ({ bytes, view, words } = grown);
    }
    if (count + rows <= offsets.length) return;
    const capacity = Math.max(count + rows, offsets.length * 2);
    offsets = grow(offsets, capacity);
    hashes = grow(hashes, capacity);
    sizes = grow(sizes, capacity);
    table = new Int32Array(2 ** Math.ceil(Math.log2(capacity * 2)));
    for (let entry = 0; entry < count; entry++)
      table[freePlace(hashes[entry] as number)] = entry + 1;
  };

  const freePlace = (hash: number): number => {
    const mask = table.length - 1;
    let place = hash & mask;
    while (table[place] !== 0) place = (place + 1) & mask;
    return place;
  };

  /** Makes an entry of encoded bytes; of two of one entity the newer stays. */
  const keep = (start: number, size: number): void => {
    const key = start + headerBytes;
    const value = key + view.getUint16(start, true);
    const hash = hashKey(bytes, key, value);
    const mask = table.length - 1;
    let place = hash & mask;
    for (let held = table[place] as number; held !== 0; held = table[place] as number) {
      place = (place + 1) & mask;
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
    hashes[count] = hash;
    sizes[count] = size >> 2;
    offsets[count++] = start;
    table[place] = count;
  };

  return {
    clear(): void {
      table.fill(0);
      length = 0;
      count = 0;
    },
    isFull: (): boolean => count >= capacityRows || length >= bytesPerSlab,
    /**
     * Adds `rows` entries of these sizes of key and value; `write` gets the place of each, at its
     * key, in `places`.
     */
    addBlock(
      rows: number,
      keySizes: Uint32Array,
      valueSizes: Uint32Array,
      places: Uint32Array,
      write: (into: Block) => void,
    ): void {
      let end = length;
      for (let i = 0; i < rows; i++)
        end += entryBytes((keySizes[i] as number) + (valueSizes[i] as number));
      reserve(rows, end - length);
      const first = length;
      for (let i = 0; i < rows; i++) {
        const keySize = keySizes[i] as number;
        const valueSize = valueSizes[i] as number;
        view.setUint32(length, keySize, true);
        view.setUint32(length + 4, valueSize, true);
        places[i] = length + headerBytes;
        length += entryBytes(keySize + valueSize);
        // The entry's last bytes are written no further.
        words[(length >> 2) - 1] = 0;
      }
      write({ bytes, view, places });
      let start = first;
      for (let i = 0; i < rows; i++) {
        const size = entryBytes((keySizes[i] as number) + (valueSizes[i] as number));
        keep(start, size);
        start += size;
      }
    },
    /** What is held now. */
    held: () => ({ words, count, offsets, sizes, hashes }),
  };
}

/** Bytes of an entry whose key and value have `size` bytes. */
function entryBytes(size: number): number {
  return (headerBytes + size + 3) & ~3;
}

function bytesOf(size: number): SlabBytes {
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

/** The script calls of a slab, by shard and bucket. */
export function* callsOf(slab: Slab, namespace: Namespace): Generator<RowCall> {
  const { words, count } = slab.held();
  if (count === 0) return;
  const { starts, sizes, buckets } = sortByBucket(slab, namespace.buckets);
  const perShard = bucketsPerShard(namespace);
  for (let from = 0; from < count;) {
    const nextShard = (Math.floor((buckets[from] as number) / perShard) + 1) * perShard;
    const called: number[] = [];
    let size = 0;
    let to = from;
    for (; to < count && to - from < rowsPerCall && size < wordsPerCall; to++) {
      const bucket = buckets[to] as number;
      if (bucket >= nextShard) break;
      if (bucket !== called.at(-1)) {
        called.push(bucket);
        size++;
      }
      size += sizes[to] as number;
    }
    const rows = bytesOf(size * 4);
    let at = 0;
    let place = from;
    for (const bucket of called) {
      const counted = at++;
      const first = place;
      for (; place < to && buckets[place] === bucket; place++) {
        const start = starts[place] as number;
        const end = start + (sizes[place] as number);
        for (let word = start; word < end; word++) rows.words[at++] = words[word] as number;
      }
      rows.words[counted] = place - first;
    }
    yield { buckets: called, rows: rows.bytes };
    from = to;
  }
}

/** The entries in the order of their buckets: the words they begin at and have, and the bucket. */
function sortByBucket(slab: Slab, bucketCount: number) {
  const { hashes, offsets, sizes, count } = slab.held();
  // As unsigned integers: the remainder of doubles takes many times as long.
  const modulus = bucketCount >>> 0;
  const next = new Uint32Array(bucketCount + 1);
  for (let i = 0; i < count; i++) {
    const after = ((hashes[i] as number) % modulus) + 1;
    next[after] = (next[after] as number) + 1;
  }
  for (let i = 1; i <= bucketCount; i++) next[i] = (next[i] as number) + (next[i - 1] as number);
  const ordered = {
    starts: new Uint32Array(count),
    sizes: new Uint32Array(count),
    buckets: new Uint32Array(count),
  };
  for (let i = 0; i < count; i++) {
    const bucket = (hashes[i] as number) % modulus;
    const place = next[bucket] as number;
    next[bucket] = place + 1;
    ordered.starts[place] = (offsets[i] as number) >> 2;
    ordered.sizes[place] = sizes[i] as number;
    ordered.buckets[place] = bucket;
  }
  return ordered;
}
