import assert from "node:assert/strict";
import fc from "fast-check";
import { Redis } from "ioredis";
import { dtypes, type Value } from "../../../engine/language/dtypes.ts";
import type { StoredTable } from "../../../store/namespace.ts";
import type { Column } from "../../../store/rows/column-data.ts";
import { columnsOfRows } from "../../../store/rows/column-data.ts";
import { encodeEntityKey } from "../../../store/rows/entity-key.ts";
import { createOnlineStore } from "../../../store/online-store.ts";
import type { RedisConnection } from "../../../store/redis/types.ts";
import { connectRedis } from "../../../store/redis/connection.ts";
import { createRowCodec } from "../../../store/rows/codec.ts";
import { earliestEndMs, type Mark, type Version } from "../../../store/rows/version.ts";
import { anyValueOf } from "../../support/engine/arbitrary.ts";
import { encodeRow } from "../../support/redis/encode-row.ts";
import { dumpStore, readHash } from "../../support/redis/dump-store.ts";
import { runsOf } from "../../support/property.ts";
import type { TestRedis } from "../../support/redis/server.ts";
import { randomPrefix, scanKeys, testRedis } from "../../support/redis/server.ts";
import { readDecoded } from "../../support/redis/read-rows.ts";

const columns = dtypes.map((dtype): Column => ({ name: `a_${dtype}`, dtype }));
const view: StoredTable = { view: "things", kind: "entities", fingerprint: "ab12", columns };
const codec = createRowCodec(columns);
const readAll = codec.decoder(columns.map(({ name }) => name));

/** A row of a publish; without values it is a tombstone. */
interface Row {
  readonly key: string;
  readonly eventTimeUs: Version["eventTimeUs"];
  readonly ordinal: number;
  readonly values: readonly Value[] | null;
}

/** What one publish writes: rows in chunks, and its mark, which it seals its namespace with. */
interface Publish {
  readonly mark: Mark;
  readonly chunks: readonly (readonly Row[])[];
}

/** One call of a writer. */
type Operation =
  | { readonly kind: "write"; readonly mark: Mark; readonly rows: readonly Row[] }
  | { readonly kind: "seal"; readonly mark: Mark };

interface Case {
  readonly buckets: number;
  readonly operations: readonly Operation[];
  /** Places among the operations: each at least once. */
  readonly order: readonly number[];
  /** How many operations of the order are in flight at once, in turn. */
  readonly widths: readonly number[];
  /** Which connection sends each operation of the order, in turn. */
  readonly writers: readonly (0 | 1)[];
}

/** Few of each in one case, so that entities meet and versions tie. */
function few<T>(...all: T[]): fc.Arbitrary<T[]> {
  return fc.subarray(all, { minLength: 1, maxLength: 3 });
}

const cases: fc.Arbitrary<Case> = fc
  .record({
    keys: few("", "a", "b", "{a}", "é", "e\u0301", "\0", "😀", "a".repeat(127)),
    times: few<Row["eventTimeUs"]>(
      -(2n ** 63n),
      -(2n ** 32n),
      -1,
      0,
      1,
      255,
      256,
      2 ** 31,
      2 ** 32,
      2n ** 63n - 1n,
    ),
    ends: few(earliestEndMs, -1000, 0, 86_400_000, 172_800_000),
    generations: few(1, 2, 255, 256, 2 ** 31, 2 ** 32 - 1),
    ordinals: few(0, 1, 255, 256, 2 ** 32, 2 ** 53 - 1),
    values: fc.array(fc.tuple(...columns.map(({ dtype }) => anyValueOf(dtype))), {
      minLength: 1,
      maxLength: 4,
    }),
  })
  .chain((pool): fc.Arbitrary<Publish[]> => {
    const row = fc.record({
      key: fc.constantFrom(...pool.keys),
      eventTimeUs: fc.constantFrom(...pool.times),
      ordinal: fc.constantFrom(...pool.ordinals),
      values: fc.option(fc.constantFrom(...pool.values), { freq: 6 }),
    });
    const publish = fc.record({
      mark: fc.record({
        endMs: fc.constantFrom(...pool.ends),
        generation: fc.constantFrom(...pool.generations),
      }),
      chunks: fc.array(fc.array(row, { minLength: 1, maxLength: 5 }), { maxLength: 4 }),
    });
    return fc.array(publish, { minLength: 1, maxLength: 4 });
  })
  .chain((publishes) => {
    const operations = publishes.flatMap(({ mark, chunks }): Operation[] => [
      ...chunks.map((rows) => ({ kind: "write", mark, rows }) as const),
      { kind: "seal", mark },
    ]);
    const places = operations.map((_, i) => i);
    const order = fc.subarray(places).chain((again) => {
      const all = [...places, ...again];
      return fc.shuffledSubarray(all, { minLength: all.length });
    });
    return fc.record({
      buckets: fc.integer({ min: 1, max: 4 }),
      operations: fc.constant(operations),
      order,
      widths: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 5 }),
      writers: fc.array(fc.constantFrom(0, 1), { minLength: 1, maxLength: 5 }),
    });
  });

