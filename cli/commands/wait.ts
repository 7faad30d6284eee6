/** `wait`: until a view is materialized as of a time. */
import { setTimeout as pause } from "node:timers/promises";
import type { Command } from "commander";
import { scheduleOf } from "../../filling/backfill-range.ts";
import { type View, viewNamed } from "../../engine/catalogue.ts";
import { parseDuration } from "../../engine/calendar/duration.ts";
import { OnceflowError } from "../../engine/errors.ts";
import type { Cell } from "../../engine/calendar/grid.ts";
import { endsOf, type Interval, parseInstant, showSpan } from "../../engine/calendar/interval.ts";
import { invocation } from "../../engine/invocation.ts";
import { newestInterval } from "../../engine/calendar/slots.ts";
import { readGrid } from "../../status/read-grid.ts";
import { createLedger } from "../../store/ledger.ts";
import {
  type Context,
  exitCodes,
  finishCommand,
  type JsonOption,
  type Reply,
  usageError,
  withRedis,
} from "../context.ts";
import { openProgress, silentProgress } from "../progress.ts";
import { clean } from "../table.ts";

interface Options extends JsonOption {
  readonly asOf: string;
  readonly timeout: string;
}

const lookMs = 1_000;

/** Adds the command. */
export function addWait(program: Command, context: Context): void {
  const command = program
    .command("wait")
    .argument("<view>", "name of a feature view with a schedule")
    .summary("wait until a view is materialized as of a time")
    .description(
      "Waits until the newest interval of the view's schedule that ends by a time is committed. " +
        "Exit code 3 where its last run failed, was cancelled or blocked, or it took too long.",
    )
    .requiredOption("--as-of <time>", "ISO 8601 in UTC")
    .option("--timeout <span>", 'such as "90 s", "5 min" or "6 hours"', "1 hour")
    .action((name: string, options: Options) =>
      context.answer(options, () => waitFor(context, name, options)),
    );
  finishCommand(command, [
    "wait badges --as-of 2026-01-02",
    'wait badges --as-of 2026-01-02 --timeout "10 min" --json',
  ]);
}

async function waitFor(context: Context, name: string, options: Options): Promise<Reply> {
  const timeoutMs = parseDuration(options.timeout);
  if (timeoutMs === undefined)
    throw usageError(`--timeout is "${options.timeout}"; give a number and a unit, as "5 min".`);
  const catalogue = await context.catalogue();
  const view = viewNamed(catalogue, name);
  const interval = intervalBy(view, options.asOf);
  const span = endsOf(interval);
  const title = `wait for ${name} ${showSpan(span)}`;
  const progress = options.json === true ? silentProgress : openProgress(context.terminal.err);
  const settings = context.settings();
  const untilMs = Date.now() + timeoutMs;
  const cell = await withRedis(settings, "writing", (redis) =>
    progress.step(title, async (detail) => {
      for (;;) {
        const [now] = await readGrid(createLedger(redis, settings), catalogue, view, [interval]);
        if (now === undefined) throw new Error("an interval came without a cell");
        if (now.state !== "missing" || Date.now() + lookMs > untilMs) return now;
        detail("not committed yet");
        await pause(lookMs);
      }
    }),
  );
  const isDone = cell.state === "done" || cell.state === "stale";
  return {
    data: { view: name, ...span, state: cell.state, rows: cell.rows },
    text: () => textOf(view, cell, showSpan(span)),
    exitCode: isDone ? exitCodes.ok : exitCodes.unhealthy,
  };
}

/** The newest interval that ends by a time. @throws INTERVAL_INVALID where there is none */
function intervalBy(view: View, asOf: string): Interval {
  const schedule = scheduleOf(view);
  const found = newestInterval(schedule, parseInstant(asOf) + schedule.offsetMs);
  if (found !== null) return found;
  throw new OnceflowError(
    "INTERVAL_INVALID",
    `no interval of view "${view.name}" ends by ${asOf}: its schedule starts at ${new Date(schedule.startMs).toISOString()}. Give a later time.`,
    { view: view.name },
  );
}

function textOf({ name }: View, { state, rows, outcome }: Cell, span: string): string {
  switch (state) {
    case "done":
      return `${name} ${span} is committed, with ${rows ?? 0} rows`;
    case "stale":
      return `${name} ${span} is committed, and a view that comes first was computed again since`;
    case "missing":
      return `${name} ${span} is not committed yet: see ${invocation} runs ${name}`;
    case "failed":
    case "cancelled":
    case "blocked":
      return `${name} ${span}: its last run ${state === "failed" ? "failed" : `was ${state}`}: ${clean(outcome?.reason ?? "no reason is known")}`;
  }
}
