/**
 * Watches that Redis still has what it was given, and has it put back where it has not: a store that
 * was emptied, restored from an older copy, or that lost what it had acknowledged is noticed within
 * seconds, and published again from the offline store.
 */
import type { Catalogue, View } from "../engine/catalogue.ts";
import { messageOf } from "../engine/errors.ts";
import { readHistory } from "../filling/publish/plan.ts";
import { pointerRequest } from "../store/ledger.ts";
import type { Logger } from "../serving/telemetry/logging.ts";
import type { Ledger } from "../store/ledger.ts";
import type { OfflineFolders } from "../store/offline/offline-folders.ts";
import type { OnlineStore } from "../store/online-store.ts";
import { readRunId } from "../store/redis/run-id.ts";
import type { RedisConnection } from "../store/redis/types.ts";
import { isBehind } from "../store/revision.ts";

/** Time between looks; a reconnect is looked at at once. */
const pauseMs = 2_000;
/** Looks after which all buckets are looked at, too. */
const looksBetweenBuckets = 30;

/** What is watched, and how it is put back. */
export interface StoreWatchOptions {
  readonly catalogue: Catalogue;
  readonly redis: RedisConnection;
  readonly ledger: Ledger;
  readonly online: OnlineStore;
  readonly offline: OfflineFolders;
  readonly log: Logger;
  /** Publishes a view; a plain publish is left to the one that is under way, a whole one follows it. */
  readonly publish: (view: View, options: { readonly whole: boolean }) => Promise<void>;
}

/** Starts to watch, until it is closed. */
export function watchStore(options: StoreWatchOptions): { readonly close: () => void } {
  const { redis } = options;
  const look = createLook(options);
  let timer: NodeJS.Timeout | undefined;
  let looking = Promise.resolve();
  let isClosed = false;
  const soon = (waitMs: number) => {
    clearTimeout(timer);
    if (isClosed) return;
    timer = setTimeout(() => {
      looking = looking.then(look).then(() => soon(pauseMs));
    }, waitMs);
    timer.unref();
  };
  redis.onReconnect(() => soon(0));
  soon(0);
  return {
    close() {
      isClosed = true;
      clearTimeout(timer);
    },
  };
}

function createLook(options: StoreWatchOptions): () => Promise<void> {
  const { catalogue, redis, log, publish } = options;
  const views = [...catalogue.views.values()];
  /** Views whose buckets are to be looked at: those of a process of Redis that is new to us. */
  const unverified = new Set<View>(views);
  /** Views that are being put back. */
  const mending = new Set<View>();
  let runId: string | undefined;
  let looks = 0;

  async function lookAt(view: View): Promise<void> {
    if (mending.has(view)) return;
    const lost = await lossOf(options, view, unverified.has(view));
    if (lost === undefined) {
      unverified.delete(view);
      return;
    }
    log.warn({ view: view.name, ...lost }, "Redis has lost what was published; it is put back");
    mending.add(view);
    void publish(view, { whole: lost.what === "buckets" })
      .catch((error: unknown) => {
        log.warn({ view: view.name, error: messageOf(error) }, "it could not be put back yet");
      })
      .finally(() => mending.delete(view));
  }

  return async () => {
    try {
      const now = await readRunId(redis);
      if (runId !== now || ++looks % looksBetweenBuckets === 0)
        for (const view of views) unverified.add(view);
      runId = now;
      for (const view of views)
        await lookAt(view).catch((error: unknown) => {
          log.warn({ view: view.name, error: messageOf(error) }, "a view could not be looked at");
        });
    } catch (error) {
      // Redis is down, which is told elsewhere; the next look comes soon.
      log.debug({ error: messageOf(error) }, "the store could not be looked at");
    }
  };
}

/** What Redis has lost of a view; undefined where that is nothing. */
async function lossOf(
  { ledger, online, offline }: StoreWatchOptions,
  view: View,
  verifies: boolean,
): Promise<{ readonly what: "ledger" | "publish" | "buckets"; readonly has: unknown } | undefined> {
  // First: what is noted was in Redis before.
  const noted = await offline.journal.readRevision(view.name);
  const { last } = await readHistory(offline, view);
  const [pointers] = await ledger.readPointers([pointerRequest(view)]);
  if (pointers === undefined) return undefined;
  const { revision, published, namespace } = pointers;
  if (noted !== undefined && isBehind(revision, noted)) return { what: "ledger", has: revision };
  if ((published?.generation ?? 0) < (last?.generation ?? 0))
    return { what: "publish", has: published?.generation ?? null };
  if (!verifies || namespace === null || published === null) return undefined;
  const { missing, foreign, behind } = await online.verifyNamespace(namespace, {
    least: published,
  });
  return missing + foreign + behind > 0
    ? { what: "buckets", has: { missing, foreign, behind } }
    : undefined;
}
