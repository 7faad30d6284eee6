/** Which intervals may be run, by the clock: none that has not ended. */
import type { View } from "../engine/catalogue.ts";
import { formatSpan } from "../engine/calendar/duration.ts";
import { endsOf, type Interval, showSpan } from "../engine/calendar/interval.ts";
import { OnceflowError } from "../engine/errors.ts";
import { invocation } from "../engine/invocation.ts";
import { longestSkewMs } from "../store/store-time.ts";
import type { RunRef } from "../workflows/contract.ts";
import { intervalOfRun } from "./run-facts.ts";

type RunRange = Pick<RunRef, "start" | "end">;

/**
 * Refuses an interval that has not ended, give or take the 30 seconds by which clocks may differ:
 * what it is still to get would never be taken, and the rows of a full refresh would outdo those of
 * every run until then.
 *
 * @param nowMs - the time of Redis, or what the caller takes for it
 * @throws INTERVAL_INVALID
 */
export function assertEnded(view: View, run: RunRange, nowMs: number): void {
  const own = intervalOfRun(view, run);
  if (!isAhead(own, nowMs)) return;
  const aheadMs = own.endMs - nowMs;
  throw new OnceflowError(
    "INTERVAL_INVALID",
    `the interval ${showSpan(endsOf(own))} of view "${view.name}" ends ${formatSpan(aheadMs / 1000)} ahead of the clock, which says ${iso(nowMs)}. Give an end that has passed; if it has, set the clocks of all machines by NTP.`,
    { view: view.name, ahead_ms: aheadMs },
  );
}

/**
 * Refuses a run of a full refresh beside a committed one that lies ahead of the clock, as older
 * releases took it: its rows would give way to those of the other, and the run be of no effect.
 *
 * @param committed - by `formatInterval`
 * @throws INTERVAL_INVALID
 */
export function assertNoneAhead(
  view: View,
  committed: ReadonlyMap<string, Interval>,
  run: RunRange,
  nowMs: number,
): void {
  if (!view.rows.isFullRefresh) return;
  const own = intervalOfRun(view, run);
  for (const [text, other] of committed) {
    if (other.endMs <= own.endMs || !isAhead(other, nowMs)) continue;
    throw new OnceflowError(
      "INTERVAL_INVALID",
      `view "${view.name}" has committed a full refresh as of ${iso(other.endMs)}, which lies ahead of the clock (${iso(nowMs)}): until then the rows of every other give way to it. Remove it by \`${invocation} reset ${view.name} --yes\`, then materialize the view again.`,
      { view: view.name, committed: text },
    );
  }
}

function isAhead({ endMs }: Interval, nowMs: number): boolean {
  return endMs > nowMs + longestSkewMs;
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
