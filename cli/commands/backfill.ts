/** `backfill` and `scale`: run the intervals of a range that are due, and steer that. */
import { type Command, Option } from "commander";
import { backfillIntervals, scheduleOf } from "../../filling/backfill-range.ts";
import { type Catalogue, type View, viewNamed } from "../../engine/catalogue.ts";
import { messageOf, OnceflowError } from "../../engine/errors.ts";
import { type Cell, isDue, type Reprocess, reprocessModes } from "../../engine/calendar/grid.ts";
import {
  endsOf,
  type Interval,
  parseInstant,
  showSpan,
  showTime,
} from "../../engine/calendar/interval.ts";
import { newestInterval } from "../../engine/calendar/slots.ts";
import { checkBackfill } from "../../filling/backfill-input.ts";
import { invocation } from "../../engine/invocation.ts";
import { readGrid } from "../../status/read-grid.ts";
import { createLedger } from "../../store/ledger.ts";
import {
  type BackfillInput,
  type BackfillResult,
  type BackfillState,
  idsOf,
} from "../../workflows/contract.ts";
import {
  type Context,
  exitCodes,
  finishCommand,
  type JsonOption,
  openRuns,
  type Reply,
  usageError,
  withRedis,
} from "../context.ts";
import { followRun } from "../follow.ts";
import { readLife, troubleOf } from "../life.ts";
import { publishFields } from "../publish-text.ts";
import { clean, fields, table } from "../table.ts";
import type { BackfillRun } from "../temporal.ts";
import { countOf } from "../../engine/words.ts";
import { formatSpan } from "../../engine/calendar/duration.ts";

interface Options extends JsonOption {
  readonly from: string;
  readonly to: string;
  readonly reprocess: Reprocess;
  readonly maxParallel: string;
  readonly newestFirst?: true;
  readonly partitionsPerRun: string;
  readonly dryRun?: true;
  readonly wait: boolean;
}

const barWidth = 24;

/** Adds `backfill`. */
export function addBackfill(program: Command, context: Context): void {
  const command = program
    .command("backfill")
    .argument("<view>", "name of a feature view with a schedule")
    .summary("run the intervals of a range that are due")
    .description(
      "Runs the intervals of a view's schedule that lie in a range and are due, some at once. One " +
        "that fails is counted, and the others go on. Joins the same backfill where it is under " +
        "way. Exit code 3 where an interval failed. With --json, progress goes to standard error " +
        "as lines of JSON.",
    )
    .requiredOption("--from <time>", "where the range begins, ISO 8601 in UTC")
    .requiredOption("--to <time>", "where it ends; what is not complete yet is left out")
    .addOption(
      new Option(
        "--reprocess <mode>",
        "which intervals are due; `failed` and `stale` take missing ones too",
      )
        .choices(reprocessModes)
        .default("missing"),
    )
    .option("--max-parallel <count>", "intervals under way at once", "8")
    .option("--newest-first", "begin with the newest interval")
    .option("--partitions-per-run <count>", "intervals before the workflow continues as new", "250")
    .option("--dry-run", "start nothing; show each interval and why it is or is not due")
    .option("--no-wait", "return once the backfill has started")
    .action((view: string, options: Options) =>
      context.answer(options, () => runBackfill(context, view, options)),
    );
  finishCommand(command, [
    "backfill badges --from 2026-01-01 --to 2026-02-01 --dry-run",
    "backfill badges --from 2026-01-01 --to 2026-02-01 --max-parallel 4",
  ]);
}

/** Adds `scale`. */
export function addScale(program: Command, context: Context): void {
  const command = program
    .command("scale")
    .argument("<workflow-id>", "of a backfill under way, as `backfill` prints it")
    .summary("pause, resume or speed up a backfill that is under way")
    .description("Changes how a backfill goes on; intervals that are under way are not touched.")
    .option("--max-parallel <count>", "intervals under way at once")
    .option("--pause", "begin no more intervals")
    .option("--resume", "go on")
    .action(
      (id: string, options: JsonOption & { maxParallel?: string; pause?: true; resume?: true }) =>
        context.answer(options, async () => {
          const { maxParallel, pause, resume } = options;
          if (maxParallel === undefined && pause !== true && resume !== true)
            throw usageError("nothing to change: give --max-parallel, --pause or --resume.");
          const run = (await openRuns(context.settings())).backfillOf(id);
          if (maxParallel !== undefined)
            await run.setMaxParallel(wholeOf("max-parallel", maxParallel));
          if (pause === true) await run.pause();
          if (resume === true) await run.resume();
          const state = await run.progress();
          return { data: { workflow_id: id, ...state }, text: () => wordsOf(state, Date.now()) };
        }),
    );
  finishCommand(command, ["scale WORKFLOW_ID --max-parallel 2", "scale WORKFLOW_ID --pause"]);
}

