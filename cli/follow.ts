/** Waits for a run, and says meanwhile how far it is. */
import type { Client } from "@temporalio/client";
import { invocation } from "../engine/invocation.ts";
import type { Settings } from "../settings.ts";
import type { Context } from "./context.ts";
import { readLife, troubleOf } from "./life.ts";
import { type Detail, openProgress, silentProgress } from "./progress.ts";
import { clean } from "./table.ts";
import type { Run } from "./temporal.ts";
import { readWorkers, withoutWorker } from "./workers.ts";

/** How a wait ended, and how long it took. */
export type Followed<T> =
  | { readonly outcome: "done"; readonly result: T; readonly seconds: number }
  | { readonly outcome: "interrupted" };

const pollMs = 500;
/** A short run is over within this time; it is asked more often. */
const shortRunMs = 2_000;
const shortPollMs = 100;
const eventMs = 1_000;
/** After this long without a word of the run, and this often, it is asked who takes runs. */
const patienceMs = 4_000;

/**
 * Waits for the end of a run. Ctrl-C ends the wait alone; the run goes on.
 *
 * @throws what the run failed with
 */
export async function followRun<T>(
  { terminal, settings }: Context,
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
        if (!quiet)
          void poll(
            client,
            run,
            detail,
            () => waits,
            options.words,
            () => noWorker(client, settings()),
          );
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
  void poll(
    client,
    run,
    detail,
    () => waits,
    undefined,
    () => Promise.resolve(undefined),
  );
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

/** Says that nobody takes runs, where that is so. */
async function noWorker(client: Client, settings: Settings): Promise<string | undefined> {
  return withoutWorker(await readWorkers(client, settings), Date.now());
}

/** Asks the run for its words until nobody waits any more. */
async function poll(
  client: Client,
  run: Run<unknown>,
  detail: Detail,
  waits: () => boolean,
  ownWords: (() => Promise<string>) | undefined,
  nobody: () => Promise<string | undefined>,
): Promise<void> {
  const sinceMs = Date.now();
  let missing: string | undefined;
  // Apart: without a worker, a question to the run has no answer for long.
  const look = async () => {
    missing = await nobody().catch(() => undefined);
    if (missing !== undefined && waits()) detail(missing);
  };
  const looking = setInterval(() => void look(), patienceMs);
  while (waits()) {
    const details = await (ownWords ?? run.details)().catch(() => undefined);
    const trouble = troubleOf(await readLife(client, run), Date.now());
    const words = trouble ?? (ownWords === undefined ? plainOf(details ?? "") : (details ?? ""));
    const all = [words, missing].filter((part) => part !== undefined && part !== "").join("; ");
    if (waits() && all !== "") detail(all);
    const isShort = Date.now() - sinceMs < shortRunMs;
    await new Promise((resolve) => setTimeout(resolve, isShort ? shortPollMs : pollMs));
  }
  clearInterval(looking);
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

/** The last words of a run's page as one line: without its heading, tables and Markdown. */
export function plainOf(markdown: string): string {
  const lines = markdown
    .split("\n")
    .map((line) => line.replaceAll(/[*`]/g, "").trim())
    .filter((line) => line !== "" && !line.startsWith("|"));
  return clean((lines.length > 1 ? lines.slice(1) : lines).join(" "));
}
