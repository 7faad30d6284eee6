/** `materialize`: starts or joins the run of a view and interval. */
import { type Command, Option } from "commander";
import { assertEnded } from "../../filling/ahead.ts";
import { scheduleOf } from "../../filling/backfill-range.ts";
import { termsOf } from "../../filling/run-terms.ts";
import { type View, viewNamed } from "../../engine/catalogue.ts";
import { OnceflowError } from "../../engine/errors.ts";
import {
  endsOf,
  interval,
  type Interval,
  parseInstant,
  showSpan,
  showTime,
  type Span,
} from "../../engine/calendar/interval.ts";
import { invocation } from "../../engine/invocation.ts";
import { intervalsBetween, isInterval, newestInterval } from "../../engine/calendar/slots.ts";
import type { MaterializeInput, MaterializeResult } from "../../workflows/contract.ts";
import {
  type Context,
  exitCodes,
  finishCommand,
  type JsonOption,
  type Reply,
  openRuns,
  usageError,
} from "../context.ts";
import { publishFields } from "../publish-text.ts";
import { cancelLine, followRun } from "../follow.ts";
import { clean, fields } from "../table.ts";
import type { Run } from "../temporal.ts";
import { materializeLine } from "../../status/command-lines.ts";
import { countOf } from "../../engine/words.ts";

interface Options extends JsonOption {
  readonly start?: string;
  readonly end?: string;
  readonly reprocess?: true;
  readonly wait: boolean;
}

/** Adds the command. */
export function addMaterialize(program: Command, context: Context): void {
  const command = program
    .command("materialize")
    .argument("<view>", "name of the feature view")
    .summary("compute a view's rows and aggregates and write them to the stores")
    .description(
      "Computes an interval of a view and writes it to the offline and the online store, on a " +
        "worker. Joins the run of the same view and interval where one is under way. What the " +
        "ledger has as committed is not computed again. The definitions are those of this build.",
    )
    .option("--start <time>", "first instant, ISO 8601 in UTC; a full refresh takes --end alone")
    .addOption(
      new Option(
        "--end <time>",
        "first instant after it, ISO 8601 in UTC (default for a full refresh: now, to the second)",
      ),
    )
    .option("--reprocess", "compute again what is committed; a run that is joined keeps its own")
    .option("--no-wait", "return once the run has started")
    .action((view: string, options: Options) =>
      context.answer(options, () => materialize(context, view, options)),
    );
  finishCommand(command, [
    "materialize absences",
    "materialize badges --start 2026-01-01 --end 2026-01-02",
  ]);
}

async function materialize(context: Context, name: string, options: Options): Promise<Reply> {
  const view = viewNamed(await context.catalogue(), name);
  return runSpan(context, view, chooseSpan(view, options, Date.now()), options);
}

/** Adds `rerun`. */
export function addRerun(program: Command, context: Context): void {
  const command = program
    .command("rerun")
    .argument("<view>", "name of a feature view with a schedule")
    .summary("compute one interval of a schedule again")
    .description(
      "Computes an interval of the view's schedule again, under a new generation, whatever became " +
        "of it before. Intervals that rest on it are stale afterwards. For many, see `backfill`.",
    )
    .option("--start <time>", "where the interval begins, ISO 8601 in UTC (default: the newest)")
    .option("--no-wait", "return once the run has started")
    .action((name: string, options: Options) =>
      context.answer(options, async () => {
        const view = viewNamed(await context.catalogue(), name);
        const span = scheduledSpan(view, options.start, Date.now());
        return runSpan(context, view, span, { ...options, reprocess: true });
      }),
    );
  finishCommand(command, ["rerun badges", "rerun badges --start 2026-01-01"]);
}

/** The interval of a schedule that begins at a time; the newest complete one without. */
function scheduledSpan(view: View, start: string | undefined, nowMs: number): Span {
  const schedule = scheduleOf(view);
  const newest = newestInterval(schedule, nowMs);
  const fromMs = start === undefined ? (newest?.startMs ?? nowMs) : parseInstant(start);
  const [found] = intervalsBetween(schedule, fromMs, newest?.endMs ?? fromMs);
  if (found?.startMs === fromMs) return endsOf(found);
  throw new OnceflowError(
    "INTERVAL_INVALID",
    `no complete interval of view "${view.name}" begins at ${start ?? "any time yet"}. See ${invocation} partitions ${view.name}.`,
    { view: view.name },
  );
}

