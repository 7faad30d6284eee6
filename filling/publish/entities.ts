/**
 * The rows that a publish writes: for a whole one all of its intervals, for an incremental one those
 * of the entities that a changed interval holds, or once held. Newest intervals come first, and of
 * two rows of an entity the store keeps the newer, so most that is older is not even sent on.
 */
import type { View } from "../../engine/catalogue.ts";
import type { Frame } from "../../engine/compile/batch.ts";
import { heightOf, toUtf8 } from "../../engine/compile/frame.ts";
import { encodeEntityKey } from "../../store/rows/entity-key.ts";
import type { OfflineStore } from "../../store/offline/offline-store.ts";
import type { Mark } from "../../store/rows/version.ts";
import type { RowBatch } from "../../store/rows/writer.ts";
import { keyColumns, keysIn, keysOfBoth, keysWithout, rowsAmong } from "../keys.ts";
import { readParts } from "../offline-parts.ts";
import { toRowBatch } from "../rows.ts";
import { rowColumns } from "../view-program.ts";
import type { CommittedPartition } from "./partitions.ts";

/** What the rows of a publish are made with. */
export interface EntitiesOptions {
  readonly offline: OfflineStore;
  readonly view: View;
  readonly mark: Mark;
  /** Called between parts; it throws once the publish is not wanted any more. */
  readonly assertWanted: () => void;
}

/** All rows of some partitions, in their order. */
export async function* allRows(
  options: EntitiesOptions,
  partitions: AsyncIterable<CommittedPartition>,
): AsyncGenerator<RowBatch> {
  const { offline, view, mark, assertWanted } = options;
  for await (const { ref, parts } of partitions)
    for await (const frame of readParts(offline, ref, parts, assertWanted, storedColumns(view)))
      yield await toRowBatch(frame, view, mark);
}

/** The keys of some partitions, each once; undefined where they have no rows. */
export async function keysOf(
  { offline, view, assertWanted }: EntitiesOptions,
  partitions: readonly CommittedPartition[],
): Promise<Frame | undefined> {
  const { key } = view.rows;
  let keys: Frame | undefined;
  for (const { ref, parts } of partitions)
    for await (const frame of readParts(offline, ref, parts, assertWanted, key))
      keys = await keysOfBoth(keys, await keysIn(frame, key));
  return keys;
}

/**
 * The rows of some entities, from the newest interval that has one of each.
 *
 * @param partitions - newest first
 * @param gone - told the keys that no interval has, encoded
 */
export async function* rowsOfKeys(
  options: EntitiesOptions,
  partitions: AsyncIterable<CommittedPartition>,
  keys: Frame,
  gone: (keys: readonly Buffer[]) => void,
): AsyncGenerator<RowBatch> {
  const { offline, view, mark, assertWanted } = options;
  const { key } = view.rows;
  let wanted = keys;
  for await (const { ref, parts } of partitions) {
    if (heightOf(wanted) === 0) break;
    let found: Frame | undefined;
    for (const part of parts) {
      const [own] = await collect(readParts(offline, ref, [part], assertWanted, key));
      if (own === undefined || heightOf(await rowsAmong(own, wanted, key)) === 0) continue;
      const columns = storedColumns(view);
      const [frame] = await collect(readParts(offline, ref, [part], assertWanted, columns));
      if (frame === undefined) continue;
      const rows = await rowsAmong(frame, wanted, key);
      found = await keysOfBoth(found, await keysIn(rows, key));
      yield await toRowBatch(rows, view, mark);
    }
    if (found !== undefined) wanted = await keysWithout(wanted, found, key);
  }
  gone(encodedKeys(wanted, keyColumns(key)));
}

/** What the online store keeps of a row, and what orders it. */
function storedColumns(view: View): string[] {
  const { eventTime, ordinal } = rowColumns;
  return [
    ...new Set([...view.rows.key, ...view.stores.map(({ name }) => name), eventTime, ordinal]),
  ];
}

function encodedKeys(keys: Frame, columns: readonly string[]): Buffer[] {
  const texts = columns.map((column) => {
    const { bytes, offsets } = toUtf8(keys, column);
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return (row: number) => text.toString("utf8", offsets[row], offsets[row + 1]);
  });
  return Array.from({ length: heightOf(keys) }, (_, row) =>
    encodeEntityKey(texts.map((textOf) => textOf(row))),
  );
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
