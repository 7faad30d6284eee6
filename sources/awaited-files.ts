/** Files that a run waits for: whether they are there, and complete. */
import { promises as fs } from "node:fs";
import path from "node:path";
import type { Interval } from "../engine/calendar/interval.ts";

/** A file counts as complete once it has not changed for this long. */
const settledMs = 10_000;
const msPerDay = 86_400_000;

/**
 * Null where a file is there for each day of an interval and complete; else what is missing, in
 * words.
 *
 * @param template - a path under the data folder; `{date}` stands for each day, in UTC
 */
export async function lookForFiles(
  template: string,
  interval: Interval,
  dataDir: string,
): Promise<string | null> {
  for (const file of pathsOf(template, interval)) {
    const stats = await fs.stat(path.resolve(dataDir, file)).catch(() => undefined);
    if (!stats?.isFile()) return `${file} is not in ${dataDir} yet.`;
    if (Date.now() - stats.mtimeMs < settledMs)
      return `${file} is still being written: it changed within the last ${settledMs / 1000} s.`;
  }
  return null;
}

function pathsOf(template: string, { startMs, endMs }: Interval): string[] {
  if (!template.includes("{date}")) return [template];
  const days: string[] = [];
  for (let ms = Math.floor(startMs / msPerDay) * msPerDay; ms < endMs; ms += msPerDay)
    days.push(template.replaceAll("{date}", new Date(ms).toISOString().slice(0, 10)));
  return days;
}
