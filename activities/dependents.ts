/** Who is told when an interval has ended: the runs of the views that rest on it. */
import type { View } from "../engine/catalogue.ts";
import { type Cell } from "../engine/calendar/grid.ts";
import { endsOf, interval as intervalOf, type Span } from "../engine/calendar/interval.ts";
import type { Schedule } from "../engine/calendar/schedule.ts";
import { dependentIntervals } from "../engine/calendar/slots.ts";
import { readGrid } from "../status/read-grid.ts";
import type { OfflineDependencies } from "./dependencies.ts";
import { inputOf, startOrTell, tellRun } from "./interval-runs.ts";

/**
 * Tells the runs that wait for an interval of a view that it has ended, and starts those that it
 * had blocked.
 *
 * @returns what rests on older rows now, in words
 */
export async function tellDependents(
  dependencies: Pick<OfflineDependencies, "catalogue" | "ledger" | "build">,
  view: View,
  ends: Span,
  isCommitted: boolean,
): Promise<string[]> {
  const { catalogue, ledger, build } = dependencies;
  const { schedule } = view;
  if (schedule === undefined) return [];
  const interval = intervalOf(ends.start, ends.end);
  const stale: string[] = [];
  for (const { dependent, after, earlier } of dependentsOf(dependencies, view)) {
    const first = { schedule, interval, earlier };
    const intervals = dependentIntervals(after, first, Date.now());
    if (intervals.length === 0) continue;
    const cells = await readGrid(ledger, catalogue, dependent, intervals);
    for (const { interval: own, state, rows } of cells) {
      const input = { ...inputOf(dependent, endsOf(own)), reprocess: rows !== null };
      if (state === "blocked" && isCommitted) await startOrTell(after, input, build);
      else if (state !== "done" && state !== "stale") await tellRun(input);
    }
    stale.push(...staleWords(dependent, cells));
  }
  return stale;
}

/** The views that another is upstream of, with how many of its earlier intervals do. */
function dependentsOf({ catalogue }: Pick<OfflineDependencies, "catalogue">, { name }: View) {
  return [...catalogue.views.values()].flatMap((dependent) =>
    (dependent.schedule?.dependsOn ?? [])
      .filter((each) => each.view === name)
      .map(({ earlier }) => ({ dependent, after: dependent.schedule as Schedule, earlier })),
  );
}

/** What rests on the rows before, and how it is computed again; nothing where nothing does. */
function staleWords(view: View, cells: readonly Cell[]): string[] {
  const old = cells.filter(({ state }) => state === "stale");
  const [first, last] = [old[0], old.at(-1)];
  if (first === undefined || last === undefined) return [];
  return [
    `${old.length} of view ${view.name} rest on the rows before: \`backfill ${view.name} --from ${endsOf(first.interval).start} --to ${endsOf(last.interval).end} --reprocess stale\``,
  ];
}
