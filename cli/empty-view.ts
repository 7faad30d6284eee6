/** What can be said of a view of which Redis has nothing, and what fills it. */
import { readManifest } from "../activities/runs.ts";
import type { View } from "../engine/catalogue.ts";
import { isFullRefresh } from "../engine/definitions.ts";
import { errorCodeOf, messageOf } from "../engine/errors.ts";
import { endsOf, type Interval, type Span } from "../engine/interval.ts";
import { invocation } from "../engine/invocation.ts";
import { newestInterval } from "../engine/slots.ts";
import { openOfflineFolders } from "../store/offline-folders.ts";
import { countOf } from "./table.ts";
import type { Finding } from "./view-status.ts";
import { backfillLine, showSpan, showTime, spanOptions } from "./views.ts";

/** Commands in one line, for people to paste. */
const linesShown = 20;

/**
 * Says what is the matter with a view of which nothing is committed. A Redis that was emptied looks
 * like one that was never filled; the offline store outlives it, so where this process reaches that,
 * it tells which; a `reset` leaves the same.
 *
 * @param offlineDir - root of the offline store, which may not be there
 */
export async function emptyView(view: View, offlineDir: string, nowMs: number): Promise<Finding> {
  let written: readonly Interval[];
  try {
    written = await committedOffline(view, offlineDir);
  } catch (error) {
    if (errorCodeOf(error) !== "OFFLINE_UNAVAILABLE") throw error;
    return {
      problem: `Redis has nothing of these definitions, and whether it ever had cannot be told, since ${messageOf(error)}`,
      fix: firstFill(view, nowMs),
    };
  }
  const [first, last] = [written[0], written.at(-1)];
  if (first === undefined || last === undefined)
    return {
      problem: `nothing was materialized under these definitions: neither Redis nor the offline store in ${offlineDir} has an interval of them`,
      fix: firstFill(view, nowMs),
    };
  const range = { start: endsOf(first).start, end: endsOf(last).end };
  const what = isFullRefresh(view.source)
    ? `the view as of ${showTime(range.end)}`
    : `${countOf(written.length, "interval")} in ${showSpan(range)}`;
  return {
    problem: `Redis has nothing of what was materialized under these definitions: the offline store has ${what}. Either Redis was emptied, or the view was reset`,
    fix: refill(view, written.map(endsOf), range, offlineDir),
  };
}

/** The intervals whose rows the offline store has whole, oldest first. */
async function committedOffline(view: View, offlineDir: string): Promise<Interval[]> {
  const offline = openOfflineFolders({ root: offlineDir });
  const ref = { view: view.name, fingerprint: view.fingerprint };
  const found: Interval[] = [];
  for (const interval of await offline.listIntervals(ref))
    for (const generation of await offline.listGenerations({ ...ref, interval })) {
      if ((await readManifest(offline, { ...ref, interval, generation })) === undefined) continue;
      found.push(interval);
      break;
    }
  return found;
}

function firstFill(view: View, nowMs: number): string {
  const { name, schedule, source } = view;
  if (isFullRefresh(source)) return `${invocation} materialize ${name}`;
  if (schedule === undefined)
    return `materialize the intervals that the source has; ${invocation} materialize --help says how`;
  const newest = newestInterval(schedule, nowMs);
  return newest === null
    ? "nothing yet: no interval of its schedule is complete"
    : `${backfillLine(name, endsOf({ startMs: schedule.startMs, endMs: newest.endMs }))}, with a later --from where the source begins later`;
}

function refill(view: View, written: readonly Span[], range: Span, offlineDir: string): string {
  if (isFullRefresh(view.source)) return `${invocation} materialize ${view.name}`;
  if (view.schedule !== undefined) return backfillLine(view.name, range);
  const commands = written.map(
    (span) => `${invocation} materialize ${view.name} ${spanOptions(view, span)}`,
  );
  return commands.length <= linesShown
    ? commands.join(" && ")
    : `${commands[0]} and so on, for each interval below ${offlineDir}/views/${view.name}`;
}
