/**
 * API keys: who may ask the HTTP service for what. Of a key only its hash is kept, so that whoever
 * reads Redis cannot use it. All records lie in one hash with a revision: readers see by one field
 * that nothing has changed, and writers that somebody else was faster.
 */
import { hash, randomBytes, timingSafeEqual } from "node:crypto";
import { OnceflowError } from "../engine/errors.ts";
import { createKeys } from "./keys.ts";
import { textOf } from "./redis/connection.ts";
import type { RedisConnection, RedisReply } from "./redis/types.ts";
import { readStoreTime } from "./store-time.ts";
import { pairsOf, wholeHash } from "./redis/pairs.ts";

type Prefixed = { readonly prefix?: string | undefined };

/** What is kept of a key; times are ISO 8601. */
export interface ApiKeyRecord {
  /** 16 hexadecimal digits, a part of the key; no secret. */
  readonly id: string;
  /** Whose key it is, for people. */
  readonly name: string;
  readonly scopes: readonly string[];
  /** SHA-256 of the whole key, hexadecimal. */
  readonly digest: string;
  readonly created_at: string;
  /** Null: never. */
  readonly expires_at: string | null;
  readonly revoked_at: string | null;
  /** Id of the key that this one takes the place of, and of the one that takes its place. */
  readonly replaces: string | null;
  readonly replaced_by: string | null;
}

/** A change of the records, for the audit. */
export interface ApiKeyChange {
  /** ISO 8601. */
  readonly at: string;
  /** Who changed it, as the CLI knows: user and host. */
  readonly by: string;
  /** `remove` of a key that ended long ago is done on the way, by whoever changes another. */
  readonly change: "create" | "rotate" | "revoke" | "remove" | "restore";
  readonly id: string;
  readonly name: string;
  readonly scopes: readonly string[];
  /** The old key of a rotation. */
  readonly replaces: string | null;
}

/** All records at one revision. */
export interface ApiKeyRecords {
  readonly revision: string;
  readonly records: ReadonlyMap<string, ApiKeyRecord>;
  /** Ids of records that are none; their keys count as unknown. */
  readonly unreadable: readonly string[];
}

/** The most keys there may be, expired and revoked ones among them: each server holds them all. */
const apiKeyLimit = 10_000;
/** Changes that are kept. */
const changeLimit = 1000;
/** How long an expired or revoked key stays listed. */
const keptMs = 90 * 86_400_000;
const attempts = 20;

/** What every key begins with, so that scanners for secrets can find one. */
export const apiKeyPrefix = "onceflow_";
const pattern = /^onceflow_([0-9a-f]{16})_[A-Za-z0-9_-]{43}$/;

/** A new key: its text, which is shown once, and what is kept of it. */
export function mintApiKey(): {
  readonly id: string;
  readonly key: string;
  readonly digest: string;
} {
  const id = randomBytes(8).toString("hex");
  const key = `${apiKeyPrefix}${id}_${randomBytes(32).toString("base64url")}`;
  return { id, key, digest: digestOf(key) };
}

/** The id that a key says it has; undefined for text that is no key. */
export function idOfApiKey(text: string): string | undefined {
  return pattern.exec(text)?.[1];
}

/**
 * Whether a text is the key that has the digest, 64 hexadecimal digits; it takes as long whatever
 * the answer.
 */
export function isApiKey(text: string, digest: string): boolean {
  return timingSafeEqual(Buffer.from(digestOf(text)), Buffer.from(digest));
}

// As text: a hash that comes as a Buffer takes four times as long.
function digestOf(text: string): string {
  return hash("sha256", text);
}

/**
 * The records, or undefined where they are still at the revision `known`; empty, with the revision
 * "", where no key was ever made. No script reads them, so that who may only read Redis may: they
 * are one hash, which one command gives as it is at one moment. Cost: a round trip, and another one
 * where they have changed.
 *
 * @throws STORE_UNAVAILABLE
 */
export async function readApiKeys(
  redis: RedisConnection,
  { prefix }: Prefixed = {},
  known?: string,
): Promise<ApiKeyRecords | undefined> {
  const key = createKeys(prefix).apiKeys;
  if (known !== undefined && textOf(await redis.send(["hget", key, "revision"])) === known)
    return undefined;
  const fields = new Map(pairsOf(await redis.send(wholeHash(key))));
  const revision = fields.get("revision")?.toString("utf8") ?? "";
  if (revision === known) return undefined;
  fields.delete("revision");
  const records = new Map<string, ApiKeyRecord>();
  const unreadable: string[] = [];
  for (const [id, json] of fields) {
    const record = parseRecord(id, json.toString("utf8"));
    if (record === undefined) unreadable.push(id);
    else records.set(id, record);
  }
  return { revision, records, unreadable };
}

/** A record, or undefined for text that is none: a key must never be trusted by half a record. */
function parseRecord(id: string, json: string): ApiKeyRecord | undefined {
  let record: Partial<Record<keyof ApiKeyRecord, unknown>> | null;
  try {
    record = JSON.parse(json) as typeof record;
  } catch {
    return undefined;
  }
  if (typeof record !== "object" || record === null) return undefined;
  const { name, scopes, digest, created_at, expires_at, revoked_at } = record;
  const isRecord =
    record.id === id &&
    isText(name) &&
    Array.isArray(scopes) &&
    scopes.every(isText) &&
    isText(digest) &&
    /^[0-9a-f]{64}$/.test(digest) &&
    isTime(created_at) &&
    [expires_at, revoked_at].every((time) => time === null || isTime(time)) &&
    [record.replaces, record.replaced_by].every((other) => other === null || isText(other));
  return isRecord ? (record as ApiKeyRecord) : undefined;
}

