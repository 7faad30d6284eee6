/**
 * The API keys that this process knows. They are read in the background and swapped whole, so that
 * no request waits for Redis; while Redis is down, or where it came back empty, those known stay in
 * force.
 */
import { messageOf } from "../../engine/errors.ts";
import {
  type ApiKeyRecord,
  endOf,
  idOfApiKey,
  isApiKey,
  readApiKeys,
} from "../../store/api-keys.ts";
import { createPoller } from "../poller.ts";
import { type Grants, grantsOf } from "./scopes.ts";
import type { RedisConnection } from "../../store/redis/types.ts";

/** A record made ready to be compared with. */
interface KnownKey {
  readonly digest: string;
  readonly grants: Grants;
  /** See `endOf`. */
  readonly endMs: number;
}

/** What became of a text that says it is a key. */
export type KeyOutcome =
  | { readonly ok: true; readonly id: string; readonly grants: Grants }
  | {
      readonly ok: false;
      readonly id?: string;
      readonly why: "unknown" | "wrong" | "ended" | "unread";
    };

/** The keys of the store, as this process knows them. */
export interface KnownKeys {
  /** Costs one hash, whatever the answer; "unread" as long as the keys could not be read. */
  readonly check: (text: string) => KeyOutcome;
  /**
   * Reads the records now, rather than at the next turn.
   *
   * @throws STORE_UNAVAILABLE, CONFIG_INVALID where the user of Redis may not read them
   */
  readonly refresh: () => Promise<void>;
  readonly close: () => void;
}

/** Is the digest of no key. */
const noDigest = "0".repeat(64);

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
  /** Is told once when reading begins to fail, and of each set of records that cannot be read. */
  readonly warn?: (message: string) => void;
}): KnownKeys {
  let known: ReadonlyMap<string, KnownKey> = new Map();
  let revision: string | undefined;
  let unreadable = "";
  let lostCount = 0;

  async function read(): Promise<void> {
    if (revision === undefined) await redis.ready();
    const found = await readApiKeys(redis, { prefix }, revision);
    if (found === undefined) return;
    const before = known;
    // No record goes away while its key works, so one that did was lost in Redis, and nobody has
    // revoked it. One that was revoked stays so, whatever a backup may bring back.
    const gone = [...before].filter(
      ([id, { endMs }]) =>
        !found.records.has(id) &&
        !found.unreadable.includes(id) &&
        (endMs === -Infinity || clock() < endMs),
    );
    known = new Map([
      ...gone,
      ...[...found.records].map(
        ([id, record]) => [id, ready(record, before.get(id)?.endMs)] as const,
      ),
    ]);
    revision = found.revision;
    warnOf(found.unreadable);
    warnOfLoss(gone.filter(([, { endMs }]) => endMs > 0).length);
  }

  /** Once for each time that more are lost: whoever restarts this process loses them. */
  function warnOfLoss(count: number): void {
    if (count > lostCount)
      warn(
        `Redis no longer has ${count} API keys that work; they stay in force in this process until it ends. Restore the append-only file or a backup, or make new keys.`,
      );
    lostCount = count;
  }

  function warnOf(ids: readonly string[]): void {
    const named = ids.slice(0, 5).map((id) => JSON.stringify(id.slice(0, 40)));
    const text = `${ids.length}: ${named.join(", ")}`;
    if (ids.length > 0 && text !== unreadable)
      warn(`records of API keys that cannot be read, so that these keys are refused, ${text}`);
    unreadable = text;
  }

  const poller = createPoller({
    read,
    // Callers wait for the first; while Redis is away a read takes as long as connecting may.
    pauseMs: () => (revision === undefined ? Math.min(refreshMs, 100) : refreshMs),
    onFailing: (error) => warn(`API keys cannot be read: ${messageOf(error)}`),
  });
  redis.onReconnect(poller.soon);

  return {
    refresh: poller.refresh,
    check(text) {
      if (revision === undefined) return { ok: false, why: "unread" };
      const id = idOfApiKey(text);
      const key = id === undefined ? undefined : known.get(id);
      const same = isApiKey(text, key?.digest ?? noDigest);
      if (id === undefined || key === undefined) return { ok: false, why: "unknown" };
      if (!same) return { ok: false, id, why: "wrong" };
      // An end that is no number is none that is yet to come.
      if (!(clock() < key.endMs)) return { ok: false, id, why: "ended" };
      return { ok: true, id, grants: key.grants };
    },
    close: poller.close,
  };
}

/** A key's life only ever gets shorter: a Redis restored from a backup brings none back. */
function ready(record: ApiKeyRecord, endMs = Infinity): KnownKey {
  return {
    digest: record.digest,
    grants: grantsOf(record.scopes),
    endMs: Math.min(endMs, endOf(record)),
  };
}