async function runSpan(
  context: Context,
  view: View,
  span: Span,
  options: Pick<Options, "json" | "reprocess" | "wait">,
): Promise<Reply> {
  const { name } = view;
  const { workflow, ...how } = termsOf(view.schedule);
  const input: MaterializeInput = {
    view: view.name,
    ...span,
    fingerprint: view.fingerprint,
    definition: view.definition,
    ...(options.reprocess === true ? { reprocess: true } : {}),
    ...how,
  };
  const runs = await openRuns(context.settings());
  const startedAtMs = Date.now();
  const run = await runs.startMaterialize(input, workflow);
  if (!options.wait) return started(view, input, run);
  const followed = await followRun(context, runs.client, run, {
    title: `materialize ${name} ${showSpan(span)}`,
    quiet: options.json === true,
    startedAtMs,
  });
  if (followed.outcome === "interrupted")
    return { ...started(view, input, run), exitCode: exitCodes.interrupted };
  const { result, seconds } = followed;
  const { fingerprint, definition } = input;
  // A run of a backfill that was joined leaves it to that, which may go on for long.
  const published =
    result.published ??
    (await (await runs.startPublish({ view: name, fingerprint, definition })).result());
  return finished({ ...result, published }, run, seconds);
}

/**
 * The interval to materialize: as given, or the whole of a full refresh as of now. Whether it has
 * ended is asked here so that nothing is started, and by the run once more, of the clock of Redis.
 *
 * @throws INTERVAL_INVALID, and a usage error for the start of a full refresh
 */
export function chooseSpan(
  view: View,
  options: Pick<Options, "start" | "end">,
  nowMs: number,
): Span {
  const span = spanOf(view, options, nowMs);
  assertEnded(view, span, nowMs);
  return span;
}

function spanOf(view: View, { start, end }: Pick<Options, "start" | "end">, nowMs: number): Span {
  if (view.rows.isFullRefresh) {
    if (start !== undefined)
      throw usageError(
        `view "${view.name}" is a full refresh, whose interval is identified by its end alone: leave out --start.`,
      );
    const now = new Date(nowMs - (nowMs % 1000)).toISOString();
    const { schedule } = view;
    const whole = interval("1970-01-01", end ?? now);
    // An interval of its schedule is run as that, with what is upstream of it.
    const own = schedule && newestInterval(schedule, whole.endMs + schedule.offsetMs);
    return endsOf(own?.endMs === whole.endMs ? own : whole);
  }
  if (start !== undefined && end !== undefined) return spanOnGrid(view, interval(start, end));
  const { eventTime, files, name } = view.source;
  const why = eventTime === undefined ? `files "${files}"` : `event time "${eventTime}"`;
  throw new OnceflowError(
    "INTERVAL_INVALID",
    `view "${view.name}" is materialized by interval, since its source "${name}" has ${why}: give --start and --end, for example ${invocation} materialize ${view.name} --start 2026-01-01 --end 2026-01-02.`,
    { view: view.name },
  );
}

/** The span, where it is one of the view's schedule. @throws INTERVAL_INVALID */
function spanOnGrid(view: View, own: Interval): Span {
  const { schedule, name } = view;
  if (schedule !== undefined && !isInterval(schedule, own)) {
    const [other] = intervalsBetween(schedule, own.startMs, own.endMs);
    throw new OnceflowError(
      "INTERVAL_INVALID",
      `${showSpan(endsOf(own))} is no interval of the schedule of view "${name}", and committed it would stand in the way of those that are.${other === undefined ? "" : ` One is ${showSpan(endsOf(other))}.`} For several at once: ${invocation} backfill ${name} --from ${showTime(endsOf(own).start)} --to ${showTime(endsOf(own).end)}.`,
      { view: name },
    );
  }
  return endsOf(own);
}

function started(view: View, input: MaterializeInput, run: Run<unknown>): Reply {
  const { workflowId, runId } = run;
  const { name } = view;
  const { start, end, fingerprint } = input;
  return {
    data: {
      view: name,
      start,
      end,
      fingerprint,
      outcome: "started",
      workflow_id: workflowId,
      run_id: runId,
    },
    text: () =>
      [
        `started ${name} ${showSpan(input)}`,
        fields([
          ["workflow", workflowId],
          ["follow it", materializeLine(view, input)],
          ["cancel it", cancelLine(run)],
        ]),
      ].join("\n"),
  };
}

function finished(
  result: MaterializeResult,
  { workflowId, runId }: Run<unknown>,
  seconds: number,
): Reply {
  const isCovered = result.outcome === "covered";
  const rowsPerSecond = isCovered ? null : Math.round(result.rows / Math.max(seconds, 0.001));
  const { view, generation, rows, published, warnings } = result;
  return {
    data: {
      ...result,
      workflow_id: workflowId,
      run_id: runId,
      seconds,
      rows_per_second: rowsPerSecond,
    },
    text: () =>
      [
        isCovered
          ? `${view} ${showSpan(result)} was committed before, as generation ${generation}: nothing to do. Add --reprocess to compute it again.`
          : `committed ${view} ${showSpan(result)}`,
        fields([
          ["rows", `${rows}`],
          ...publishFields(published),
          ["workflow", workflowId],
          ["seconds", seconds.toFixed(1)],
          ["rows/s", rowsPerSecond === null ? undefined : `${rowsPerSecond}`],
        ]),
        ...(warnings.length === 0
          ? []
          : [
              `${countOf(warnings.length, "warning")}:`,
              ...warnings.map((warning) => `  ${clean(warning)}`),
            ]),
      ].join("\n"),
  };
}
