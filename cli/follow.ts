/** Waits for a run, and says meanwhile how far it is. */
import type { Client } from "@temporalio/client";
import { commandLine, invocation } from "../engine/invocation.ts";
import type { Context } from "./context.ts";
import { type Detail, openProgress, silentProgress } from "./progress.ts";
import { clean } from "./table.ts";
import type { Run } from "./temporal.ts";

/** How a wait ended, and how long it took. */
export type Followed<T> =
  | { readonly outcome: "done"; readonly result: T; readonly seconds: number }
  | { readonly outcome: "interrupted" };

const pollMs = 500;
/** A short run is over within this time; it is asked more often. */
const shortRunMs = 2_000;
const shortPollMs = 100;
const eventMs = 1_000;
/** After this long without a word of the run, a worker is probably missing. */
const patienceMs = 4_000;

/**
 * Waits for the end of a run. Ctrl-C ends the wait alone; the run goes on.
 *
 * @throws what the run failed with
 */
export async function followRun<T>(
  { terminal }: Context,
  client: Client,
  run: Run<T>,
  options: {
    readonly title: string;
    readonly quiet: boolean;
    readonly startedAtMs: number;
    /** How far the run is; the words of its page by default. */
    readonly words?: () => Promise<string>;
    /** A line for standard error every second where nobody reads words. */
    readonly event?: () => Promise<string>;
  },
): Promise<Followed<T>> {
  const { title, quiet, startedAtMs } = options;
  const progress = quiet ? silentProgress : openProgress(terminal.err);
  let interrupt = (): void => undefined;
  const interrupted = new Promise<Followed<T>>((resolve) => {
    interrupt = () => resolve({ outcome: "interrupted" });
  });
  const release = terminal.onInterrupt(() => interrupt());
  let waits = true;
  try {
    const result = run.result().then((value): Followed<T> => {
      return { outcome: "done", result: value, seconds: (Date.now() - startedAtMs) / 1000 };
    });
    // After Ctrl-C nobody waits for it any more.
    result.catch(() => undefined);
    return await progress.step(
      title,
      (detail) => {
        if (!quiet) void poll(client, run, detail, () => waits, options.words);
        if (options.event !== undefined) void emit(terminal, options.event, () => waits);
        return Promise.race([result, interrupted]);
      },
      ({ outcome }) => (outcome === "done" ? title : `${title}: the run goes on`),
    );
  } finally {
    waits = false;
    release();
  }
}

/** Waits for the end of a run and tells meanwhile what its page says. @throws as the run does */
export async function resultOf<T>(client: Client, run: Run<T>, detail: Detail): Promise<T> {
  let waits = true;
  void poll(client, run, detail, () => waits, undefined);
  try {
    return await run.result();
  } finally {
    waits = false;
  }
}

/** How to end a run, for who stopped waiting. */
export function cancelLine({ workflowId }: Run<unknown>): string {
  return `${invocation} cancel ${workflowId}`;
}

/** Asks the run for its words until nobody waits any more. */
async function poll(
  client: Client,
  run: Run<unknown>,
  detail: Detail,
  waits: () => boolean,
  ownWords: (() => Promise<string>) | undefined,
): Promise<void> {
  const sinceMs = Date.now();
  // Without a worker, the first question has no answer for long.
  const hint = setTimeout(
    () => detail(`no worker has answered yet; is one running? (${commandLine("worker")})`),
    patienceMs,
  );
  while (waits()) {
    const details = await (ownWords ?? run.details)().catch(() => undefined);
    const failure = await retriedFailure(client, run).catch(() => undefined);
    const words = failure ?? (ownWords === undefined ? plainOf(details ?? "") : (details ?? ""));
    if (words !== "") {
      clearTimeout(hint);
      detail(words);
    }
    const isShort = Date.now() - sinceMs < shortRunMs;
    await new Promise((resolve) => setTimeout(resolve, isShort ? shortPollMs : pollMs));
  }
  clearTimeout(hint);
}

/** Writes a line every second until nobody waits any more. */
async function emit(
  { err }: Context["terminal"],
  event: () => Promise<string>,
  waits: () => boolean,
): Promise<void> {
  while (waits()) {
    const line = await event().catch(() => undefined);
    if (line !== undefined && waits()) err.write(`${line}\n`);
    await new Promise((resolve) => setTimeout(resolve, eventMs));
  }
}

/** Why an activity of the run is tried again, such as a file that is missing. */
export async function retriedFailure(
  client: Client,
  { workflowId, runId }: { readonly workflowId: string; readonly runId?: string },
): Promise<string | undefined> {
  const { raw } = await client.workflow.getHandle(workflowId, runId).describe();
  const failed = raw.pendingActivities?.find((activity) => activity.lastFailure?.message != null);
  if (failed == null) return undefined;
  const { lastFailure, attempt } = failed;
  const code = lastFailure?.applicationFailureInfo?.type ?? "";
  return clean(`attempt ${attempt}, after ${code} ${lastFailure?.message}`);
}

/** The last words of a run's page as one line: without its heading, tables and Markdown. */
export function plainOf(markdown: string): string {
  const lines = markdown
    .split("\n")
    .map((line) => line.replaceAll(/[*`]/g, "").trim())
    .filter((line) => line !== "" && !line.startsWith("|"));
  return clean((lines.length > 1 ? lines.slice(1) : lines).join(" "));
}
