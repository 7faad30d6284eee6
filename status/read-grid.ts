/** What became of the intervals of a view, and of those upstream, read from the ledger. */
import type { Catalogue, View } from "../engine/catalogue.ts";
import { type Cell, gridOf, type Outcome } from "../engine/calendar/grid.ts";
import { endsOf, formatInterval, type Interval, type Span } from "../engine/calendar/interval.ts";
import type { Schedule } from "../engine/calendar/schedule.ts";
import { upstreamIntervals } from "../engine/calendar/slots.ts";
import { ledgerInterval } from "../filling/run-facts.ts";
import { aggregateFingerprints } from "../filling/view-states.ts";
import type { Coverage } from "../store/commits.ts";
import type { Ledger } from "../store/ledger.ts";

/**
 * The cells of some intervals, in the order given. An interval counts as committed when its rows
 * and the state of every aggregate are; as stale when the intervals upstream of it are committed
 * under other generations than those it was made on. Cost: O(intervals of the view and of those
 * upstream).
 */
export async function readGrid(
  ledger: Ledger,
  catalogue: Catalogue,
  view: View,
  intervals: readonly Interval[],
): Promise<Cell[]> {
  const aggregates = aggregateFingerprints(view);
  const [{ coverage }, { states }, outcomes, upstream] = await Promise.all([
    ledger.readLedger(view.name, view.fingerprint),
    ledger.readStates(view.name, aggregates),
    ledger.readOutcomes(view.name, view.fingerprint),
    readUpstream(ledger, catalogue, view.schedule),
  ]);
  const committedRows = new Map(
    [...coverage]
      .filter(([interval]) => aggregates.every((each) => states.get(each)?.has(interval)))
      .map(([interval, { rows }]) => [interval, rows]),
  );
  return intervals.map((interval) => {
    const [cell] = gridOf([ledgerInterval(view, interval)], {
      committedRows,
      outcomes,
      isStale: (key) =>
        isStale(coverage.get(formatInterval(key)), upstreamKeys(upstream, interval)),
    });
    if (cell === undefined) throw new Error("an interval came without a cell");
    return { ...cell, interval };
  });
}

/** An upstream view, as the ledger has it. */
export interface Upstream {
  readonly view: View;
  /** Its intervals upstream of one of the dependent view that are not committed. */
  readonly missing: (own: Interval) => readonly (Span & { readonly key: string })[];
  /** Names what is committed of them, or null where something is missing. */
  readonly key: (own: Interval) => string | null;
  /** How the last run of each interval ended, by `formatInterval`. */
  readonly outcomes: () => Promise<ReadonlyMap<string, Outcome>>;
}

/** What is committed of the views upstream of a schedule. */
export function readUpstream(
  ledger: Ledger,
  catalogue: Catalogue,
  schedule: Schedule | undefined,
): Promise<Upstream[]> {
  return Promise.all(
    (schedule?.dependsOn ?? []).map(async ({ view: name, earlier }): Promise<Upstream> => {
      const view = catalogue.views.get(name);
      const own = view?.schedule;
      // Checked when the catalogue was built.
      if (view === undefined || own === undefined) throw new Error(`no schedule of ${name}`);
      const { coverage } = await ledger.readLedger(name, view.fingerprint);
      const intervalsOf = (dependent: Interval) =>
        upstreamIntervals(own, dependent, earlier).map((interval) => ({
          ...endsOf(interval),
          key: formatInterval(ledgerInterval(view, interval)),
        }));
      return {
        view,
        missing: (dependent) => intervalsOf(dependent).filter(({ key }) => !coverage.has(key)),
        key(dependent) {
          let generations = 0;
          for (const { key } of intervalsOf(dependent)) {
            const generation = coverage.get(key)?.generation;
            if (generation === undefined) return null;
            // Each only ever grows, so an equal sum means that all are equal.
            generations += generation;
          }
          return `${view.fingerprint.slice(0, 12)}:${generations}`;
        },
        outcomes: () => ledger.readOutcomes(name, view.fingerprint),
      };
    }),
  );
}

/** The keys of what is upstream of an interval, by view; without those that miss something. */
export function upstreamKeys(
  upstream: readonly Upstream[],
  own: Interval,
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    upstream.flatMap(({ view, key }) => {
      const found = key(own);
      return found === null ? [] : [[view.name, found]];
    }),
  );
}

/** Whether a commit rests on other generations; where one of them is missing now, nobody can say. */
function isStale(coverage: Coverage | undefined, now: Readonly<Record<string, string>>): boolean {
  const then = coverage?.["upstream"] as Readonly<Record<string, string>> | undefined;
  return Object.entries(then ?? {}).some(
    ([view, key]) => now[view] !== undefined && now[view] !== key,
  );
}