async function runBackfill(context: Context, name: string, options: Options): Promise<Reply> {
  const catalogue = await context.catalogue();
  const view = viewNamed(catalogue, name);
  const { from, to, reprocess, newestFirst = false } = options;
  for (const [option, time] of [
    ["--from", from],
    ["--to", to],
  ] as const)
    try {
      parseInstant(time);
    } catch (error) {
      throw usageError(`${option}: ${messageOf(error)}`);
    }
  const input: BackfillInput = checkBackfill({
    view: view.name,
    from,
    to,
    reprocess,
    newestFirst,
    maxParallel: wholeOf("max-parallel", options.maxParallel),
    partitionsPerRun: wholeOf("partitions-per-run", options.partitionsPerRun),
    fingerprint: view.fingerprint,
    definition: view.definition,
  });
  if (options.dryRun === true) return dryRun(context, catalogue, view, input, reprocess);
  // Before anything is started: a view without a schedule has no intervals.
  assertSome(view, input, backfillIntervals(view, input, Date.now()));

  const settings = context.settings();
  const runs = await openRuns(settings);
  const run = await runs.startBackfill(input);
  /** Why something is tried again in the oldest run under way. */
  const trouble = async ({ running: [oldest] }: BackfillState): Promise<string> => {
    if (oldest === undefined) return "";
    const { start, end } = endsOf(oldest);
    const { fingerprint, definition } = view;
    const workflowId = idsOf(settings.queue).interval({
      view: view.name,
      start,
      end,
      fingerprint,
      definition,
    });
    const why = troubleOf(await readLife(runs.client, { workflowId }), Date.now());
    return why === undefined ? "" : `; ${showSpan({ start, end })}: ${why}`;
  };
  if (!options.wait) return started(run);
  const startedAtMs = Date.now();
  const followed = await followRun(context, runs.client, run, {
    title: `backfill ${name} ${showSpan({ start: from, end: to })}`,
    quiet: options.json === true,
    startedAtMs,
    words: async () => {
      const state = await run.progress();
      return `${wordsOf(state, Date.now())}${await trouble(state)}`;
    },
    ...(options.json === true
      ? { event: async () => eventOf(run.workflowId, await run.progress()) }
      : {}),
  });
  if (followed.outcome === "interrupted")
    return { ...started(run), exitCode: exitCodes.interrupted };
  return finished(followed.result, run, followed.seconds);
}

/** Refuses a range in which no interval is complete, which is mostly a slip. */
function assertSome(view: View, { from, to }: BackfillInput, intervals: readonly Interval[]): void {
  if (intervals.length > 0) return;
  const schedule = scheduleOf(view);
  const newest = newestInterval(schedule, Date.now());
  const first = new Date(schedule.startMs).toISOString();
  throw new OnceflowError(
    "INTERVAL_INVALID",
    `no interval of view "${view.name}" lies whole between ${from} and ${to}: its schedule begins at ${showTime(first)}, and ${newest === null ? "none is complete yet" : `the newest complete interval is ${showSpan(endsOf(newest))}`}. Give a range that holds one.`,
    { view: view.name, from, to },
  );
}

