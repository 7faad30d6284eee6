/**
 * The offline store: parquet in a local folder, partitioned as Hive does.
 *
 *     <root>/views/<view>/fingerprint=<fp>/interval=<start>_<end>/generation=<g>/part-00000-000.parquet
 *     <root>/views/<view>/fingerprint=<fp>/interval=<start>_<end>/generation=<g>/<name>.json
 *     <root>/views/<view>/snapshots/<id>.json
 *     <root>/training_sets/<service>/<id>/{data.parquet,data.csv,manifest.json}
 *
 * Each file is written under a temporary name, synced and renamed, so that a reader sees all of it
 * or nothing, and a repeated attempt replaces it. A manifest is written last: a folder without one
 * is no result.
 */
import { randomUUID } from "node:crypto";
import { promises as fs } from "node:fs";
import path from "node:path";
import pl from "nodejs-polars";
import { lazyOf } from "../engine/compile/frame.ts";
import { messageOf, OnceflowError } from "../engine/errors.ts";
import type { Interval } from "../engine/interval.ts";
import { toCsv } from "./csv-export.ts";
import { countFrame } from "./frame-memory.ts";

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

/** Rows of a source file: one chunk of them, so that no part need fit into memory with others. */
export interface PartRef {
  /** Place of the file in the run's list. */
  readonly file: number;
  readonly chunk: number;
}

/** JSON that says what a training set rests on: fingerprints, row counts, files, snapshot. */
export type Manifest = Readonly<Record<string, unknown>>;

/**
 * Historical rows, aggregate snapshots and training sets. Every method fails with
 * OFFLINE_UNAVAILABLE where the file system refuses, naming the file, and leaves no temporary file
 * behind; with REQUEST_INVALID where a name would lead out of its folder.
 */
export interface OfflineStore {
  readonly root: string;
  /** Writes a part as parquet; an older one in its place is replaced. */
  writePart: (ref: PartitionRef, part: PartRef, frame: pl.DataFrame) => Promise<void>;
  /** All columns of a part, or those named. */
  readPart: (
    ref: PartitionRef,
    part: PartRef,
    columns?: readonly string[],
  ) => Promise<pl.DataFrame>;
  /** Writes JSON beside the parts, such as a manifest once all parts are there. */
  writeJson: (ref: PartitionRef, name: string, value: unknown) => Promise<void>;
  /** Undefined where it was not written. */
  readJson: <T>(ref: PartitionRef, name: string) => Promise<T | undefined>;
  /** Ascending, complete or not. */
  listGenerations: (ref: ViewRef & { readonly interval: Interval }) => Promise<number[]>;
  /**
   * Removes temporary files of attempts that crashed, up to this generation. Call it when a run
   * starts; an attempt of an older run that still writes then fails.
   */
  cleanPartition: (ref: PartitionRef) => Promise<void>;
  /** Removes what a run wrote. */
  removePartition: (ref: PartitionRef) => Promise<void>;
  /** Removes all older generations of the interval; call it after the commit of this one. */
  removeGenerationsBefore: (ref: PartitionRef) => Promise<void>;
  /** Writes the encoded values of an aggregate snapshot. */
  writeSnapshot: (view: string, id: string, encoded: string) => Promise<void>;
  /** Undefined where it was not written. */
  readSnapshot: (view: string, id: string) => Promise<string | undefined>;
  /**
   * Writes a training set as parquet, which is exact, and as CSV for people (see `toCsv`), the
   * manifest last.
   *
   * @returns its folder
   */
  writeTrainingSet: (
    service: string,
    id: string,
    frame: pl.DataFrame,
    manifest: Manifest,
  ) => Promise<string>;
}

