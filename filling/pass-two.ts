/**
 * Pass 2 of a run: writes the rows that pass 1 has validated to the online store, each only over an
 * older one.
 */
import type { View } from "../engine/catalogue.ts";
import { OnceflowError } from "../engine/errors.ts";
import { chooseBuckets } from "../store/namespace.ts";
import { isSameRun, readRunId } from "../store/redis/run-id.ts";
import type { RowBatch } from "../store/rows/writer.ts";
import type { OpenedStore, RowsWritten, RunRef, Slice } from "../workflows/contract.ts";
import { type CountedPart, partsOf, readParts } from "./offline-parts.ts";
import { toRowBatch } from "./rows.ts";
import { intervalOfRun, requireSlice } from "./run-facts.ts";
import type { Stores } from "./stores.ts";
import { storedTable } from "./view-states.ts";

/** Opens the namespace of a view for so many rows, and notes which Redis it is in. */
export async function openStore(
  { redis, online }: Pick<Stores, "redis" | "online">,
  view: View,
  rows: number,
): Promise<OpenedStore> {
  await redis.assertNoEviction();
  const redisRunId = await readRunId(redis);
  const buckets = chooseBuckets(Math.max(rows, view.expectedEntities));
  const namespace = await online.openNamespace(storedTable(view), { buckets });
  return { namespace, redisRunId };
}

/**
 * Writes the rows of some files.
 *
 * @param assertWanted - called between parts; it throws once the run is cancelled
 * @throws OFFLINE_UNAVAILABLE where they are not those that were validated
 */
export async function writeSlice(
  { offline, online }: Pick<Stores, "offline" | "online">,
  view: View,
  run: RunRef,
  slice: Slice,
  { namespace }: Pick<OpenedStore, "namespace">,
  assertWanted: () => void,
): Promise<RowsWritten> {
  const { rows } = await requireSlice(offline, view, run, slice);
  const parts = partsOf(rows, slice.from);
  return online.writeRows(namespace, batchesOf({ offline }, view, run, parts, assertWanted));
}

async function* batchesOf(
  { offline }: Pick<Stores, "offline">,
  view: View,
  run: RunRef,
  parts: Iterable<CountedPart>,
  assertWanted: () => void,
): AsyncGenerator<RowBatch> {
  for await (const frame of readParts(offline, view, run, parts, assertWanted))
    yield await toRowBatch(frame, view, run);
}

/**
 * The end of pass 2, before the commit.
 *
 * @throws STORE_RESTARTED where its rows may be lost: write them again
 */
export async function sealStore(
  { redis, online }: Pick<Stores, "redis" | "online">,
  view: View,
  run: RunRef,
  { namespace, redisRunId }: OpenedStore,
): Promise<void> {
  const { endMs } = intervalOfRun(view, run);
  await online.sealNamespace(namespace, { endMs, generation: run.generation });
  // A Redis that restarted may have lost rows that it had acknowledged.
  if (!isSameRun(redisRunId, await readRunId(redis)))
    throw new OnceflowError(
      "STORE_RESTARTED",
      `Redis at ${redis.address} restarted while the run wrote rows of view "${view.name}"; they are written again.`,
    );
}
