/** Reads all that an answer rests on: stored rows and aggregate snapshots, at one time. */
import { isFullRefresh } from "../engine/definitions.ts";
import type { OnlineStore } from "../store/online-store.ts";
import type { RowRead, StoredRow } from "../store/row-reader.ts";
import type { PartRead, Planned } from "./planned.ts";
import { lostView, type PointerSet } from "./pointers.ts";
import type { RowGroup } from "./rows.ts";
import { keyOf } from "./rows.ts";
import type { FindSnapshots, SnapshotSet } from "./snapshots.ts";

/** What to read for. */
export interface GatherRequest {
  readonly planned: Planned;
  /** Snapshot id by view. */
  readonly pins: ReadonlyMap<string, string>;
  readonly groups: readonly RowGroup[];
}

/** What an answer rests on. */
export interface Gathered {
  readonly snapshots: SnapshotSet;
  /** Bytes of the stored rows that were read. */
  readonly bytes: number;
  /**
   * The stored rows of one read, in the order of its group's rows; undefined where the view has
   * nothing stored under its fingerprint.
   */
  readonly rowsOf: (group: RowGroup, read: PartRead) => readonly (StoredRow | null)[] | undefined;
}

/**
 * Makes the function that reads; it costs one round trip, or none where no row is needed. It fails
 * with STORE_LOST where rows of a view are needed that Redis no longer has.
 */
export function createGather(store: OnlineStore, findSnapshots: FindSnapshots) {
  return async (
    { planned, pins, groups }: GatherRequest,
    current: PointerSet,
  ): Promise<Gathered> => {
    const reads: RowRead[] = [];
    // Groups may share a binding, and so its reads: rows may carry the same in another order.
    const places = new Map(groups.map((group) => [group, new Map<PartRead, number>()]));
    for (const group of groups)
      for (const { reads: partReads } of group.binding.parts)
        for (const read of partReads) {
          const { view, decode } = read;
          const { namespace = null, head = null, lost = false } = current.views.get(view) ?? {};
          if (lost) throw lostView(view);
          if (namespace === null) continue;
          places.get(group)?.set(read, reads.length);
          reads.push({
            namespace,
            keys: group.rows.map((row) => keyOf(row, view.entity.keys)),
            decode,
            // The head tells what a full refresh replaced; rows of events stay.
            head: isFullRefresh(view.source) ? head : null,
          });
        }
    const [found, snapshots] = await Promise.all([
      store.readRows(reads),
      findSnapshots(planned.aggregates, pins, current),
    ]);
    return {
      snapshots,
      bytes: found.bytes,
      rowsOf: (group, read) => {
        const place = places.get(group)?.get(read);
        return place === undefined ? undefined : found.rows[place];
      },
    };
  };
}
