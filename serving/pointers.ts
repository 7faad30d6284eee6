/**
 * What is current in the store for each view: its table, what is published and the latest snapshot.
 * It is read in the background and swapped whole, so that a request neither waits for it nor sees
 * half of it.
 */
import type { Catalogue, View } from "../engine/catalogue.ts";
import { asError, OnceflowError } from "../engine/errors.ts";
import type { Snapshot } from "../engine/snapshot.ts";
import { decodeSnapshot } from "../engine/snapshot.ts";
import { invocation } from "../engine/invocation.ts";
import { pointerRequest } from "../store/ledger.ts";
import type { LatestSnapshot, Ledger, Pointers } from "../store/ledger.ts";
import type { Namespace } from "../store/namespace.ts";
import { countOfRevision, type Revision } from "../store/revision.ts";
import type { Published } from "../store/published.ts";
import { createPoller } from "./poller.ts";
import type { RedisConnection } from "../store/redis/types.ts";

/** What is current for one view. */
export interface ViewPointers {
  /** Null where nothing was ever written under the view's fingerprint. */
  readonly namespace: Namespace | null;
  /** Null where nothing was ever published. */
  readonly published: Published | null;
  /** Null where the view's aggregates were never materialized. */
  readonly latest: Snapshot | null;
  /**
   * Whether Redis no longer has what it had, and nobody has put it back since, so that rows cannot be
   * told from unknown or older ones; all else is then what was known before.
   */
  readonly lost: boolean;
  readonly revision: Revision;
}

/** What is current for every view, read at one time. */
export interface PointerSet {
  readonly views: ReadonlyMap<View, ViewPointers>;
}

/** What is current in the store, kept up to date in the background. */
export interface PointerCache {
  /**
   * The newest set. Where none has been read yet it waits for the first read, but not for those
   * that follow one that failed.
   *
   * @throws what that read threw: STORE_UNAVAILABLE, CONFIG_INVALID, STORE_LOST
   */
  readonly current: () => Promise<PointerSet>;
  /**
   * Reads a set that is no older than this call, and makes it the newest.
   *
   * @throws STORE_UNAVAILABLE
   */
  readonly refresh: () => Promise<PointerSet>;
  /** The newest set, where one was read. */
  readonly newest: () => PointerSet | undefined;
  readonly close: () => void;
}

/** Counts of refreshes, kept for metrics. */
export interface RefreshCounters {
  refreshes: number;
  failedRefreshes: number;
  lastRefreshError: string | null;
  /** When the newest refresh that succeeded ended, in milliseconds since the epoch. */
  refreshedMs: number | null;
}

/**
 * Starts to read pointers every `refreshMs`, and at once after each reconnect. A refresh that fails
 * keeps the set there is; a view that is gone though it was there before is marked as lost, alone.
 */
export function createPointerCache({
  catalogue,
  redis,
  ledger,
  refreshMs,
  counters,
}: {
  readonly catalogue: Catalogue;
  readonly redis: RedisConnection;
  readonly ledger: Ledger;
  readonly refreshMs: number;
  readonly counters: RefreshCounters;
}): PointerCache {
  const views = [...catalogue.views.values()];
  let newest: PointerSet | undefined;
  /** Of the newest read. */
  let failure: Error | undefined;

  async function read(): Promise<PointerSet> {
    // A connection that is still being made refuses commands.
    if (newest === undefined) await redis.ready();
    const found = await ledger.readPointers(views.map(pointerRequest));
    const old = newest?.views;
    return {
      views: new Map(
        views.map((view, i): [View, ViewPointers] => {
          const pointers = found[i] ?? nothing;
          const { namespace, published, latest, revision } = pointers;
          const known = old?.get(view);
          const lost = known !== undefined && wentBack(known, pointers);
          if (lost) return [view, { ...known, lost }];
          // Equal ids mean equal values, so most refreshes decode nothing.
          const same = known?.latest;
          const snapshot =
            latest === null ? null : latest.id === same?.id ? same : decode(view, latest);
          return [view, { namespace, published, latest: snapshot, lost: false, revision }];
        }),
      ),
    };
  }

  const decode = (view: View, { id, body }: LatestSnapshot): Snapshot =>
    decodeSnapshot(view.aggregates, id, body);

  async function readCounted(): Promise<PointerSet> {
    try {
      newest = await read();
      counters.refreshes++;
      counters.lastRefreshError = null;
      failure = undefined;
      counters.refreshedMs = Date.now();
      return newest;
    } catch (error) {
      failure = asError(error);
      counters.failedRefreshes++;
      counters.lastRefreshError = failure.message;
      throw error;
    }
  }

  const poller = createPoller({ read: readCounted, pauseMs: () => refreshMs });
  redis.onReconnect(poller.soon);

  return {
    refresh: poller.refresh,
    newest: () => newest,
    async current() {
      if (newest !== undefined) return newest;
      if (failure !== undefined) throw failure;
      return poller.join();
    },
    close: poller.close,
  };
}

const nothing: Pointers = { namespace: null, published: null, latest: null, revision: "0" };

/**
 * Whether Redis is behind what was known of a view: it was emptied, restored from an older copy, or
 * has lost what it had acknowledged. Neither revisions nor publishes ever go backwards.
 */
function wentBack(known: ViewPointers, now: Pointers): boolean {
  return (
    (known.namespace !== null && now.namespace === null) ||
    (known.published?.generation ?? 0) > (now.published?.generation ?? 0) ||
    countOfRevision(known.revision) > countOfRevision(now.revision)
  );
}

/**
 * STORE_LOST of a view that Redis no longer has: rows do not go away by themselves, so to answer
 * NOT_FOUND would be a guess.
 */
export function lostView({ name, fingerprint }: View): OnceflowError {
  return new OnceflowError(
    "STORE_LOST",
    `view "${name}": Redis no longer has what it had under fingerprint ${fingerprint}, so it was emptied, restored from an older copy or swept, and nobody has put it back since. A worker does so by itself; at once: ${invocation} publish ${name}`,
    { view: name, fingerprint },
  );
}
