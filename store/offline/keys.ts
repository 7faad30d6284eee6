/** How the offline store names what it keeps: every key is made here. */
import { OnceflowError } from "../../engine/errors.ts";
import type { Interval } from "../../engine/calendar/interval.ts";

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

/** Rows of a source file: one chunk of them, so that no part need fit into memory with others. */
export interface PartRef {
  /** Place of the file in the run's list. */
  readonly file: number;
  readonly chunk: number;
}

/** What a run writes is below it. */
export function partitionKey(ref: PartitionRef): string {
  return `${intervalKey(ref)}/generation=${ref.generation}`;
}

/** The rows of a part. */
export function partKey(ref: PartitionRef, { file, chunk }: PartRef): string {
  return `${partitionKey(ref)}/part-${padded(file, 5)}-${padded(chunk, 3)}.parquet`;
}

/** JSON beside the rows of a run. @throws REQUEST_INVALID for a name that cannot be one of a file */
export function jsonKey(ref: PartitionRef, name: string): string {
  return `${partitionKey(ref)}/${fileName(name)}`;
}

/** The encoded values of an aggregate snapshot. @throws REQUEST_INVALID as `jsonKey` does */
export function snapshotKey(view: string, id: string): string {
  return `${viewFolderKey(view)}/snapshots/${fileName(id)}.json`;
}

/** What each publish was made of is below it. */
export function publishesKey(ref: ViewRef): string {
  return `${offlineViewKey(ref)}/publishes`;
}

/** What a publish was made of. */
export function publishKey(ref: ViewRef, generation: number): string {
  return `${publishesKey(ref)}/${padded(generation, 10)}.json`;
}

/** What resets have made void is below it. */
export function resetsKey(ref: ViewRef): string {
  return `${offlineViewKey(ref)}/resets`;
}

/** The revisions that were noted of a view's ledger are names below it. */
export function revisionsKey(view: string): string {
  return `${viewFolderKey(view)}/revisions`;
}

/** What a training set is made of is below it. @throws REQUEST_INVALID as `jsonKey` does */
export function trainingSetKey(service: string, id: string): string {
  return `training_sets/${fileName(service)}/${fileName(id)}`;
}

/** All of a view, of every definition, is below it. */
export function viewFolderKey(view: string): string {
  return `views/${fileName(view)}`;
}

/** What is of one storage fingerprint of a view is below it. */
export function offlineViewKey({ view, fingerprint }: ViewRef): string {
  return `${viewFolderKey(view)}/fingerprint=${fileName(fingerprint)}`;
}

/** Generations of an interval are below it. */
export function intervalKey(ref: IntervalRef): string {
  return `${offlineViewKey(ref)}/interval=${formatFolder(ref.interval)}`;
}

function padded(count: number, digits: number): string {
  return String(count).padStart(digits, "0");
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
export function parseFolder(name: string): Interval | undefined {
  const [startMs = NaN, endMs = NaN] = name
    .split("_")
    .map((time) => Date.parse(time.replace(/T(\d\d)-(\d\d)-/, "T$1:$2:")));
  return startMs < endMs && formatFolder({ startMs, endMs }) === name
    ? { startMs, endMs }
    : undefined;
}
