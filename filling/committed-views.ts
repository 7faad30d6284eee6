/**
 * What is committed of each view, as this process last read it. The ledger is asked each time, but
 * sends what it has only where another process has changed it, so that an interval of a long
 * backfill does not cost as much as all intervals before it.
 */
import type { View } from "../engine/catalogue.ts";
import { OnceflowError } from "../engine/errors.ts";
import { invocation } from "../engine/invocation.ts";
import { formatInterval, type Interval, parseInterval } from "../engine/calendar/interval.ts";
import {
  createSnapshotMerge,
  type IntervalStates,
  type SnapshotMerge,
} from "../engine/snapshot.ts";
import type { Coverage } from "../store/commits.ts";
import type { Ledger, StoredState } from "../store/ledger.ts";
import { isBehind, type Revision } from "../store/revision.ts";
import type { OfflineFolders } from "../store/offline/offline-folders.ts";
import { aggregateFingerprints } from "./view-states.ts";

/** What is committed of a view at one revision. */
export interface CommittedView {
  readonly revision: Revision;
  /** Intervals with rows, by `formatInterval`. */
  readonly coverage: ReadonlyMap<string, Coverage>;
  /** Partial states by `formatInterval`. */
  readonly states: ReadonlyMap<string, IntervalStates>;
  /** Every interval that has rows or states. */
  readonly intervals: ReadonlyMap<string, Interval>;
  readonly merge: Pick<SnapshotMerge, "snapshot" | "snapshotWith">;
  /** Follows a commit of this process; `coverage` is absent where it wrote no rows. */
  readonly follow: (revision: Revision, interval: Interval, commit: CommittedFacts) => void;
}

interface CommittedFacts {
  readonly coverage: Coverage | undefined;
  readonly states: IntervalStates;
}

/** The process's memory of a ledger. */
export type CommittedViews = ReturnType<typeof createCommittedViews>;

/** Makes it. */
export function createCommittedViews(
  ledger: Pick<Ledger, "readCommitted">,
  { journal }: Pick<OfflineFolders, "journal">,
) {
  const known = new Map<string, CommittedView>();
  const turns = new Map<string, Promise<unknown>>();
  return {
    /**
     * What is committed of a view now. Cost: O(1), or O(intervals) after another's commit.
     *
     * @throws STORE_LOST where the ledger is behind what was committed
     */
    async read(view: View): Promise<CommittedView> {
      const before = known.get(view.name);
      // First: what is noted was in the ledger before.
      const noted = await journal.readRevision(view.name);
      const entry = await ledger.readCommitted({
        view: view.name,
        fingerprint: view.fingerprint,
        aggregates: aggregateFingerprints(view),
        known: before?.revision,
      });
      const revision = entry?.revision ?? before?.revision ?? "0";
      if (noted !== undefined && isBehind(revision, noted)) throw wentBack(view, revision, noted);
      // Not `before`: a commit of this process may have moved on from it meanwhile.
      const unchanged = entry === null ? known.get(view.name) : undefined;
      if (unchanged !== undefined) return unchanged;
      if (entry === null) throw new Error("the ledger left out what nobody knows");
      const statesOf = new Map<string, Map<string, StoredState>>();
      for (const [aggregate, states] of entry.states)
        for (const [text, state] of states) {
          const own = statesOf.get(text) ?? new Map<string, StoredState>();
          statesOf.set(text, own.set(aggregate, state));
        }
      const committed = committedView(view, entry.revision);
      for (const text of new Set([...entry.coverage.keys(), ...statesOf.keys()]))
        committed.follow(entry.revision, parseInterval(text), {
          coverage: entry.coverage.get(text),
          states: statesOf.get(text) ?? new Map(),
        });
      known.set(view.name, committed);
      return committed;
    },

    /** Forgets what is known of a view, so that all of it is read again. */
    forget(view: View): void {
      known.delete(view.name);
    },

    /** Does the work once all that was given before it for the view has ended. */
    inTurn<T>(view: View, work: () => Promise<T>): Promise<T> {
      const turn = (turns.get(view.name) ?? Promise.resolve()).then(work, work);
      turns.set(view.name, turn);
      return turn;
    },
  };
}

function wentBack({ name }: View, revision: Revision, noted: Revision): OnceflowError {
  return new OnceflowError(
    "STORE_LOST",
    `view "${name}": Redis is at revision ${revision}, and ${noted} was committed, so it was emptied, restored from an older copy, or has lost what it had acknowledged. A worker puts it back from the offline store by itself; at once: ${invocation} publish ${name}`,
    { view: name, revision, noted },
  );
}

function committedView(view: View, read: Revision): CommittedView {
  let revision = read;
  const coverage = new Map<string, Coverage>();
  const states = new Map<string, IntervalStates>();
  const intervals = new Map<string, Interval>();
  const merge = createSnapshotMerge(view.aggregates, view.rows.isFullRefresh);
  return {
    get revision() {
      return revision;
    },
    coverage,
    states,
    intervals,
    merge,
    follow(next, interval, commit) {
      const text = formatInterval(interval);
      revision = next;
      intervals.set(text, interval);
      if (commit.coverage !== undefined) coverage.set(text, commit.coverage);
      states.set(text, commit.states);
      // Rows without states count: no snapshot may leave them out.
      merge.put(interval, commit.states);
    },
  };
}