const isText = (value: unknown): value is string => typeof value === "string";
const isTime = (value: unknown): value is string =>
  isText(value) && !Number.isNaN(Date.parse(value));

/** The changes, the newest first. @throws STORE_UNAVAILABLE */
export async function readApiKeyChanges(
  redis: RedisConnection,
  { prefix }: Prefixed = {},
): Promise<readonly ApiKeyChange[]> {
  const reply = await redis.send(["lrange", createKeys(prefix).apiKeyChanges, 0, -1]);
  return (reply as readonly RedisReply[]).map(
    (json) => JSON.parse(textOf(json) ?? "null") as ApiKeyChange,
  );
}

/** What to write, and what to log of it. */
export interface ApiKeyEdit {
  readonly put: readonly ApiKeyRecord[];
  readonly change: ApiKeyChange | readonly ApiKeyChange[];
}

/**
 * Changes records by what they are now; keys that ended long ago are removed on the way, each with
 * a line in the log. All of it goes by the time of Redis.
 *
 * @param edit - called with the records and the time of Redis, in ms; again where somebody else
 *   changed them meanwhile
 * @throws what `edit` throws, REQUEST_TOO_LARGE for too many keys, LEDGER_CONFLICT, CLOCK_SKEW where
 *   the clock of this machine is not that of Redis
 */
export async function changeApiKeys<T extends ApiKeyEdit>(
  redis: RedisConnection,
  edit: (records: ApiKeyRecords["records"], nowMs: number) => T,
  { prefix }: Prefixed = {},
): Promise<T> {
  const { apiKeys, apiKeyChanges } = createKeys(prefix);
  await redis.assertClock();
  for (let attempt = 0; attempt < attempts; attempt++) {
    const [nowMs, read] = await Promise.all([readStoreTime(redis), readApiKeys(redis, { prefix })]);
    const { revision, records } = read as ApiKeyRecords;
    const made = edit(records, nowMs);
    const { put } = made;
    const wanted = [made.change].flat();
    const old = [...records.values()].filter((record) => isForgotten(record, nowMs - keptMs));
    const removals = old.map(({ id, name, scopes, replaces }): ApiKeyChange => {
      const at = new Date(nowMs).toISOString();
      const by = wanted[0]?.by ?? "";
      return { at, by, change: "remove", id, name, scopes, replaces };
    });
    // The newest comes first in the log: what was asked for.
    const changes = [...removals, ...wanted].slice(-changeLimit);
    if (records.size - old.length + put.length > apiKeyLimit)
      throw new OnceflowError(
        "REQUEST_TOO_LARGE",
        `there are ${records.size} API keys, and at most ${apiKeyLimit} can be; keys that ended 90 days ago are forgotten by themselves.`,
        { limit: apiKeyLimit },
      );
    const done = await redis.send([
      "changeApiKeys",
      apiKeys,
      apiKeyChanges,
      revision,
      // The count alone would come again after Redis was emptied.
      `${Number(revision.split(".")[0]) + 1}.${randomBytes(8).toString("hex")}`,
      changeLimit,
      changes.length,
      ...changes.map((each) => JSON.stringify(each)),
      ...old.flatMap(({ id }) => [id, ""]),
      ...put.flatMap((record) => [record.id, JSON.stringify(record)]),
    ]);
    if (done === 1) return made;
  }
  throw new OnceflowError(
    "LEDGER_CONFLICT",
    `the API keys were changed by others ${attempts} times meanwhile; try again.`,
  );
}

/**
 * Puts back records that are not there, and returns how many; those that are there stay.
 *
 * @param by - who does it, for the log
 * @throws CONFIG_INVALID for what is no record, and what `changeApiKeys` throws
 */
export async function restoreApiKeys(
  redis: RedisConnection,
  records: readonly ApiKeyRecord[],
  by: string,
  settings: Prefixed = {},
): Promise<number> {
  const given = records.map((record) => {
    const parsed = parseRecord(String(record.id), JSON.stringify(record));
    if (parsed !== undefined) return parsed;
    throw new OnceflowError("CONFIG_INVALID", `"${record.id}" is no record of an API key.`);
  });
  const { put } = await changeApiKeys(
    redis,
    (there, nowMs) => {
      const missing = given.filter(({ id }) => !there.has(id));
      const at = new Date(nowMs).toISOString();
      const change = missing.map(({ id, name, scopes, replaces }): ApiKeyChange => {
        return { at, by, change: "restore", id, name, scopes, replaces };
      });
      return { put: missing, change };
    },
    settings,
  );
  return put.length;
}

/**
 * From when on a key is refused, in milliseconds since the epoch; Infinity for never. A revoked one
 * is refused whatever the time, since whoever revoked it may have another clock: −Infinity.
 */
export function endOf({ expires_at, revoked_at }: ApiKeyRecord): number {
  if (revoked_at !== null) return -Infinity;
  return expires_at === null ? Infinity : Date.parse(expires_at);
}

/** Whether a key ended before a time. */
function isForgotten({ expires_at, revoked_at }: ApiKeyRecord, beforeMs: number): boolean {
  return [expires_at, revoked_at].some((time) => time !== null && Date.parse(time) < beforeMs);
}
