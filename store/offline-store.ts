/**
 * The offline store: parquet in a local directory, hive-style partitions.
 *
 * | path below the root                                                                 | what     |
 * | ----------------------------------------------------------------------------------- | -------- |
 * | views/<view>/fingerprint=<f>/interval=<start>_<end>/generation=<g>/part-00000.parquet | rows     |
 * | …/generation=<g>/_manifest.json                                                     | manifest |
 * | snapshots/<view>/<id>.json                                                          | snapshot |
 * | training_sets/<service>/<id>/data.parquet, data.csv, manifest.json                  | training |
 *
 * Every file is written beside its place, synced and renamed, so a reader never sees a half one,
 * and a repeated attempt replaces it by the same content.
 */
import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import pl from "nodejs-polars";
import { lazyOf } from "../engine/compile/frame.ts";
import { messageOf, OnceflowError } from "../engine/errors.ts";
import type { Interval } from "../engine/interval.ts";

/** Names one generation of one interval of a view. */
export interface PartitionRef {
  readonly view: string;
  /** Storage fingerprint. */
  readonly fingerprint: string;
  readonly interval: Interval;
  readonly generation: number;
}

export interface OfflineStore {
  /** Writes the rows of one part. Cost: the frame as parquet, synced. */
  readonly writePart: (partition: PartitionRef, part: number, frame: pl.DataFrame) => Promise<void>;
  readonly readPart: (partition: PartitionRef, part: number) => Promise<pl.DataFrame>;
  /** Writes a JSON file into a partition; the name begins with `_` or `part-`. */
  readonly writeJson: (partition: PartitionRef, name: string, json: object) => Promise<void>;
  /** Reads what `writeJson` wrote, or null. */
  readonly readJson: <T>(partition: PartitionRef, name: string) => Promise<T | null>;
  /** Removes a partition that will not be committed. */
  readonly removePartition: (partition: PartitionRef) => Promise<void>;
  /** Removes the generations of the interval below this one. */
  readonly removeGenerationsBefore: (partition: PartitionRef) => Promise<void>;
  /** Writes an aggregate snapshot's JSON text. */
  readonly writeSnapshot: (view: string, id: string, body: string) => Promise<void>;
  /** Writes a training set; returns its folder. */
  readonly writeTrainingSet: (
    service: string,
    id: string,
    frame: pl.DataFrame,
    manifest: object,
  ) => Promise<string>;
}

/** Makes the offline store in a folder, which workers share. */
export function createOfflineStore({ root }: { readonly root: string }): OfflineStore {
  const folderOf = ({ view, fingerprint, interval, generation }: PartitionRef) =>
    join(
      root,
      "views",
      view,
      `fingerprint=${fingerprint}`,
      `interval=${fileTime(interval.startMs)}_${fileTime(interval.endMs)}`,
      `generation=${generation}`,
    );
  const partPath = (partition: PartitionRef, part: number) =>
    join(folderOf(partition), `part-${String(part).padStart(5, "0")}.parquet`);
  return {
    writePart: (partition, part, frame) =>
      replaceFile(partPath(partition, part), (path) => sinkParquet(frame, path)),
    readPart: (partition, part) => readParquet(partPath(partition, part)),
    writeJson: (partition, name, json) =>
      replaceFile(join(folderOf(partition), name), (path) =>
        writeFile(path, `${JSON.stringify(json, null, 2)}\n`),
      ),
    readJson: <T>(partition: PartitionRef, name: string) =>
      readJson<T>(join(folderOf(partition), name)),
    removePartition: (partition) =>
      guard(folderOf(partition), () => rm(folderOf(partition), { recursive: true, force: true })),
    removeGenerationsBefore: async (partition) => {
      const interval = dirname(folderOf(partition));
      for (const name of await guard(interval, () => readdir(interval))) {
        const generation = Number(/^generation=(\d+)$/.exec(name)?.[1] ?? NaN);
        if (generation < partition.generation)
          await guard(interval, () => rm(join(interval, name), { recursive: true, force: true }));
      }
    },
    writeSnapshot: (view, id, body) =>
      replaceFile(join(root, "snapshots", view, `${id}.json`), (path) =>
        writeFile(path, `${body}\n`),
      ),
    writeTrainingSet: async (service, id, frame, manifest) => {
      const folder = join(root, "training_sets", service, id);
      await replaceFile(join(folder, "data.parquet"), (path) => sinkParquet(frame, path));
      await replaceFile(join(folder, "data.csv"), (path) => sinkCsv(frame, path));
      // Last, so that a folder with a manifest is whole.
      await replaceFile(join(folder, "manifest.json"), (path) =>
        writeFile(path, `${JSON.stringify(manifest, null, 2)}\n`),
      );
      return folder;
    },
  };
}

/** An instant as file names can hold it: no colon. */
function fileTime(ms: number): string {
  return new Date(ms).toISOString().replaceAll(":", "-");
}

async function sinkParquet(frame: pl.DataFrame, path: string): Promise<void> {
  await lazyOf(frame).sinkParquet(path).collect();
}

async function sinkCsv(frame: pl.DataFrame, path: string): Promise<void> {
  await lazyOf(frame).sinkCSV(path).collect();
}

async function readParquet(path: string): Promise<pl.DataFrame> {
  return guard(path, () => pl.scanParquet(path).collect());
}

async function readJson<T>(path: string): Promise<T | null> {
  return guard(path, async () => {
    try {
      return JSON.parse(await readFile(path, "utf8")) as T;
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  });
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

/** Writes beside the place, syncs, renames; a failure leaves nothing. */
async function replaceFile(path: string, write: (path: string) => Promise<void>): Promise<void> {
  const draft = join(dirname(path), `.${basename(path)}.${randomUUID()}`);
  await guard(path, async () => {
    try {
      await mkdir(dirname(path), { recursive: true });
      await write(draft);
      const file = await open(draft, "r");
      await file.sync().finally(() => file.close());
      await rename(draft, path);
    } catch (error) {
      await rm(draft, { force: true });
      throw error;
    }
  });
}

async function guard<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new OnceflowError(
      "OFFLINE_UNAVAILABLE",
      `the offline store cannot use ${path}: ${messageOf(error)}. Check that the folder of ONCEFLOW_OFFLINE exists, can be written, and has space.`,
      { path },
      error,
    );
  }
}