/** Opens an offline store in a local folder, which is created when something is written. */
export function createOfflineStore(options: { readonly root: string }): OfflineStore {
  const root = path.resolve(options.root);
  const viewFolder = ({ view, fingerprint }: ViewRef) =>
    path.join(root, "views", fileName(view), `fingerprint=${fileName(fingerprint)}`);
  const intervalPath = (ref: ViewRef & { readonly interval: Interval }) =>
    path.join(viewFolder(ref), `interval=${formatFolder(ref.interval)}`);
  const partitionFolder = (ref: PartitionRef) =>
    path.join(intervalPath(ref), `generation=${ref.generation}`);
  const partFile = (ref: PartitionRef, { file, chunk }: PartRef) =>
    path.join(partitionFolder(ref), `part-${padded(file, 5)}-${padded(chunk, 3)}.parquet`);
  const jsonFile = (ref: PartitionRef, name: string) =>
    path.join(partitionFolder(ref), fileName(name));
  const snapshotFile = (view: string, id: string) =>
    path.join(root, "views", fileName(view), "snapshots", `${fileName(id)}.json`);

  const listGenerations: OfflineStore["listGenerations"] = async (ref) =>
    (await listFolder(intervalPath(ref)))
      .flatMap((name) => /^generation=(\d+)$/.exec(name)?.[1] ?? [])
      .map(Number)
      .sort((a, b) => a - b);

  return {
    root,
    writePart: (ref, part, frame) => replaceFile(partFile(ref, part), parquetOf(frame)),
    async readPart(ref, part, columns) {
      const file = partFile(ref, part);
      const bytes = await attempt("read", file, () => fs.readFile(file));
      const options = columns === undefined ? {} : { columns: [...columns] };
      const frame = await attempt("decode", file, () => pl.readParquet(bytes, options));
      countFrame(frame);
      return frame;
    },
    writeJson: (ref, name, value) => replaceFile(jsonFile(ref, name), bytesOf(encodeJson(value))),
    async readJson<T>(ref: PartitionRef, name: string) {
      const file = jsonFile(ref, name);
      const text = await readText(file);
      if (text === undefined) return undefined;
      return attempt("decode", file, () => JSON.parse(text) as T);
    },
    listGenerations,
    async cleanPartition(ref) {
      for (const generation of await listGenerations(ref)) {
        if (generation > ref.generation) continue;
        const folder = partitionFolder({ ...ref, generation });
        for (const name of await listFolder(folder))
          if (isTemporary(name)) await remove(path.join(folder, name));
      }
    },
    removePartition: (ref) => remove(partitionFolder(ref)),
    async removeGenerationsBefore(ref) {
      for (const generation of await listGenerations(ref))
        if (generation < ref.generation) await remove(partitionFolder({ ...ref, generation }));
    },
    writeSnapshot: (view, id, encoded) =>
      replaceFile(snapshotFile(view, id), bytesOf(Buffer.from(encoded))),
    readSnapshot: (view, id) => readText(snapshotFile(view, id)),
    async writeTrainingSet(service, id, frame, manifest) {
      const folder = path.join(root, "training_sets", fileName(service), fileName(id));
      await replaceFile(path.join(folder, "data.parquet"), parquetOf(frame));
      await replaceFile(path.join(folder, "data.csv"), bytesOf(toCsv(frame)));
      await replaceFile(path.join(folder, "manifest.json"), bytesOf(encodeJson(manifest)));
      return folder;
    },
  };
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

/** Writes the content of a new, empty file. */
type Content = (file: string, handle: fs.FileHandle) => Promise<unknown>;

/** Written by polars' own threads; what it has put into the file is synced through any handle. */
function parquetOf(frame: pl.DataFrame): Content {
  return (file) => lazyOf(frame).sinkParquet(file, { compression: "zstd" }).collect();
}

function bytesOf(content: Buffer): Content {
  return (_, handle) => handle.writeFile(content);
}

function padded(count: number, digits: number): string {
  return String(count).padStart(digits, "0");
}

function encodeJson(value: unknown): Buffer {
  return Buffer.from(`${JSON.stringify(value, null, 2)}\n`);
}

function isTemporary(name: string): boolean {
  return name.startsWith(".") && name.endsWith(".tmp");
}

/** Puts a whole file in place, durably. */
async function replaceFile(file: string, write: Content): Promise<void> {
  const folder = path.dirname(file);
  const temporary = path.join(folder, `.${path.basename(file)}.${randomUUID()}.tmp`);
  await attempt("write", file, async () => {
    try {
      const handle = await createFile(temporary);
      try {
        await write(temporary, handle);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await fs.rename(temporary, file);
      await syncFolder(folder);
    } catch (error) {
      await fs.rm(temporary, { force: true });
      throw error;
    }
  });
}

/** Opens a new file; its folder is made where it is not there, which is seldom. */
async function createFile(file: string): Promise<fs.FileHandle> {
  const handle = await unlessMissing(fs.open(file, "wx"));
  if (handle !== undefined) return handle;
  await fs.mkdir(path.dirname(file), { recursive: true });
  return fs.open(file, "wx");
}

/** Makes a rename survive a power cut. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await fs.open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function listFolder(folder: string): Promise<string[]> {
  return (await attempt("list", folder, () => unlessMissing(fs.readdir(folder)))) ?? [];
}

function readText(file: string): Promise<string | undefined> {
  return attempt("read", file, () => unlessMissing(fs.readFile(file, "utf8")));
}

function remove(target: string): Promise<void> {
  return attempt("remove", target, () => fs.rm(target, { recursive: true, force: true }));
}

async function unlessMissing<T>(reading: Promise<T>): Promise<T | undefined> {
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
};

async function attempt<T>(verb: string, file: string, run: () => T | Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    if (cause instanceof OnceflowError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    const fix = verb === "decode" ? " Materialize its interval again." : (fixes[code ?? ""] ?? "");
    throw new OnceflowError(
      "OFFLINE_UNAVAILABLE",
      `the offline store cannot ${verb} ${file}: ${messageOf(cause)}.${fix}`,
      { path: file, ...(code === undefined ? {} : { errno: code }) },
      cause,
    );
  }
}
