/**
 * Committed intervals whose rows may be of other files by now: one that holds late or early rows of
 * them came, or changed, after their run. Looked for where the source allows for such rows.
 */
import type { View } from "../engine/catalogue.ts";
import {
  contains,
  endsOf,
  type Interval,
  parseInterval,
  showSpan,
} from "../engine/calendar/interval.ts";
import { lateIntervals } from "../engine/calendar/slots.ts";
import { countOf } from "../engine/words.ts";
import { coveredFiles, readManifest, type RunManifest } from "../filling/run-facts.ts";
import type { LedgerEntry } from "../store/ledger.ts";
import { openOfflineFolders } from "../store/offline/offline-folders.ts";
import { chainOf, materializeLine } from "./command-lines.ts";
import type { Judgement } from "./findings.ts";

/** The files of an interval, as they are now; none where they cannot be listed. */
export type ListFiles = (view: View, interval: Interval) => Promise<RunManifest["files"]>;

/** A look at the files of each costs some calls of the file system. */
const lookedAt = 1000;

/**
 * Of the newest committed intervals those that would be made of other files now, oldest first. One
 * of whose files some are gone is left out: computed again, it would lose their rows.
 */
export async function findChanged(
  view: View,
  coverage: LedgerEntry["coverage"],
  listFiles: ListFiles,
  offlineDir: string,
): Promise<Interval[]> {
  const { lateMs, earlyMs } = view.rows.reach;
  if (lateMs + earlyMs === 0) return [];
  const offline = openOfflineFolders({ root: offlineDir });
  const committed = [...coverage]
    .map(([text, { generation, files }]) => ({ interval: parseInterval(text), generation, files }))
    .sort((a, b) => a.interval.endMs - b.interval.endMs);
  const changed: Interval[] = [];
  for (const { interval, generation, files } of committed.slice(-lookedAt)) {
    const now = await listFiles(view, interval);
    if (now.length === 0 || coveredFiles(now).hash === files?.hash) continue;
    const ref = { view: view.name, fingerprint: view.fingerprint, interval, generation };
    // A manifest that cannot be read is a problem of its own.
    const then = await readManifest(offline, ref).catch(() => undefined);
    const there = new Set(now.map((file) => file.path));
    if (then?.files.every((file) => there.has(file.path))) changed.push(interval);
  }
  return changed;
}

/** Says which intervals changed; those that the next slot computes again are no problem. */
export function judgeChanged(
  view: View,
  changed: readonly Interval[],
  coverage: LedgerEntry["coverage"],
): Judgement {
  if (changed.length === 0) return { problems: [], notes: [] };
  const { schedule } = view;
  const newestMs = [...coverage.keys()].reduce(
    (newest, text) => Math.max(newest, parseInterval(text).endMs),
    -Infinity,
  );
  const next =
    schedule === undefined
      ? []
      : lateIntervals(schedule, { startMs: newestMs }, view.rows.reach.lateMs);
  const isNext = (interval: Interval) => next.some((each) => contains(each, interval));
  const said = (intervals: readonly Interval[]) =>
    `${countOf(intervals.length, "interval")} may be out of date, the first ${showSpan(endsOf(intervals[0] ?? ""))}: files that may hold their rows came or changed after the commit`;
  const [soon, left] = [changed.filter(isNext), changed.filter((each) => !isNext(each))];
  const { fix, rest } = chainOf(
    view.name,
    left.map((each) => `${materializeLine(view, endsOf(each))} --reprocess`),
  );
  return {
    problems: left.length === 0 ? [] : [{ problem: `${said(left)}${rest}`, fix }],
    notes: soon.length === 0 ? [] : [`${said(soon)}; the next slot computes them again`],
  };
}

/** What is said of rows of committed files that no interval takes. */
export function notesOutside(coverage: LedgerEntry["coverage"]): string[] {
  const found = [...coverage].filter(([, { outside = 0 }]) => outside > 0);
  if (found.length === 0) return [];
  const [last = ""] = found
    .map(([interval]) => interval)
    .sort()
    .slice(-1);
  const rows = found.reduce((sum, [, { outside = 0 }]) => sum + outside, 0);
  return [
    `${countOf(rows, "row")} left out of ${countOf(found.length, "interval")}, the last ${showSpan(endsOf(last))}: their event time lies outside what their file may hold`,
  ];
}
