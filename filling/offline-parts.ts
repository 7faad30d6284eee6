/** The offline rows of a run, in parts: how pass 1 writes them, and how they are read back. */
import type { Frame } from "../engine/compile/batch.ts";
import { heightOf } from "../engine/compile/frame.ts";
import { OnceflowError } from "../engine/errors.ts";
import { assertUnchanged, type SourceFile } from "../sources/files.ts";
import type { PartitionRef, PartRef } from "../store/offline/keys.ts";
import { lostFiles } from "../store/offline/objects.ts";
import type { OfflineStore } from "../store/offline/offline-store.ts";
import type { SliceFacts } from "./run-facts.ts";

/** A part, and how many rows pass 1 has counted in it. */
export type CountedPart = PartRef & { readonly rows: number };

/** The parts that hold the rows of files, by the counts of each file, from a first file on. */
export function* partsOf(rows: SliceFacts["rows"], firstFile = 0): Generator<CountedPart> {
  for (const [i, parts] of rows.entries())
    for (const [chunk, count] of parts.entries()) yield { file: firstFile + i, chunk, rows: count };
}

/** How many rows files have, by the counts of each. */
export function sumRows(rows: SliceFacts["rows"]): number {
  return rows.flat().reduce((sum, count) => sum + count, 0);
}

/**
 * Writes the parts of a source file, each while the next chunks are read and computed.
 *
 * @param place - of the file in the list of the run
 */
export function openParts(
  offline: OfflineStore,
  partition: PartitionRef,
  file: SourceFile,
  place: number,
) {
  const counts: number[] = [];
  let writing = Promise.resolve();
  return {
    /** Begins to write the next part; one at a time. @throws SOURCE_CHANGED */
    async write(rows: Frame): Promise<void> {
      await writing;
      // Else a zombie could put rows of a newer file in the place of those that were validated.
      await assertUnchanged([file]);
      writing = offline.writePart(partition, { file: place, chunk: counts.length }, rows);
      // Whoever awaits it gets its error, unless another comes first.
      writing.catch(() => undefined);
      counts.push(heightOf(rows));
    },
    /** The rows of each part, once all are written. @throws SOURCE_CHANGED */
    async end(): Promise<number[]> {
      await writing;
      await assertUnchanged([file]);
      return counts;
    },
  };
}

/**
 * Parts as pass 1 counted them.
 *
 * @param assertWanted - called between parts; it throws once the run is cancelled
 * @throws OFFLINE_UNAVAILABLE where another took their place
 */
export async function* readParts(
  offline: OfflineStore,
  partition: PartitionRef,
  parts: Iterable<CountedPart>,
  assertWanted: () => void,
  columns?: readonly string[],
): AsyncGenerator<Frame> {
  for (const part of parts) {
    const frame = await offline.readPart(partition, part, columns);
    assertWanted();
    if (heightOf(frame) !== part.rows)
      throw new OnceflowError(
        "OFFLINE_UNAVAILABLE",
        `view "${partition.view}": part ${part.chunk} of file ${part.file} has ${heightOf(frame)} rows, and ${part.rows} were validated: another process has written it. Materialize its interval again.`,
        { view: partition.view, ...lostFiles },
      );
    yield frame;
  }
}