/** The newest of all rows of an entity, as the model has it. */
interface Newest extends Row {
  readonly mark: Mark;
  /** The row without its version; nothing of a tombstone. */
  readonly bytes: Buffer;
}

function newestOf(operations: readonly Operation[]): Newest[] {
  const newest = new Map<string, Newest>();
  for (const operation of operations) {
    if (operation.kind === "seal") continue;
    const { mark } = operation;
    for (const row of operation.rows) {
      const next = { ...row, mark, bytes: bytesOf(row.values) };
      const held = newest.get(row.key);
      if (held === undefined || isNewer(next, held)) newest.set(row.key, next);
    }
  }
  return [...newest.values()];
}

function bytesOf(values: readonly Value[] | null): Buffer {
  return values === null ? Buffer.alloc(0) : encodeRow(codec, values);
}

function isNewer(a: Newest, b: Newest): boolean {
  if (a.mark.generation !== b.mark.generation) return a.mark.generation > b.mark.generation;
  if (a.mark.endMs !== b.mark.endMs) return a.mark.endMs > b.mark.endMs;
  const [timeA, timeB] = [BigInt(a.eventTimeUs), BigInt(b.eventTimeUs)];
  if (timeA !== timeB) return timeA > timeB;
  if (a.ordinal !== b.ordinal) return a.ordinal > b.ordinal;
  return Buffer.compare(a.bytes, b.bytes) > 0;
}

/** A mark as the model has it: 4 bytes of generation, and 6 of the end. */
function markBytesOf({ generation, endMs }: Mark): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt32BE(generation);
  // Of 8 bytes, the two highest of which are cut out.
  bytes.writeBigUInt64BE(BigInt(endMs - earliestEndMs), 4);
  return Buffer.concat([bytes.subarray(0, 4), bytes.subarray(6)]);
}

/** The fields of all shards and buckets together, as the model has them. */
function contentOf({ buckets, operations }: Case): string[] {
  const rows = newestOf(operations).map(({ key, mark, eventTimeUs, ordinal, bytes }) => {
    const text = Buffer.from(key);
    const rest = Buffer.alloc(16);
    rest.writeBigUInt64BE(BigInt(eventTimeUs) + 2n ** 63n);
    // Of 7 bytes; the eighth is cut off.
    rest.writeBigUInt64BE(BigInt(ordinal) << 8n, 8);
    return fieldText(
      Buffer.concat([Buffer.from([text.length]), text]),
      Buffer.concat([markBytesOf(mark), rest.subarray(0, 15), bytes]),
    );
  });
  const marks = operations.map(({ mark }) => markBytesOf(mark));
  const highest = marks.reduce((a, b) => (Buffer.compare(a, b) >= 0 ? a : b));
  // Of so few buckets each is a shard.
  const meta = Array.from({ length: buckets }, () => [
    fieldText(Buffer.alloc(0), highest),
    fieldText(Buffer.alloc(0), Buffer.alloc(0)),
  ]).flat();
  return [...meta, ...rows].sort();
}

