/**
 * Where the offline store keeps what was materialized, and what of it can be read without polars:
 * which intervals there are, and the JSON beside their rows. offline-store.ts has the layout.
 */
import { OnceflowError } from "../../engine/errors.ts";
import type { Interval } from "../../engine/calendar/interval.ts";
import { localObjects } from "./local-objects.ts";
import { decode, type ObjectStore, unlessMissing } from "./objects.ts";

/** The materialized intervals of a view as it was defined under one fingerprint. */
export interface ViewRef {
  readonly view: string;
  /** Storage fingerprint. */
  readonly fingerprint: string;
}

/** All that was ever written for one interval of a view. */
export interface IntervalRef extends ViewRef {
  readonly interval: Interval;
}

/** What one run wrote for one interval. */
export interface PartitionRef extends IntervalRef {
  /** Allotted when the run starts; a later run of the interval has a greater one. */
  readonly generation: number;
}

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
      return (await objects.list(viewKey(ref)))
        .flatMap((name) => parseFolder(/^interval=(.*)$/.exec(name)?.[1] ?? "") ?? [])
        .sort((a, b) => a.startMs - b.startMs || a.endMs - b.endMs);
    },
    listGenerations: async (ref) =>
      (await objects.list(intervalKey(ref)))
        .flatMap((name) => /^generation=(\d+)$/.exec(name)?.[1] ?? [])
        .map(Number)
        .sort((a, b) => a - b),
  };
}

/** What a run writes is below it. */
export function partitionKey(ref: PartitionRef): string {
  return `${intervalKey(ref)}/generation=${ref.generation}`;
}

/** JSON beside the rows of a run. @throws REQUEST_INVALID for a name that cannot be one of a file */
export function jsonKey(ref: PartitionRef, name: string): string {
  return `${partitionKey(ref)}/${fileName(name)}`;
}

/** The encoded values of an aggregate snapshot. @throws REQUEST_INVALID as `jsonKey` does */
export function snapshotKey(view: string, id: string): string {
  return `views/${fileName(view)}/snapshots/${fileName(id)}.json`;
}

/** What a training set is made of is below it. @throws REQUEST_INVALID as `jsonKey` does */
export function trainingSetKey(service: string, id: string): string {
  return `training_sets/${fileName(service)}/${fileName(id)}`;
}

function viewKey({ view, fingerprint }: ViewRef): string {
  return `views/${fileName(view)}/fingerprint=${fileName(fingerprint)}`;
}

function intervalKey(ref: IntervalRef): string {
  return `${viewKey(ref)}/interval=${formatFolder(ref.interval)}`;
}

/** Names come from definitions and requests: none may lead out of its folder. */
function fileName(name: string): string {
  if (/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}$/.test(name)) return name;
  throw new OnceflowError(
    "REQUEST_INVALID",
    `${JSON.stringify(name.slice(0, 60))} cannot name a folder: use up to 200 letters, digits, "_", "-" and ".", and begin with none of the last two.`,
  );
}

/** An interval as a folder's name: colons are not for file names everywhere. */
function formatFolder({ startMs, endMs }: Interval): string {
  return [startMs, endMs].map((ms) => new Date(ms).toISOString().replaceAll(":", "-")).join("_");
}

/** What `formatFolder` has written; undefined for any other name. */
function parseFolder(name: string): Interval | undefined {
  const [startMs = NaN, endMs = NaN] = name
    .split("_")
    .map((time) => Date.parse(time.replace(/T(\d\d)-(\d\d)-/, "T$1:$2:")));
  return startMs < endMs && formatFolder({ startMs, endMs }) === name
    ? { startMs, endMs }
    : undefined;
}
