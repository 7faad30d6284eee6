/** Reads all that an answer rests on: stored rows and aggregate snapshots, at one time. */
import { isFullRefresh } from "../engine/definitions.ts";
import { OnceflowError } from "../engine/errors.ts";
import type { OnlineStore } from "../store/online-store.ts";
import type { ReadResult, RowRead } from "../store/row-reader.ts";
import type { LastRows } from "./last-rows.ts";
import type { PartRead, Planned } from "./planned.ts";
import { lostView, type PointerCache, type PointerSet } from "./pointers.ts";
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

/** The stored rows of one view for the rows of a group. */
export interface GatheredRows {
  /** Version and encoded row in the order of the group's rows, null where there is none. */
  readonly rows: readonly (Buffer | null)[];
  /** Whether they are from before the store went down, so that more may be missing. */
  readonly isOld: boolean;
}

/** What an answer rests on. */
export interface Gathered {
  readonly snapshots: SnapshotSet;
  /** Bytes of the stored rows that were read. */
  readonly bytes: number;
  /** Undefined where the view has nothing stored under its fingerprint. */
  readonly rowsOf: (group: RowGroup, read: PartRead) => GatheredRows | undefined;
}

/** What the reads of a request are made with. */
export interface GatherOptions {
  readonly store: OnlineStore;
  readonly findSnapshots: FindSnapshots;
  readonly pointers: Pick<PointerCache, "current" | "refresh" | "newest">;
  readonly lastRows: LastRows;
  /** Told when a request is tried again with new pointers. */
  readonly retried: () => void;
}

/** The rows that a request needs, by where they go. */
interface Reads {
  readonly reads: readonly (RowRead & { readonly part: PartRead })[];
  readonly places: ReadonlyMap<RowGroup, ReadonlyMap<PartRead, number>>;
}

/** Makes the function that reads; it costs one round trip, or none where no row is needed. */
export function createGather({
  store,
  findSnapshots,
  pointers,
  lastRows,
  retried,
}: GatherOptions): (request: GatherRequest) => Promise<Gathered> {
  async function gather(
    { planned, pins, groups }: GatherRequest,
    current: PointerSet,
  ): Promise<Gathered> {
    const needed = readsOf(groups, current);
    const { reads } = needed;
    const lost = reads.find(({ part }) => current.views.get(part.view)?.lost);
    if (lost !== undefined) throw lostView(lost.part.view);
    const rows = reads.length === 0 ? noRows : store.readRows(reads);
    const [found, snapshots] =
      planned.aggregates.length === 0 && pins.size === 0
        ? [await rows, noSnapshots]
        : await Promise.all([rows, findSnapshots(planned.aggregates, pins, current)]);
    reads.forEach(({ namespace, keys, part }, i) => {
      if (part.view.onStoreDown === "last") lastRows.keep(namespace, keys, found.rows[i] ?? []);
    });
    return gathered(needed, found, snapshots, false);
  }

  /** What is known without the store, where all views that are read say how to go on. */
  async function gatherWithoutStore(
    { planned, pins, groups }: GatherRequest,
    error: OnceflowError,
  ): Promise<Gathered> {
    const current = pointers.newest() ?? { views: new Map() };
    const needed = readsOf(groups, current);
    const fails = groups.some(({ binding }) =>
      binding.parts.some(({ read }) => read?.view.onStoreDown === "error"),
    );
    if (fails || (pointers.newest() === undefined && planned.aggregates.length > 0)) throw error;
    const rows = needed.reads.map(({ namespace, keys, part }) =>
      part.view.onStoreDown === "last" ? lastRows.find(namespace, keys) : keys.map(() => null),
    );
    const snapshots = await findSnapshots(planned.aggregates, pins, current);
    return gathered(needed, { rows, bytes: 0 }, snapshots, true);
  }

  return async (request) => {
    try {
      try {
        return await gather(request, await pointers.current());
      } catch (error) {
        const code = codeOf(error);
        // Since the pointers were read, the namespace may have begun anew, or the first snapshot
        // have been committed.
        if (code !== "STORE_LOST" && code !== "NO_SNAPSHOT") throw error;
        retried();
        return await gather(request, await pointers.refresh());
      }
    } catch (error) {
      const code = codeOf(error);
      if (code !== "STORE_UNAVAILABLE" && code !== "STORE_LOST") throw error;
      return gatherWithoutStore(request, error as OnceflowError);
    }
  };
}

const noRows: ReadResult = { rows: [], bytes: 0 };
const noSnapshots: SnapshotSet = new Map();

function codeOf(error: unknown): string | undefined {
  return error instanceof OnceflowError ? error.code : undefined;
}

function readsOf(groups: readonly RowGroup[], current: PointerSet): Reads {
  const reads: Reads["reads"][number][] = [];
  // Groups may share a binding, and so its reads: rows may carry the same in another order.
  const places = new Map(groups.map((group) => [group, new Map<PartRead, number>()]));
  for (const group of groups)
    for (const { read: part } of group.binding.parts) {
      if (part === undefined) continue;
      const { view } = part;
      const { namespace = null, head = null } = current.views.get(view) ?? {};
      if (namespace === null) continue;
      places.get(group)?.set(part, reads.length);
      reads.push({
        part,
        namespace,
        keys: group.rows.map((row) => keyOf(row, view.entity.keys)),
        // The head tells what a full refresh replaced; rows of events stay.
        head: isFullRefresh(view.source) ? head : null,
      });
    }
  return { reads, places };
}

function gathered(
  { places }: Reads,
  { rows, bytes }: ReadResult,
  snapshots: SnapshotSet,
  isOld: boolean,
): Gathered {
  return {
    snapshots,
    bytes,
    rowsOf: (group, read) => {
      const place = places.get(group)?.get(read);
      if (place === undefined) return isOld ? { rows: [], isOld } : undefined;
      return { rows: rows[place] ?? [], isOld };
    },
  };
}
