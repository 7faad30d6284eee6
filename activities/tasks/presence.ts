/**
 * The tasks of the example workflows/pipelines/presence-daily.ts: a day's badge events are
 * delivered to `landing/` under the data folder, become the source's file, and after they are
 * materialized a small model and a report are made of them.
 */
import { copyFile, mkdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ApplicationFailure } from "@temporalio/common";
import pl from "nodejs-polars";
import type { TaskInput } from "../../workflows/contract.ts";
import type { TaskFolders } from "./task.ts";

/** What `trainPresence` learns: the mean stay of a day, in minutes. */
interface PresenceModel {
  readonly date: string;
  readonly events: number;
  readonly mean_minutes_inside: number;
}

function filesOf({ start }: TaskInput, { dataDir, offlineDir }: TaskFolders) {
  const date = start.slice(0, 10);
  return {
    date,
    delivered: join(dataDir, "landing", `badges-${date}.parquet`),
    archived: join(dataDir, "landing", "done", `badges-${date}.parquet`),
    source: join(dataDir, "badges", `date=${date}.parquet`),
    model: join(offlineDir, "models", `presence-${date}.json`),
    report: join(offlineDir, "reports", `presence-${date}.md`),
  };
}

/** Whether the day's file is there; a day that was archived before counts as delivered. */
export async function checkDelivery(interval: TaskInput, folders: TaskFolders): Promise<boolean> {
  const { delivered, archived } = filesOf(interval, folders);
  const found = await Promise.all(
    [delivered, archived].map((file) => stat(file).catch(() => undefined)),
  );
  return found.some((stats) => stats !== undefined && stats.size > 0);
}

/** Puts the delivered file where the source reads it; again, it changes nothing. */
export async function extractBadges(interval: TaskInput, folders: TaskFolders): Promise<void> {
  const { delivered, archived, source } = filesOf(interval, folders);
  const from = (await stat(delivered).catch(() => undefined)) === undefined ? archived : delivered;
  await mkdir(dirname(source), { recursive: true });
  await copyFile(from, `${source}.part`);
  await rename(`${source}.part`, source);
}

/** Learns the mean stay from the day's rows. */
export async function trainPresence(
  interval: TaskInput,
  folders: TaskFolders,
): Promise<PresenceModel> {
  const { date, source, model } = filesOf(interval, folders);
  const rows = pl.readParquet(await readFile(source));
  if (rows.height === 0)
    throw ApplicationFailure.nonRetryable(`${source} has no row to learn from.`, "NO_ROWS");
  const learnt = {
    date,
    events: rows.height,
    mean_minutes_inside: rows.getColumn("minutes_inside").mean(),
  };
  await writeWhole(model, JSON.stringify(learnt));
  return learnt;
}

/** Moves the delivered file away, where it has not been moved before. */
export async function archiveDelivery(interval: TaskInput, folders: TaskFolders): Promise<void> {
  const { delivered, archived } = filesOf(interval, folders);
  await mkdir(dirname(archived), { recursive: true });
  await rename(delivered, archived).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
}

/** Writes a report of the model for people. */
export async function publishReport(interval: TaskInput, folders: TaskFolders): Promise<void> {
  const { model, report } = filesOf(interval, folders);
  const { date, events, mean_minutes_inside } = JSON.parse(
    await readFile(model, "utf8"),
  ) as PresenceModel;
  await writeWhole(
    report,
    `# Presence on ${date}\n\n${events} events, ${mean_minutes_inside.toFixed(1)} minutes on average.\n`,
  );
}

async function writeWhole(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(`${file}.part`, text);
  await rename(`${file}.part`, file);
}
