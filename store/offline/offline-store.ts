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
import { lazyOf } from "../../engine/compile/frame.ts";
import { toCsv } from "./csv-export.ts";
import { countFrame } from "../../engine/compile/frame-memory.ts";
import {
  attempt,
  fileName,
  listFolder,
  type OfflineFolders,
  openOfflineFolders,
  type PartitionRef,
  readText,
  unlessMissing,
} from "./offline-folders.ts";

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
export interface OfflineStore extends OfflineFolders {
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
  const folders = openOfflineFolders(options);
  const { root, partitionFolder, jsonFile, listGenerations } = folders;
  const partFile = (ref: PartitionRef, { file, chunk }: PartRef) =>
    path.join(partitionFolder(ref), `part-${padded(file, 5)}-${padded(chunk, 3)}.parquet`);
  const snapshotFile = (view: string, id: string) =>
    path.join(root, "views", fileName(view), "snapshots", `${fileName(id)}.json`);

  return {
    ...folders,
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

function remove(target: string): Promise<void> {
  return attempt("remove", target, () => fs.rm(target, { recursive: true, force: true }));
}
