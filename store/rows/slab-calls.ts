/** The script calls of a slab: its entries by shard and bucket, as write_rows.lua reads them. */
import { bucketsPerShard, type Namespace } from "../namespace.ts";
import { bytesOf, type Slab } from "./slab.ts";

/** Entries of one call: those of each bucket behind their count. */
export interface RowCall {
  readonly buckets: readonly number[];
  readonly rows: Buffer;
}

/** Rows of a call: Redis serves nobody else meanwhile. */
const rowsPerCall = 128;
const wordsPerCall = 64 * 1024;

/** The script calls of a slab, by shard and bucket. */
export function* callsOf(slab: Slab, namespace: Namespace): Generator<RowCall> {
  const { words, count } = slab;
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
  const { hashes, offsets, sizes, count } = slab;
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
