/**
 * The offline store: parquet in a local folder (objects.ts says what else could keep it),
 * partitioned as Hive does.
 *
 *     <root>/views/<view>/fingerprint=<fp>/interval=<start>_<end>/generation=<g>/part-00000-000.parquet
 *     <root>/views/<view>/fingerprint=<fp>/interval=<start>_<end>/generation=<g>/<name>.json
 *     <root>/views/<view>/fingerprint=<fp>/publishes/<generation>.json
 *     <root>/views/<view>/fingerprint=<fp>/resets/<number>.json
 *     <root>/views/<view>/snapshots/<id>.json
 *     <root>/views/<view>/revisions/<revision>
 *     <root>/training_sets/<service>/<id>/{data.parquet,data.csv,manifest.json}
 *
 * Each file is put whole, so that a reader sees all of it or nothing, and a repeated attempt replaces
 * it. A manifest is written last: a folder without one is no result.
 */
import pl from "nodejs-polars";
import { columnNamesOf, lazyOf } from "../../engine/compile/frame.ts";
import { countFrame } from "../../engine/compile/frame-memory.ts";
import { toCsv } from "./csv-export.ts";
import { localObjects } from "./local-objects.ts";
import { type Content, decode, isUnfinished, type ObjectStore } from "./objects.ts";
import {
  jsonKey,
  partKey,
  type PartRef,
  partitionKey,
  type PartitionRef,
  snapshotKey,
  trainingSetKey,
} from "./keys.ts";
import { type OfflineFolders, offlineFoldersOf } from "./offline-folders.ts";

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
  /** The names of a part's columns. */
  columnsOf: (ref: PartitionRef, part: PartRef) => Promise<string[]>;
  /** Writes JSON beside the parts, such as a manifest once all parts are there. */
  writeJson: (ref: PartitionRef, name: string, value: unknown) => Promise<void>;
  /**
   * Removes temporary files of attempts that crashed, up to this generation. Call it when a run
   * starts; an attempt of an older run that still writes then fails.
   */
  cleanPartition: (ref: PartitionRef) => Promise<void>;
  /** Removes what a run wrote. */
  removePartition: (ref: PartitionRef) => Promise<void>;
  /** Writes the encoded values of an aggregate snapshot. */
  writeSnapshot: (view: string, id: string, encoded: string) => Promise<void>;
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
  return offlineStoreOf(localObjects(options.root));
}

/** The offline store in any place for files. */
export function offlineStoreOf(objects: ObjectStore): OfflineStore {
  const folders = offlineFoldersOf(objects);
  const { listGenerations } = folders;
  return {
    ...folders,
    writePart: (ref, part, frame) => objects.put(partKey(ref, part), parquetOf(frame)),
    async readPart(ref, part, columns) {
      const key = partKey(ref, part);
      const bytes = await objects.read(key);
      const options = columns === undefined ? {} : { columns: [...columns] };
      const frame = decode(objects, key, () => pl.readParquet(bytes, options));
      countFrame(frame);
      return frame;
    },
    async columnsOf(ref, part) {
      const key = partKey(ref, part);
      const bytes = await objects.read(key);
      return decode(objects, key, () => columnNamesOf(pl.readParquet(bytes, { numRows: 0 })));
    },
    writeJson: (ref, name, value) => objects.put(jsonKey(ref, name), encodeJson(value)),
    async cleanPartition(ref) {
      for (const generation of await listGenerations(ref)) {
        if (generation > ref.generation) continue;
        const key = partitionKey({ ...ref, generation });
        for (const name of await objects.list(key))
          if (isUnfinished(name)) await objects.remove(`${key}/${name}`);
      }
    },
    removePartition: (ref) => objects.remove(partitionKey(ref)),
    writeSnapshot: (view, id, encoded) => objects.put(snapshotKey(view, id), Buffer.from(encoded)),
    async writeTrainingSet(service, id, frame, manifest) {
      const key = trainingSetKey(service, id);
      await objects.put(`${key}/data.parquet`, parquetOf(frame));
      await objects.put(`${key}/data.csv`, toCsv(frame));
      await objects.put(`${key}/manifest.json`, encodeJson(manifest));
      return objects.locate(key);
    },
  };
}

/** Written by polars' own threads, straight into the file. */
function parquetOf(frame: pl.DataFrame): Content {
  return (file) => lazyOf(frame).sinkParquet(file, { compression: "zstd" }).collect();
}

function encodeJson(value: unknown): Buffer {
  return Buffer.from(`${JSON.stringify(value, null, 2)}\n`);
}
