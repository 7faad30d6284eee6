/**
 * Where the offline store keeps what was materialized, and what of it can be read without polars:
 * which intervals there are, and the JSON beside their rows. offline-store.ts has the layout.
 */
import type { Interval } from "../../engine/calendar/interval.ts";
import { type Journal, journalOf } from "./journal.ts";
import {
  intervalKey,
  type IntervalRef,
  jsonKey,
  offlineViewKey,
  parseFolder,
  partitionKey,
  type PartitionRef,
  snapshotKey,
  viewFolderKey,
  type ViewRef,
} from "./keys.ts";
import { localObjects } from "./local-objects.ts";
import { decode, type ObjectStore, unlessMissing } from "./objects.ts";

/** The folders of views; every method fails as those of the offline store do. */
export interface OfflineFolders {
  /** Where it all is, for people. */
  readonly root: string;
  /** Whether any view was ever written here; false also where there is no root. */
  hasViews: () => Promise<boolean>;
  /** Undefined where it was not written. */
  readJson: <T>(ref: PartitionRef, name: string) => Promise<T | undefined>;
  /** Of which there is any generation, complete or not, oldest first. */
  listIntervals: (ref: ViewRef) => Promise<Interval[]>;
  /** Ascending, complete or not. */
  listGenerations: (ref: IntervalRef) => Promise<number[]>;
  /** The names of JSON beside the rows of a run. */
  listJson: (ref: PartitionRef) => Promise<string[]>;
  /** The ids of a view's snapshots. */
  listSnapshots: (view: string) => Promise<string[]>;
  /** Undefined where it was not written. */
  readSnapshot: (view: string, id: string) => Promise<string | undefined>;
  readonly journal: Journal;
}

/** Opens the folders below a root of the file system, which need not be there. */
export function openOfflineFolders(options: { readonly root: string }): OfflineFolders {
  return offlineFoldersOf(localObjects(options.root));
}

/** The folders of views in any place for files. */
export function offlineFoldersOf(objects: ObjectStore): OfflineFolders {
  return {
    root: objects.locate(""),
    hasViews: async () => (await objects.list("")).includes("views"),
    async readJson<T>(ref: PartitionRef, name: string) {
      const key = jsonKey(ref, name);
      const bytes = await unlessMissing(objects.read(key));
      if (bytes === undefined) return undefined;
      return decode(objects, key, () => JSON.parse(bytes.toString()) as T);
    },
    async listIntervals(ref) {
      return (await objects.list(offlineViewKey(ref)))
        .flatMap((name) => parseFolder(/^interval=(.*)$/.exec(name)?.[1] ?? "") ?? [])
        .sort((a, b) => a.startMs - b.startMs || a.endMs - b.endMs);
    },
    listGenerations: async (ref) =>
      (await objects.list(intervalKey(ref)))
        .flatMap((name) => /^generation=(\d+)$/.exec(name)?.[1] ?? [])
        .map(Number)
        .sort((a, b) => a - b),
    listJson: async (ref) =>
      (await objects.list(partitionKey(ref))).filter((name) => /^[^.].*\.json$/.test(name)),
    listSnapshots: async (view) =>
      (await objects.list(`${viewFolderKey(view)}/snapshots`)).flatMap(
        (name) => /^([^.]+)\.json$/.exec(name)?.[1] ?? [],
      ),
    readSnapshot: async (view, id) =>
      (await unlessMissing(objects.read(snapshotKey(view, id))))?.toString(),
    journal: journalOf(objects),
  };
}
