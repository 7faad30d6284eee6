/** Which aggregate snapshot of each view an answer comes from: the pinned one, or the latest. */
import type { Catalogue, View } from "../engine/catalogue.ts";
import { viewNamed } from "../engine/catalogue.ts";
import { OnceflowError } from "../engine/errors.ts";
import { invocation } from "../engine/invocation.ts";
import { createLru } from "../engine/lru.ts";
import type { Snapshot } from "../engine/snapshot.ts";
import { decodeSnapshot } from "../engine/snapshot.ts";
import type { Ledger } from "../store/ledger.ts";
import type { AggregateUse } from "./planned.ts";
import type { PointerSet } from "./pointers.ts";
import { atPath, invalid, pathTo } from "./request.ts";

/** One snapshot for each view whose aggregates an answer uses. */
export type SnapshotSet = ReadonlyMap<View, Snapshot>;

/** Pinned snapshots that are kept; they are immutable, and the one unused for longest goes. */
const keptLimit = 64;

/**
 * Finds a snapshot for each view; a pinned one that is not kept costs a round trip, at the same
 * time as that of the rows.
 *
 * @throws NO_SNAPSHOT, UNKNOWN_SNAPSHOT, UNKNOWN_VIEW, REQUEST_INVALID for a pin of no use
 */
export type FindSnapshots = (
  uses: readonly AggregateUse[],
  pins: ReadonlyMap<string, string>,
  current: PointerSet,
) => SnapshotSet | Promise<SnapshotSet>;

/** Makes the function that finds the snapshots of a request. */
export function createSnapshots(catalogue: Catalogue, ledger: Ledger): FindSnapshots {
  const kept = createLru<string, Snapshot>(keptLimit);

  async function pinned(view: View, id: string): Promise<Snapshot> {
    const key = `${view.name} ${id}`;
    let snapshot = kept.get(key);
    if (snapshot === undefined) {
      const body = await ledger.readSnapshot(view.name, id);
      if (body === null) throw unknownSnapshot(view, id, "does not exist");
      snapshot = decodeSnapshot(view.aggregates, id, body);
      kept.set(key, snapshot);
    }
    return snapshot;
  }

  const lacks = ({ fingerprints }: AggregateUse, { values }: Snapshot) =>
    fingerprints.some((each) => !values.has(each));

  async function find(
    use: AggregateUse,
    pin: string | undefined,
    current: PointerSet,
  ): Promise<Snapshot> {
    if (pin === undefined) return latestOf(use, current);
    const snapshot = await pinned(use.view, pin);
    if (lacks(use, snapshot))
      throw unknownSnapshot(use.view, pin, `lacks an aggregate of ${use.features.join(", ")}`);
    return snapshot;
  }

  function latestOf(use: AggregateUse, current: PointerSet): Snapshot {
    const { view, features } = use;
    const latest = current.views.get(view)?.latest ?? null;
    if (latest === null || lacks(use, latest))
      throw new OnceflowError(
        "NO_SNAPSHOT",
        `view "${view.name}" has no aggregate snapshot for this build, so ${features.join(", ")} ${features.length === 1 ? "has" : "have"} no value. What fills it says: ${invocation} status ${view.name}`,
        { view: view.name, features },
      );
    return latest;
  }

  /** The latest snapshots of a plan, as long as the pointers are the same. */
  const newest = new WeakMap<readonly AggregateUse[], readonly [PointerSet, SnapshotSet]>();

  async function findPinned(
    uses: readonly AggregateUse[],
    pins: ReadonlyMap<string, string>,
    current: PointerSet,
  ): Promise<SnapshotSet> {
    for (const name of pins.keys()) requireUse(catalogue, name, uses);
    const found = uses.map((use) => find(use, pins.get(use.view.name), current));
    return setOf(uses, await Promise.all(found));
  }

  return (uses, pins, current) => {
    if (pins.size > 0) return findPinned(uses, pins, current);
    const [of, known] = newest.get(uses) ?? [];
    if (of === current && known !== undefined) return known;
    const found = setOf(
      uses,
      uses.map((use) => latestOf(use, current)),
    );
    newest.set(uses, [current, found]);
    return found;
  };
}

function setOf(uses: readonly AggregateUse[], found: readonly Snapshot[]): SnapshotSet {
  return new Map(uses.map(({ view }, i) => [view, found[i] as Snapshot]));
}

function unknownSnapshot(view: View, id: string, problem: string): OnceflowError {
  const path = pathTo("snapshots", view.name);
  return new OnceflowError(
    "UNKNOWN_SNAPSHOT",
    `${path}: snapshot "${id}" of view "${view.name}" ${problem}. Leave the pin out to get the latest.`,
    { path, view: view.name, snapshot: id },
  );
}

function requireUse(catalogue: Catalogue, name: string, uses: readonly AggregateUse[]): void {
  if (uses.some(({ view }) => view.name === name)) return;
  const path = pathTo("snapshots", name);
  try {
    viewNamed(catalogue, name);
  } catch (error) {
    throw atPath(path, error);
  }
  throw invalid(
    path,
    `${path} pins a snapshot, but nothing asked for rests on an aggregate of view "${name}". Leave it out.`,
  );
}
