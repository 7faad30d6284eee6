/** The committed generations of intervals, as the offline store keeps them. */
import type { View } from "../../engine/catalogue.ts";
import { formatInterval, type Interval } from "../../engine/calendar/interval.ts";
import { OnceflowError } from "../../engine/errors.ts";
import type { PartitionRef } from "../../store/offline/keys.ts";
import { isLost, lostFiles } from "../../store/offline/objects.ts";
import type { OfflineStore } from "../../store/offline/offline-store.ts";
import { slicesOf } from "../../workflows/contract.ts";
import { type CountedPart, partsOf } from "../offline-parts.ts";
import { factsOf, readManifest, type RunManifest, type SliceFacts } from "../run-facts.ts";

/** The rows of a committed generation of an interval. */
export interface CommittedPartition {
  readonly ref: PartitionRef;
  readonly parts: readonly CountedPart[];
  readonly rows: number;
}

/** Where the rows of a generation of an interval lie. */
export function partitionRef(view: View, interval: Interval, generation: number): PartitionRef {
  return { view: view.name, fingerprint: view.fingerprint, interval, generation };
}

/** A committed generation. @throws OFFLINE_UNAVAILABLE where the offline store has lost it */
export async function readPartition(
  offline: OfflineStore,
  view: View,
  interval: Interval,
  generation: number,
): Promise<CommittedPartition> {
  const ref = partitionRef(view, interval, generation);
  const manifest = await readManifest(offline, ref);
  if (manifest === undefined)
    throw new OnceflowError(
      "OFFLINE_UNAVAILABLE",
      `generation ${generation} of ${formatInterval(interval)} of view "${view.name}" is committed and no longer in the offline store ${offline.root}. Materialize the interval again with --reprocess.`,
      { view: view.name, path: offline.root, ...lostFiles },
    );
  const parts = [...partsOf(await partCounts(offline, view, manifest))];
  return { ref, parts, rows: manifest.rows };
}

/** The same, or undefined where the offline store does not have it any more. */
export async function findPartition(
  ...args: Parameters<typeof readPartition>
): Promise<CommittedPartition | undefined> {
  try {
    return await readPartition(...args);
  } catch (error) {
    if (error instanceof OnceflowError && isLost(error)) return undefined;
    throw error;
  }
}

/** The rows of each part; manifests of older releases leave them to the facts of pass 1. */
export async function partCounts(
  offline: OfflineStore,
  view: View,
  manifest: RunManifest,
): Promise<SliceFacts["rows"]> {
  if (manifest.parts !== undefined) return manifest.parts;
  const slices = await Promise.all(
    slicesOf(manifest.files.length).map((slice) =>
      factsOf(offline, view, manifest).readSlice(slice),
    ),
  );
  return slices.flatMap((slice) => slice?.rows ?? []);
}
