/**
 * What the offline store needs of the place that keeps its files: five calls (list, stat, read, put,
 * put if absent), so that the bucket of an object store can stand behind it as well as a local
 * folder. Beside them are `remove`, for housekeeping, and `locate`, for people.
 */
import { type ErrorDetails, messageOf, OnceflowError } from "../../engine/errors.ts";

/**
 * A place for whole files by key. A key is a path below its root with "/" between, such as
 * "views/badges/snapshots/abc.json", and "" is the root. Whoever makes keys sees to it that none
 * leads out.
 *
 * What is put is there whole or not at all, and durable once the call returns. Every method fails
 * with OFFLINE_UNAVAILABLE, naming the place, and leaves nothing unfinished behind.
 */
export interface ObjectStore {
  /** Names directly below a key, or the root: of files, and of what has files below it. */
  readonly list: (key: string) => Promise<string[]>;
  /** Undefined where there is no file. */
  readonly stat: (key: string) => Promise<ObjectStat | undefined>;
  /**
   * The bytes of a file, or those of a range that are there. Where there is no file, the error has
   * errno ENOENT: see `unlessMissing`.
   */
  readonly read: (key: string, range?: ByteRange) => Promise<Buffer>;
  /** Puts a file in place of any older one. */
  readonly put: (key: string, content: Content) => Promise<void>;
  /** Puts a file where there is none: of all that try at once, in any process, one gets true. */
  readonly putIfAbsent: (key: string, content: Content) => Promise<boolean>;
  /**
   * Removes a file, or all below a key. Housekeeping: generations that were replaced, and what a
   * killed process left, take space that nobody else frees. No answer rests on it: which of the
   * files count is said by the ledger and by manifests.
   */
  readonly remove: (key: string) => Promise<void>;
  /** A key as people find it: an absolute path, or a URL. */
  readonly locate: (key: string) => string;
}

/** What is known of a file without reading it. */
export interface ObjectStat {
  readonly sizeBytes: number;
}

/** Bytes of a file from `start` on, up to but without `end`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/**
 * What is put: bytes, or what writes them to an empty local file, by its path. polars writes so
 * with its own threads; an object store uploads that file.
 */
export type Content = Buffer | ((file: string) => Promise<unknown>);

/** A name under which a file is written before it is put in place. */
export function unfinishedName(name: string, id: string): string {
  return `.${name}.${id}.tmp`;
}

/** Whether `list` gave the name of a put that has not ended, or never will. */
export function isUnfinished(name: string): boolean {
  return name.startsWith(".") && name.endsWith(".tmp");
}

/** Undefined where what is read is not there. */
export async function unlessMissing<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof OnceflowError && error.details.errno === "ENOENT") return undefined;
    throw error;
  }
}

/** In the details of an error: it is of files that do not come back by themselves. */
export const lostFiles = { lost: true } as const;

/** Whether an error is of files of the offline store that are gone or damaged, not out of reach. */
export function isLost({ code, details }: OnceflowError): boolean {
  return code === "OFFLINE_UNAVAILABLE" && (details.lost === true || details.errno === "ENOENT");
}

/** The error for what cannot be done with the file or folder at a place. */
export function unavailable(
  verb: string,
  place: string,
  cause: unknown,
  fix: string,
  details: ErrorDetails = {},
): OnceflowError {
  const { code } = cause as NodeJS.ErrnoException;
  return new OnceflowError(
    "OFFLINE_UNAVAILABLE",
    `the offline store cannot ${verb} ${place}: ${messageOf(cause)}. ${fix}`,
    { path: place, ...(code === undefined ? {} : { errno: code }), ...details },
    cause,
  );
}

/** Decodes what was read of a key. @throws OFFLINE_UNAVAILABLE where it is damaged */
export function decode<T>(objects: ObjectStore, key: string, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    const fix = "Materialize its interval again.";
    throw unavailable("decode", objects.locate(key), cause, fix, lostFiles);
  }
}
