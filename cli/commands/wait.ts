/** `wait`: until a view is served as of a time. */
import { setTimeout as pause } from "node:timers/promises";
import type { Command } from "commander";
import { scheduleOf } from "../../filling/backfill-range.ts";
import { type View, viewNamed } from "../../engine/catalogue.ts";
import { parseDuration } from "../../engine/calendar/duration.ts";
import { OnceflowError } from "../../engine/errors.ts";
import type { Cell } from "../../engine/calendar/grid.ts";
import {
  endsOf,
  type Interval,
  parseInstant,
  parseInterval,
  showSpan,
} from "../../engine/calendar/interval.ts";
import { publishableOf } from "../../engine/calendar/publishable.ts";
import { invocation } from "../../engine/invocation.ts";
import { newestInterval } from "../../engine/calendar/slots.ts";
import { countOf } from "../../engine/words.ts";
import { readGrid } from "../../status/read-grid.ts";
import { createLedger, type LedgerEntry } from "../../store/ledger.ts";
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
    .summary("wait until a view is served as of a time")
    .description(
      "Waits until the newest interval of the view's schedule that ends by a time is committed and " +
        "published. Exit code 3 where its last run failed, was cancelled or blocked, where it is held " +
        "back by an interval that is missing or by a freeze, or where it took too long.",
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
  const { cell, serving } = await withRedis(settings, "writing", (redis) =>
    progress.step(title, async (detail) => {
      const ledger = createLedger(redis, settings);
      for (;;) {
        const [cell] = await readGrid(ledger, catalogue, view, [interval]);
        if (cell === undefined) throw new Error("an interval came without a cell");
        const serving = servingOf(view, interval, await ledger.readLedger(name, view.fingerprint));
        const isPending = isCommitted(cell) ? serving === "waits" : cell.state === "missing";
        if (!isPending || Date.now() + lookMs > untilMs) return { cell, serving };
        detail(isCommitted(cell) ? "not published yet" : "not committed yet");
        await pause(lookMs);
      }
    }),
  );
  const isServed = isCommitted(cell) && serving === "served";
  return {
    data: { view: name, ...span, state: cell.state, served: isServed, rows: cell.rows },
    text: () => textOf(view, cell, showSpan(span), serving),
    exitCode: isServed ? exitCodes.ok : exitCodes.unhealthy,
  };
}

/** Whether an interval is served, or why not; `waits` for a publish. */
type Serving = "served" | "frozen" | "held" | "waits";

function servingOf(
  view: View,
  { endMs }: Interval,
  { published, coverage }: Pick<LedgerEntry, "published" | "coverage">,
): Serving {
  if (published !== null && published.endMs >= endMs) return "served";
  if (published !== null && published.frozen !== null) return "frozen";
  const publishable = publishableOf(view, [...coverage.keys()].map(parseInterval));
  return (publishable.endMs ?? -Infinity) >= endMs ? "waits" : "held";
}

function isCommitted({ state }: Cell): boolean {
  return state === "done" || state === "stale";
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

function textOf(
  { name }: View,
  { state, rows, outcome }: Cell,
  span: string,
  serving: Serving,
): string {
  const unserved = `see ${invocation} status ${name}`;
  const isServed = {
    served: "and served",
    frozen: `and not served, since the view is frozen: ${unserved}`,
    held: `and not served, since an interval before it is missing: ${unserved}`,
    waits: `and not published yet: ${unserved}`,
  }[serving];
  switch (state) {
    case "done":
      return `${name} ${span} is committed, with ${countOf(rows ?? 0, "row")}, ${isServed}`;
    case "stale":
      return `${name} ${span} is committed, ${isServed}; a view that comes first was computed again since`;
    case "missing":
      return `${name} ${span} is not committed yet: see ${invocation} runs ${name}`;
    case "failed":
    case "cancelled":
    case "blocked":
      return `${name} ${span}: its last run ${state === "failed" ? "failed" : `was ${state}`}: ${clean(outcome?.reason ?? "no reason is known")}`;
  }
}
