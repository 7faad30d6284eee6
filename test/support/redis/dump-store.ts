/** The whole content of a store as text that two stores can be compared by. */
import type { Redis } from "ioredis";
import { markBytes } from "../../../store/rows/version.ts";
import { scanKeys } from "./server.ts";

/** How much of a store is shown. */
export interface DumpOptions {
  /**
   * Which snapshots to show: those that a `latest` points at, or all. Which others exist depends
   * on the order of commits.
   */
  readonly snapshots?: "latest" | "all";
  /**
   * Whether to show which publish wrote an entity, and how many there were: stores that serve the
   * same may have come to it in more or fewer of them.
   */
  readonly publishes?: boolean;
}

/**
 * Every key under a prefix: its name without the prefix and its fields, sorted. Left out is what
 * may differ between stores that agree: logs and run ids, the count of commits, and the random
 * epochs, which show as zeros.
 */
export async function dumpStore(
  client: Redis,
  prefix: string,
  { snapshots = "latest", publishes = true }: DumpOptions = {},
): Promise<string> {
  const lines: string[] = [];
  for (const key of await scanKeys(client, prefix)) {
    const name = key.slice(prefix.length + 1);
    if (/\}:(runs$|changes$|begun:|outcomes:)/.test(key)) continue;
    const type = await client.type(key);
    if (type !== "hash") throw new Error(`the key ${key} is a ${type}; only logs are no hash`);
    const shown =
      key.endsWith("}:snapshots") && snapshots === "latest"
        ? await latestSnapshots(client, key.replace(/snapshots$/, "pointers"))
        : null;
    lines.push(name, ...(await dumpHash(client, key, shown, publishes)));
  }
  return lines.map((line) => `${line}\n`).join("");
}

async function dumpHash(
  client: Redis,
  key: string,
  shown: ReadonlySet<string> | null,
  publishes: boolean,
): Promise<string[]> {
  const lines: string[] = [];
  for (const [field, bytes] of await readHash(client, key)) {
    const name = field.toString();
    if (/\}:(records|pointers)/.test(key) && name === "revision") continue;
    if (!publishes && name.startsWith("publishing:")) continue;
    if (shown !== null && !shown.has(name)) continue;
    const value = key.includes(":entities:{")
      ? maskedEntity(field, bytes, publishes)
      : maskedPointer(name, bytes, publishes);
    lines.push(`  ${showBytes(field)} = ${showBytes(value)}`);
  }
  return lines.sort();
}

/** A field of a table, with zeros for the epoch of a bucket or the mark of an entity. */
function maskedEntity(field: Buffer, value: Buffer, publishes: boolean): Buffer {
  if (field.length === 0)
    // A shard's mark follows its epoch.
    return Buffer.concat([
      Buffer.alloc(8),
      publishes ? value.subarray(8) : Buffer.alloc(value.length - 8),
    ]);
  return publishes ? value : Buffer.concat([Buffer.alloc(markBytes), value.subarray(markBytes)]);
}

/** A field of another hash, with zeros for an epoch and for publishes. */
function maskedPointer(name: string, value: Buffer, publishes: boolean): Buffer {
  if (name.startsWith("table:"))
    return Buffer.from(value.toString().replace(/[0-9a-f]{16}/, "0".repeat(16)));
  if (!publishes && name.startsWith("published:"))
    return Buffer.from(value.toString().replace(/^\[\d+,(-?\d+),\d+,-?\d+/, "[0,$1,0,0"));
  return value;
}

/** The fields of a hash and their values, as bytes. */
export async function readHash(
  client: Redis,
  key: string,
): Promise<[field: Buffer, value: Buffer][]> {
  const flat = (await client.callBuffer("HGETALL", key)) as Buffer[];
  return Array.from({ length: flat.length / 2 }, (_, i) => [
    flat[2 * i] as Buffer,
    flat[2 * i + 1] as Buffer,
  ]);
}

/** Printable ASCII as text in quotes, all else in hexadecimal. */
function showBytes(bytes: Buffer): string {
  const text = bytes.toString("latin1");
  return /^[\x20-\x7e]+$/.test(text) ? JSON.stringify(text) : `0x${bytes.toString("hex")}`;
}

async function latestSnapshots(client: Redis, pointers: string): Promise<Set<string>> {
  const fields = await client.hgetall(pointers);
  return new Set(
    Object.entries(fields)
      .filter(([field]) => field.startsWith("latest:"))
      .map(([, latest]) => latest.split(" ")[1] ?? ""),
  );
}
