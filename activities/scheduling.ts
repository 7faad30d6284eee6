/**
 * The activities that decide which intervals are run: what a firing of a schedule has to do, and
 * what a backfill takes. They ask the schedule in the catalogue and the ledger; workflows know no
 * calendar.
 */
import { type Catalogue, viewNamed } from "../engine/catalogue.ts";
import { type Cell, isDue } from "../engine/calendar/grid.ts";
import { endsOf, type Interval, parseInstant } from "../engine/calendar/interval.ts";
import type { Schedule } from "../engine/calendar/schedule.ts";
import { isSlot, lateIntervals, newestInterval } from "../engine/calendar/slots.ts";
import { readGrid } from "../status/read-grid.ts";
import type {
  BackfillInput,
  BackfillPage,
  ScheduledInput,
  SlotPlan,
  PlannedRun,
} from "../workflows/contract.ts";
import { checkBackfill } from "../filling/backfill-input.ts";
import { backfillIntervals, scheduleOf } from "../filling/backfill-range.ts";
import type { OfflineDependencies } from "./dependencies.ts";
import { joinPublish, joinRun } from "./interval-runs.ts";
import { viewOfRun } from "../filling/run-facts.ts";
import { termsOf } from "../filling/run-terms.ts";

/** Intervals of a page, so that its payload stays small. */
const pageSize = 200;

type SchedulingDependencies = Pick<OfflineDependencies, "catalogue" | "ledger" | "redis">;

/** Makes the activities of `scheduled` and `backfill`. */
export function createScheduling(dependencies: SchedulingDependencies) {
  return {
    planSlot: (input: ScheduledInput, at: string, now: string) =>
      planSlot(dependencies, input, at, now),
    planBackfill: (input: BackfillInput, cursor: string | null) =>
      planBackfill(dependencies, input, cursor),
    joinRun,
    joinPublish,
  };
}

/**
 * What a firing has to run: the newest interval that was complete at its nominal time, where
 * it is due; and on a slot that is the newest now, the late intervals before it.
 *
 * @param at - the nominal time, on the grid or, for a trigger by hand, off it
 */
async function planSlot(
  { catalogue, ledger }: SchedulingDependencies,
  input: ScheduledInput,
  at: string,
  now: string,
): Promise<SlotPlan> {
  const view = viewOfRun(catalogue, input);
  const schedule = scheduleOf(view);
  const terms = termsOf(schedule);
  const atMs = parseInstant(at);
  const interval = newestInterval(schedule, atMs);
  if (interval === null) {
    const reason = `No interval was complete at ${at}; the schedule starts later.`;
    return { runs: [], terms, reason };
  }
  const isNewest = newestInterval(schedule, parseInstant(now))?.endMs === interval.endMs;
  const late =
    isNewest && isSlot(schedule, atMs)
      ? lateIntervals(schedule, interval, view.rows.reach.lateMs)
      : [];
  const cells = await readGrid(ledger, catalogue, view, [...late, interval]);
  const own = cells.at(-1);
  const runs = cells
    .filter((cell) => cell !== own || isDue(cell, "failed"))
    .map((cell) =>
      cell === own && isNewest ? { ...toRun(cell), ...lateOf(schedule, interval) } : toRun(cell),
    );
  const { start, end } = endsOf(interval);
  const isCommitted = own !== undefined && !isDue(own, "failed");
  return {
    runs,
    terms,
    reason:
      `The newest complete interval at ${at} is [${start}, ${end})` +
      `${isCommitted ? ", which is committed" : ""}${late.length > 0 ? `; ${late.length} before it may have late rows` : ""}.`,
  };
}

/**
 * The next intervals that a backfill has to run, at most 200.
 *
 * @throws REQUEST_INVALID naming the member of the input that is wrong, INTERVAL_INVALID
 */
async function planBackfill(
  { catalogue, ledger, redis }: SchedulingDependencies,
  input: BackfillInput,
  cursor: string | null,
): Promise<BackfillPage> {
  const { view, fingerprint, definition } = viewOfBackfill(catalogue, checkBackfill(input));
  const { reprocess = "missing", newestFirst = false } = input;
  // Which intervals are complete is a matter of the clock.
  await redis.assertClock();
  const intervals = backfillIntervals(view, input, Date.now());
  const cells = await readGrid(ledger, catalogue, view, intervals);
  const due = cells.filter((cell) => isDue(cell, reprocess)).map(toRun);
  if (newestFirst) due.reverse();
  const left =
    cursor === null
      ? due
      : due.filter(({ start }) => (newestFirst ? start < cursor : start > cursor));
  const runs = left.slice(0, pageSize);
  return {
    fingerprint,
    definition,
    terms: termsOf(view.schedule),
    runs,
    cursor: left.length > runs.length ? (runs.at(-1)?.start ?? null) : null,
    total: cursor === null ? due.length : 0,
  };
}

function viewOfBackfill(catalogue: Catalogue, input: BackfillInput) {
  const named = viewNamed(catalogue, input.view);
  const { fingerprint = named.fingerprint, definition = named.definition } = input;
  const view = viewOfRun(catalogue, { view: named.name, fingerprint, definition });
  return { view, fingerprint, definition };
}

/** When the run of an interval is late, and who is told; nothing where nobody is. */
function lateOf({ offsetMs, deadlineMs, onLate }: Schedule, { endMs }: Interval) {
  if (deadlineMs === null || onLate.length === 0) return {};
  return { late: { at: new Date(endMs + offsetMs + deadlineMs).toISOString(), webhooks: onLate } };
}

/** A run of a cell; what is committed and yet due is computed again. */
function toRun({ interval, rows }: Cell): PlannedRun {
  return { ...endsOf(interval), reprocess: rows !== null };
}