async function dryRun(
  context: Context,
  catalogue: Catalogue,
  view: View,
  input: BackfillInput,
  reprocess: Reprocess,
): Promise<Reply> {
  const settings = context.settings();
  const intervals = backfillIntervals(view, input, Date.now());
  assertSome(view, input, intervals);
  const cells = await withRedis(settings, "writing", (redis) =>
    readGrid(createLedger(redis, settings), catalogue, view, intervals),
  );
  if (input.newestFirst === true) cells.reverse();
  const rows = cells.map((cell) => ({
    ...endsOf(cell.interval),
    state: cell.state,
    due: isDue(cell, reprocess),
    why: whyOf(cell, reprocess),
  }));
  const due = rows.filter((row) => row.due).length;
  return {
    data: { view: view.name, reprocess, due, intervals: rows },
    text: () =>
      [
        table(
          ["interval", "state", "due", "why"],
          rows.map((row) => [showSpan(row), row.state, row.due ? "yes" : "no", clean(row.why)]),
          context.paint,
        ),
        `${due} of ${countOf(rows.length, "complete interval")} would be run. Nothing was started.`,
      ].join("\n"),
  };
}

function whyOf(cell: Cell, reprocess: Reprocess): string {
  const { state, rows, outcome } = cell;
  const reason = outcome?.reason ? `: ${outcome.reason}` : "";
  switch (state) {
    case "missing":
      return "never committed";
    case "done":
      return reprocess === "all"
        ? `committed with ${rows ?? 0} rows, computed again`
        : `committed with ${rows ?? 0} rows`;
    case "stale":
      return `a view that comes first was computed again since${isDue(cell, reprocess) ? "" : "; --reprocess stale takes it"}`;
    case "failed":
    case "cancelled":
    case "blocked":
      return `its last run ${state === "failed" ? "failed" : `was ${state}`}${reason}${isDue(cell, reprocess) ? "" : "; --reprocess failed takes it"}`;
  }
}

/** A bar, counts, rows/s and the time left, on one line. */
export function wordsOf(state: BackfillState, nowMs: number): string {
  const { total, committed, covered, failed, rows, running, paused, startedAtMs } = state;
  const done = committed + covered + failed;
  const seconds = Math.max((nowMs - startedAtMs) / 1000, 0.001);
  const filled = total === 0 ? barWidth : Math.floor((done / total) * barWidth);
  const bar = "█".repeat(filled) + "░".repeat(barWidth - filled);
  const left = done === 0 ? "" : `, ${formatSpan((seconds / done) * (total - done))} left`;
  return [
    `${bar} ${done}/${total}`,
    ...(failed > 0 ? [`${failed} failed`] : []),
    `${running.length} under way`,
    `${Math.round(rows / seconds)} rows/s${paused ? ", paused" : left}`,
  ].join(", ");
}

function eventOf(workflowId: string, state: BackfillState): string {
  return JSON.stringify({ event: "progress", workflow_id: workflowId, ...state });
}

function started({ workflowId }: BackfillRun): Reply {
  return {
    data: { outcome: "started", workflow_id: workflowId },
    text: () =>
      [
        "the backfill is under way",
        fields([
          ["workflow", workflowId],
          ["pause it", `${invocation} scale ${workflowId} --pause`],
          ["cancel it", `${invocation} cancel ${workflowId}`],
        ]),
      ].join("\n"),
  };
}

/** What a backfill did. */
export function finished(
  result: BackfillResult,
  { workflowId }: Pick<BackfillRun, "workflowId">,
  seconds: number,
): Reply {
  const { view, total, committed, covered, failed, rows, failures, published } = result;
  return {
    data: { ...result, workflow_id: workflowId, seconds },
    text: () =>
      [
        total === 0
          ? `nothing is due in the range: see ${invocation} partitions ${view}`
          : `${committed} of ${countOf(total, "interval")} committed`,
        fields([
          ["rows", `${rows}`],
          ["by others", covered > 0 ? `${covered}` : undefined],
          ["failed", failed > 0 ? `${failed}` : undefined],
          ...publishFields(published),
          ["workflow", workflowId],
          ["seconds", seconds.toFixed(1)],
        ]),
        ...failures.map(({ interval, reason }) => `  ✗ ${interval}: ${clean(reason)}`),
        ...(failed > failures.length
          ? [`  and ${failed - failures.length} more: ${invocation} partitions ${view}`]
          : []),
        ...(failed > 0 ? ["Mend the cause, then run it again with --reprocess failed."] : []),
      ].join("\n"),
    exitCode: failed > 0 ? exitCodes.unhealthy : exitCodes.ok,
  };
}

function wholeOf(option: string, text: string): number {
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text);
  throw usageError(`--${option} is "${text}"; give a whole number of at least 1.`);
}
