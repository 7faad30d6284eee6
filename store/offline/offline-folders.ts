/**
 * Where the offline store keeps what was materialized, and what of it can be read without polars:
 * which intervals there are, and the JSON beside their rows. offline-store.ts has the layout.
 */
import { promises as fs } from "node:fs";
import path from "node:path";
import { messageOf, OnceflowError } from "../../engine/errors.ts";
import type { Interval } from "../../engine/calendar/interval.ts";

/** The materialized intervals of a view as it was defined under one fingerprint. */
export interface ViewRef {
  readonly view: string;
  /** Storage fingerprint. */
  readonly fingerprint: string;
}

/** What one run wrote for one interval. */
export interface PartitionRef extends ViewRef {
  readonly interval: Interval;
  /** Allotted when the run starts; a later run of the interval has a greater one. */
  readonly generation: number;
}

/** The folders of views; every method fails as those of the offline store do. */
export interface OfflineFolders {
  readonly root: string;
  /** Whether any view was ever written here; false also where there is no root. */
  hasViews: () => Promise<boolean>;
  /** What a run writes is below it. */
  partitionFolder: (ref: PartitionRef) => string;
  /** @throws REQUEST_INVALID for a name that cannot be one of a file */
  jsonFile: (ref: PartitionRef, name: string) => string;
  /** Undefined where it was not written. */
  readJson: <T>(ref: PartitionRef, name: string) => Promise<T | undefined>;
  /** Of which there is any generation, complete or not, oldest first. */
  listIntervals: (ref: ViewRef) => Promise<Interval[]>;
  /** Ascending, complete or not. */
  listGenerations: (ref: ViewRef & { readonly interval: Interval }) => Promise<number[]>;
}

/** Opens the folders below a root, which need not be there. */
export function openOfflineFolders(options: { readonly root: string }): OfflineFolders {
  const root = path.resolve(options.root);
  const views = path.join(root, "views");
  const viewFolder = ({ view, fingerprint }: ViewRef) =>
    path.join(views, fileName(view), `fingerprint=${fileName(fingerprint)}`);
  const intervalPath = (ref: ViewRef & { readonly interval: Interval }) =>
    path.join(viewFolder(ref), `interval=${formatFolder(ref.interval)}`);
  const partitionFolder = (ref: PartitionRef) =>
    path.join(intervalPath(ref), `generation=${ref.generation}`);
  const jsonFile = (ref: PartitionRef, name: string) =>
    path.join(partitionFolder(ref), fileName(name));
  return {
    root,
    hasViews: async () =>
      (await attempt("list", views, () => unlessMissing(fs.stat(views)))) !== undefined,
    partitionFolder,
    jsonFile,
    async readJson<T>(ref: PartitionRef, name: string) {
      const file = jsonFile(ref, name);
      const text = await readText(file);
      if (text === undefined) return undefined;
      return attempt("decode", file, () => JSON.parse(text) as T);
    },
    async listIntervals(ref) {
      return (await listFolder(viewFolder(ref)))
        .flatMap((name) => parseFolder(/^interval=(.*)$/.exec(name)?.[1] ?? "") ?? [])
        .sort((a, b) => a.startMs - b.startMs || a.endMs - b.endMs);
    },
    listGenerations: async (ref) =>
      (await listFolder(intervalPath(ref)))
        .flatMap((name) => /^generation=(\d+)$/.exec(name)?.[1] ?? [])
        .map(Number)
        .sort((a, b) => a - b),
  };
}

/** Names come from definitions and requests: none may lead out of its folder. */
export function fileName(name: string): string {
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

/** The names in a folder; none where it is not there. @throws OFFLINE_UNAVAILABLE */
export async function listFolder(folder: string): Promise<string[]> {
  return (await attempt("list", folder, () => unlessMissing(fs.readdir(folder)))) ?? [];
}

/** Undefined where the file is not there. @throws OFFLINE_UNAVAILABLE */
export function readText(file: string): Promise<string | undefined> {
  return attempt("read", file, () => unlessMissing(fs.readFile(file, "utf8")));
}

/** Undefined where what is read is not there. */
export async function unlessMissing<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

const fixes: Readonly<Record<string, string>> = {
  ENOSPC: " Free space on that disk.",
  EDQUOT: " The quota of that disk is used up.",
  EACCES: " Give the process the right to use that folder.",
  EROFS: " The disk is mounted read-only.",
  EMFILE: " Let the process open more files (ulimit -n).",
};
const otherFix = " See to that disk, or correct ONCEFLOW_OFFLINE.";

/** Runs something on a file. @throws OFFLINE_UNAVAILABLE naming the file, with the fix */
export async function attempt<T>(
  verb: string,
  file: string,
  run: () => T | Promise<T>,
): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    if (cause instanceof OnceflowError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    const fix =
      verb === "decode" ? " Materialize its interval again." : (fixes[code ?? ""] ?? otherFix);
    throw new OnceflowError(
      "OFFLINE_UNAVAILABLE",
      `the offline store cannot ${verb} ${file}: ${messageOf(cause)}.${fix}`,
      { path: file, ...(code === undefined ? {} : { errno: code }) },
      cause,
    );
  }
}
