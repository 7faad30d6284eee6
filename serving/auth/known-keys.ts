/**
 * The API keys that this process knows. They are read in the background and swapped whole, so that
 * no request waits for Redis; while Redis is down, or where it came back empty, those known stay in
 * force.
 */
import { messageOf } from "../../engine/errors.ts";
import { type ApiKeyRecord, idOfApiKey, isApiKey, readApiKeys } from "../../store/api-keys.ts";
import type { RedisConnection } from "../../store/redis.ts";
import { type Grants, grantsOf } from "./scopes.ts";

/** A record made ready to be compared with. */
interface KnownKey {
  readonly digest: Buffer;
  readonly grants: Grants;
  /** Milliseconds since the epoch; −Infinity for one that is revoked. */
  readonly endMs: number;
}

/** What became of a text that says it is a key. */
export type KeyOutcome =
  | { readonly ok: true; readonly id: string; readonly grants: Grants }
  | { readonly ok: false; readonly id?: string; readonly why: "unknown" | "wrong" | "ended" };

export interface KnownKeys {
  /** Costs one hash, whatever the answer. */
  readonly check: (text: string) => KeyOutcome;
  /** Reads the records now, rather than at the next turn. @throws STORE_UNAVAILABLE */
  readonly refresh: () => Promise<void>;
  readonly close: () => void;
}

/** Is the digest of no key. */
const noDigest = Buffer.alloc(32);

/** Starts to read the keys every `refreshMs`, and at once after each reconnect. */
export function createKnownKeys({
  redis,
  prefix,
  refreshMs = 1000,
  clock = Date.now,
  warn = () => undefined,
}: {
  readonly redis: RedisConnection;
  readonly prefix?: string | undefined;
  readonly refreshMs?: number;
  readonly clock?: () => number;
  /** Is told once when reading begins to fail. */
  readonly warn?: (message: string) => void;
}): KnownKeys {
  let known: ReadonlyMap<string, KnownKey> = new Map();
  let revision: string | undefined;
  let failing = false;
  let closed = false;

  async function refresh(): Promise<void> {
    if (revision === undefined) await redis.ready();
    const read = await readApiKeys(redis, { prefix }, revision);
    if (read === undefined) return;
    // Redis was emptied: nobody has revoked what it no longer knows.
    if (read.revision === "" && known.size > 0)
      throw new Error("Redis no longer has the API keys; those known stay in force");
    const before = known;
    known = new Map(
      [...read.records].map(([id, record]) => [id, ready(record, before.get(id)?.endMs)]),
    );
    revision = read.revision;
  }

  let timer: NodeJS.Timeout;
  let underWay: Promise<void> | undefined;
  const refreshOnce = () => (underWay ??= refresh().finally(() => (underWay = undefined)));
  async function turn(): Promise<void> {
    try {
      await refreshOnce();
      failing = false;
    } catch (error) {
      if (!failing && !closed) warn(`API keys cannot be read: ${messageOf(error)}`);
      failing = true;
    }
  }
  const schedule = () => {
    timer = setTimeout(() => void turn().then(() => closed || schedule()), refreshMs);
    timer.unref();
  };
  schedule();
  redis.onReconnect(() => void (closed || turn()));

  return {
    refresh: refreshOnce,
    check(text) {
      const id = idOfApiKey(text);
      const key = id === undefined ? undefined : known.get(id);
      const same = isApiKey(text, key?.digest ?? noDigest);
      if (id === undefined || key === undefined) return { ok: false, why: "unknown" };
      if (!same) return { ok: false, id, why: "wrong" };
      if (clock() >= key.endMs) return { ok: false, id, why: "ended" };
      return { ok: true, id, grants: key.grants };
    },
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}

/** A key's life only ever gets shorter: a Redis restored from a backup brings none back. */
function ready(
  { digest, scopes, expires_at, revoked_at }: ApiKeyRecord,
  endMs = Infinity,
): KnownKey {
  const ownEnd = expires_at === null ? Infinity : Date.parse(expires_at);
  return {
    digest: Buffer.from(digest, "hex"),
    grants: grantsOf(scopes),
    endMs: Math.min(endMs, revoked_at === null ? ownEnd : -Infinity),
  };
}
