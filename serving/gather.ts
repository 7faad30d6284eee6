/** Reads all that an answer rests on: stored rows and aggregate snapshots, at one time. */
import { type ErrorCode, OnceflowError } from "../engine/errors.ts";
import type { OnlineStore } from "../store/online-store.ts";
import type { ReadResult, RowRead } from "../store/rows/reader.ts";
import type { LastRows } from "./last-rows.ts";
import type { PartRead } from "./ready-parts.ts";
import type { Planned } from "./planned.ts";
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
  /** What was current when they were read. */
  readonly current: PointerSet;
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
  /** Told once of a request whose read failed, however often it was tried. */
  readonly failed: (error: unknown) => void;
}

/** The stored rows of one view that the rows of a group need. */
interface NeededRows extends RowRead {
  readonly group: RowGroup;
  readonly part: PartRead;
}

/**
 * Makes the function that reads; it costs one round trip, or none where no row is needed, and then
 * gives what it has at once.
 */
export function createGather({
  store,
  findSnapshots,
  pointers,
  lastRows,
  retried,
  failed,
}: GatherOptions): (request: GatherRequest) => Gathered | Promise<Gathered> {
  /** Errors of reads, and no others. */
  const ofReads = new WeakSet<object>();
  const readRows: OnlineStore["readRows"] = (reads) =>
    store.readRows(reads).catch((error: unknown) => {
      if (typeof error === "object" && error !== null) ofReads.add(error);
      throw error;
    });

  function gather(
    { planned, pins, groups }: GatherRequest,
    current: PointerSet,
  ): Gathered | Promise<Gathered> {
    const needed = neededRows(groups, current);
    const lost = needed.find(({ part }) => current.views.get(part.view)?.lost);
    if (lost !== undefined) throw lostView(lost.part.view);
    const snapshots = findSnapshots(planned.aggregates, pins, current);
    if (needed.length === 0 && !(snapshots instanceof Promise))
      return gathered(needed, noRows, snapshots, current, false);
    return gatherRows(needed, snapshots, current);
  }

  async function gatherRows(
    needed: readonly NeededRows[],
    snapshots: SnapshotSet | Promise<SnapshotSet>,
    current: PointerSet,
  ): Promise<Gathered> {
    const [found, known] =
      snapshots instanceof Promise
        ? await Promise.all([readRows(needed), snapshots])
        : [await readRows(needed), snapshots];
    needed.forEach(({ namespace, keys, part }, i) => {
      if (part.view.onStoreDown === "last") lastRows.keep(namespace, keys, found.rows[i] ?? []);
    });
    return gathered(needed, found, known, current, false);
  }

  /** What is known without the store, where all views that are read say how to go on. */
  async function gatherWithoutStore(
    { planned, pins, groups }: GatherRequest,
    error: OnceflowError,
  ): Promise<Gathered> {
    const newest = pointers.newest();
    const fails = groups.some(({ shape }) =>
      shape.parts.some(({ read }) => read?.view.onStoreDown === "error"),
    );
    if (fails || (newest === undefined && planned.aggregates.length > 0)) throw error;
    const current = newest ?? nothingRead;
    const needed = neededRows(groups, current);
    const rows = needed.map(({ namespace, keys, part }) =>
      part.view.onStoreDown === "last" ? lastRows.find(namespace, keys) : keys.map(() => null),
    );
    const snapshots = await findSnapshots(planned.aggregates, pins, current);
    return gathered(needed, { rows, bytes: 0 }, snapshots, current, true);
  }

  async function recover(request: GatherRequest, first: unknown): Promise<Gathered> {
    let error = first;
    // Since the pointers were read, the table may have begun anew, or the first snapshot have been
    // published.
    if (hasCode(error, "STORE_LOST") || hasCode(error, "NO_SNAPSHOT"))
      try {
        retried();
        return await gather(request, await pointers.refresh());
      } catch (again) {
        error = again;
      }
    const ofRead = [error, first].find((each) => ofReads.has(each as object));
    if (ofRead !== undefined) failed(ofRead);
    if (!hasCode(error, "STORE_LOST") && !hasCode(error, "STORE_UNAVAILABLE")) throw error;
    return gatherWithoutStore(request, error);
  }

  return (request) => {
    try {
      const newest = pointers.newest() ?? (restsOnStore(request) ? undefined : nothingRead);
      const found =
        newest === undefined
          ? pointers.current().then((current) => gather(request, current))
          : gather(request, newest);
      return found instanceof Promise
        ? found.catch((error: unknown) => recover(request, error))
        : found;
    } catch (error) {
      return recover(request, error);
    }
  };
}

const noRows: ReadResult = { rows: [], bytes: 0 };
const nothingRead: PointerSet = { views: new Map() };

function restsOnStore({ planned, groups }: GatherRequest): boolean {
  return (
    planned.aggregates.length > 0 ||
    groups.some(({ shape }) => shape.parts.some(({ read }) => read !== undefined))
  );
}

function hasCode(error: unknown, code: ErrorCode): error is OnceflowError {
  return error instanceof OnceflowError && error.code === code;
}

function neededRows(groups: readonly RowGroup[], current: PointerSet): NeededRows[] {
  const needed: NeededRows[] = [];
  for (const group of groups)
    for (const { read: part } of group.shape.parts) {
      if (part === undefined) continue;
      const { view } = part;
      const { namespace = null, published = null } = current.views.get(view) ?? {};
      // Entities may be there before: those of the first publish, which is under way.
      if (namespace === null || published === null) continue;
      needed.push({
        group,
        part,
        namespace,
        keys: group.rows.map((row) => keyOf(row, view.rows.key)),
        // What the last whole publish did not write has gone.
        least: published.whole,
      });
    }
  return needed;
}

function gathered(
  needed: readonly NeededRows[],
  { rows, bytes }: ReadResult,
  snapshots: SnapshotSet,
  current: PointerSet,
  isOld: boolean,
): Gathered {
  return {
    snapshots,
    current,
    bytes,
    rowsOf: (group, read) => {
      const place = needed.findIndex((each) => each.group === group && each.part === read);
      if (place < 0) return isOld ? { rows: [], isOld } : undefined;
      return { rows: rows[place] ?? [], isOld };
    },
  };
}