const fieldText = (field: Buffer, value: Buffer) =>
  `${field.toString("hex")} = ${value.toString("hex")}`;

describe("The online store converges", function () {
  this.timeout(240_000);
  let redis: TestRedis;
  let client: Redis;
  let connections: readonly [RedisConnection, RedisConnection];
  before(async () => {
    redis = await testRedis();
    client = new Redis(redis.url, { protocol: 2 });
    connections = [connectRedis(redis.url, "writing"), connectRedis(redis.url, "writing")];
  });
  after(async () => {
    await Promise.all(connections.map((connection) => connection.close()));
    await client.quit();
    await redis.stop();
  });

  /** The writers of a store of its own, and what it holds. */
  async function newStore(buckets: number) {
    const prefix = `${redis.prefix}:${randomPrefix()}`;
    const stores = connections.map((each) => createOnlineStore(each, { prefix }));
    const [store] = stores as [(typeof stores)[0]];
    const namespace = await store.openNamespace(view, { buckets });
    return {
      async apply(operation: Operation, writer: 0 | 1): Promise<void> {
        const own = stores[writer] ?? store;
        const { mark } = operation;
        if (operation.kind === "seal") return own.sealNamespace(namespace, mark);
        const rows = operation.rows.filter(({ values }) => values !== null);
        const tombstones = operation.rows.filter(({ values }) => values === null);
        await Promise.all([
          own.writeRows(namespace, {
            codec,
            count: rows.length,
            keys: [rows.map(({ key }) => key)],
            columns: columnsOfRows(
              columns,
              rows.map(({ values }) => values ?? []),
            ),
            eventTimesUs: (row) => rows[row]?.eventTimeUs ?? 0,
            mark,
            ordinals: (row) => rows[row]?.ordinal ?? 0,
          }),
          ...tombstones.map((row) =>
            own.deleteRows(namespace, [encodeEntityKey([row.key])], {
              ...row,
              ...mark,
            }),
          ),
        ]);
      },
      /** Of each key, the values that a reader sees; null where there is no row. */
      async read(keys: readonly string[]) {
        const encoded = keys.map((key) => encodeEntityKey([key]));
        const { rows } = await readDecoded(store, [{ namespace, keys: encoded, decode: readAll }]);
        return rows[0]?.map((row) => row?.values ?? null);
      },
      /** The fields of all buckets together, the epoch left out. */
      async content(): Promise<string[]> {
        const names = (await scanKeys(client, prefix)).filter((key) => key.includes(":entities:{"));
        const hashes = await Promise.all(names.map((name) => readHash(client, name)));
        const fields = hashes.flat().map(([field, value]) => {
          return fieldText(field, field.length === 0 ? value.subarray(8) : value);
        });
        return fields.sort();
      },
      dump: () => dumpStore(client, prefix),
      /** Looking for keys costs by the keys of the whole server. */
      async remove(): Promise<void> {
        await client.unlink(await scanKeys(client, prefix));
      },
    };
  }

  it("on the newest rows, byte by byte, whatever is split, repeated, late or at once", async () => {
    await fc.assert(
      fc.asyncProperty(cases, async (given) => {
        const { buckets, operations, order, widths, writers } = given;
        const [canonical, other] = await Promise.all([newStore(buckets), newStore(buckets)]);
        for (const operation of operations) await canonical.apply(operation, 0);
        for (let from = 0, turn = 0; from < order.length; turn++) {
          const to = from + (widths[turn % widths.length] ?? 1);
          const atOnce = order.slice(from, to).map((place, i) => {
            const writer = writers[(from + i) % writers.length] ?? 0;
            return other.apply(operations[place] as Operation, writer);
          });
          await Promise.all(atOnce);
          from = to;
        }
        assert.deepEqual(await other.content(), contentOf(given));
        assert.equal(await other.dump(), await canonical.dump());
        const newest = newestOf(operations);
        const keys = newest.map(({ key }) => key);
        const values = newest.map((row) => row.values);
        assert.deepStrictEqual(await other.read(keys), values);
        await Promise.all([canonical.remove(), other.remove()]);
      }),
      runsOf(500),
    );
  });
});
