/** `partitions`: what became of each interval of a view, with the gaps. */
import type { Command } from "commander";
import { scheduleOf } from "../../filling/backfill-range.ts";
import { type View, viewNamed } from "../../engine/catalogue.ts";
import type { Cell as LedgerCell, CellState } from "../../engine/calendar/grid.ts";
import { endsOf, parseInstant, type Span } from "../../engine/calendar/interval.ts";
import { intervalsBetween, newestInterval } from "../../engine/calendar/slots.ts";
import { readGrid } from "../../status/grid.ts";
import { createLedger } from "../../store/ledger.ts";
import { type Context, exitCodes, finishCommand, type JsonOption, withRedis } from "../context.ts";
import { clean, table } from "../table.ts";
import { underWay } from "../under-way.ts";
import type { Paint } from "../terminal.ts";
import { backfillLine, showSpan, showTime } from "../../status/views.ts";
import { countOf } from "../../engine/words.ts";
import { type RunLine, withoutEnded } from "../../status/under-way.ts";

interface Options extends JsonOption {
  readonly from?: string;
  readonly to?: string;
}

/** A cell of the ledger, or one whose run is under way. */
type Cell = Omit<LedgerCell, "state"> & { readonly state: State };
type State = CellState | "running";

const marks = {
  done: "█",
  running: "▶",
  stale: "▒",
  missing: "·",
  failed: "✗",
  cancelled: "○",
  blocked: "‖",
} as const satisfies Readonly<Record<State, string>>;
const colours = {
  done: "green",
  running: "bold",
  stale: "yellow",
  missing: "dim",
  failed: "red",
  cancelled: "yellow",
  blocked: "red",
} as const satisfies Readonly<Record<State, string>>;
const endedBadly: readonly State[] = ["failed", "cancelled", "blocked"];
const stripWidth = 60;
const rowsShown = 40;

/** Adds the command. */
export function addPartitions(program: Command, context: Context): void {
  const command = program
    .command("partitions")
    .argument("<view>", "name of a feature view with a schedule")
    .summary("show what became of each interval of a view")
    .description(
      "Draws the intervals of a view's schedule, from its start to the newest complete one: done, " +
        "running, missing, failed, cancelled, stale (a view that comes first was computed again " +
        "since) or blocked (by one that failed), with rows and durations; lists gaps with the " +
        "command that fills them. Exit code 3 where an interval is not done.",
    )
    .option("--from <time>", "the first interval, ISO 8601 in UTC (default: the schedule's start)")
    .option("--to <time>", "the end of the last (default: the newest complete interval)")
    .action((name: string, options: Options) =>
      context.answer(options, async () => {
        const catalogue = await context.catalogue();
        const view = viewNamed(catalogue, name);
        const settings = context.settings();
        const nowMs = Date.now();
        const intervals = intervalsOf(view, options, nowMs);
        const listed = await underWay(settings, view);
        const known = await withRedis(settings, "writing", (redis) =>
          readGrid(createLedger(redis, settings), catalogue, view, intervals),
        );
        const ended = known.flatMap(({ outcome }) => outcome ?? []);
        const runs = listed && withoutEnded(listed, ended, nowMs);
        const cells = known.map((cell) => (isRunning(view, cell, runs) ? running(cell) : cell));
        const gaps = gapsOf(cells);
        return {
          data: {
            view: view.name,
            counts: countsOf(cells),
            gaps,
            intervals: cells.map(dataOf),
            knows_running: runs !== null,
          },
          text: () =>
            [
              textOf(view, cells, gaps, context.paint),
              ...(runs === null
                ? [`(Temporal does not answer, so what is running is not shown)`]
                : []),
            ].join("\n"),
          exitCode: cells.every(({ state }) => state === "done")
            ? exitCodes.ok
            : exitCodes.unhealthy,
        };
      }),
    );
  finishCommand(command, ["partitions badges", "partitions badges --from 2026-01-01 --json"]);
}

function intervalsOf(view: View, { from, to }: Options, nowMs: number) {
  const schedule = scheduleOf(view);
  const newestMs = newestInterval(schedule, nowMs)?.endMs ?? schedule.startMs;
  const fromMs = from === undefined ? schedule.startMs : parseInstant(from);
  const toMs = to === undefined ? newestMs : Math.min(parseInstant(to), newestMs);
  return intervalsBetween(schedule, fromMs, toMs);
}

/** Whether a run of the interval by these definitions is under way. */
function isRunning(view: View, { interval }: LedgerCell, runs: readonly RunLine[] | null): boolean {
  const { end } = endsOf(interval);
  return (runs ?? []).some(
    (run) =>
      endsOf(run.interval ?? "").end === end && run.workflow_id.endsWith(`/${view.runFingerprint}`),
  );
}

function running(cell: LedgerCell): Cell {
  return { ...cell, state: "running", outcome: null };
}

/** Spans of neighbouring intervals that were never committed. */
function gapsOf(cells: readonly Cell[]): Span[] {
  const gaps: Span[] = [];
  for (const [i, { state, interval }] of cells.entries()) {
    if (state !== "missing") continue;
    const { start, end } = endsOf(interval);
    const before = cells[i - 1]?.state === "missing" ? gaps.pop() : undefined;
    gaps.push({ start: before?.start ?? start, end });
  }
  return gaps;
}

function countsOf(cells: readonly Cell[]): Readonly<Record<State, number>> {
  const counts = { done: 0, running: 0, stale: 0, missing: 0, failed: 0, cancelled: 0, blocked: 0 };
  for (const { state } of cells) counts[state]++;
  return counts;
}

function dataOf({ interval, state, rows, outcome }: Cell) {
  return {
    ...endsOf(interval),
    state,
    rows,
    seconds: secondsOf(outcome),
    reason: outcome?.reason ?? null,
  };
}

function secondsOf(outcome: Cell["outcome"]): number | null {
  return outcome === null ? null : (outcome.finishedAtMs - outcome.startedAtMs) / 1000;
}

function textOf(view: View, cells: readonly Cell[], gaps: readonly Span[], paint: Paint): string {
  const strips: string[] = [];
  for (let i = 0; i < cells.length; i += stripWidth) {
    const line = cells.slice(i, i + stripWidth);
    const first = line[0] === undefined ? "" : showTime(endsOf(line[0].interval).start);
    strips.push(
      `${first.padEnd(20)} ${line.map(({ state }) => paint(colours[state], marks[state])).join("")}`,
    );
  }
  const touched = cells.filter(({ state, outcome }) => state !== "missing" || outcome !== null);
  const shown = touched.slice(-rowsShown);
  const ended = stretchOf(cells, (state) => endedBadly.includes(state));
  const stale = stretchOf(cells, (state) => state === "stale");
  const counts = Object.entries(countsOf(cells)).filter(([, count]) => count > 0);
  return [
    `${view.name}: ${counts.map(([state, count]) => `${count} ${state}`).join(", ") || "no interval is complete yet"}`,
    ...strips,
    ...(strips.length > 0
      ? [
          paint(
            "dim",
            Object.entries(marks)
              .map(([state, mark]) => `${mark} ${state}`)
              .join("  "),
          ),
        ]
      : []),
    ...(shown.length > 0 ? ["", intervalTable(shown, paint)] : []),
    ...(touched.length > shown.length
      ? [
          `(the newest ${shown.length} of ${countOf(touched.length, "interval")}; --from, --to or --json show others)`,
        ]
      : []),
    ...(gaps.length > 0 ? ["", countOf(gaps.length, "gap")] : []),
    ...gaps.map((gap) => `  ${showSpan(gap)}  fix: ${backfillLine(view.name, gap)}`),
    ...(ended === undefined
      ? []
      : [
          "",
          `failed, cancelled or blocked  fix: ${backfillLine(view.name, ended)} --reprocess failed`,
        ]),
    ...(stale === undefined
      ? []
      : ["", `stale  fix: ${backfillLine(view.name, stale)} --reprocess stale`]),
  ].join("\n");
}

/** From the first interval of a state to the last. */
function stretchOf(cells: readonly Cell[], is: (state: State) => boolean): Span | undefined {
  const found = cells.filter(({ state }) => is(state));
  const [first, last] = [found[0], found.at(-1)];
  if (first === undefined || last === undefined) return undefined;
  return { start: endsOf(first.interval).start, end: endsOf(last.interval).end };
}

function intervalTable(cells: readonly Cell[], paint: Paint): string {
  return table(
    ["interval", "state", "rows", "seconds", "reason"],
    cells.map((cell) => {
      const { start, end, state, rows, seconds, reason } = dataOf(cell);
      return [
        showSpan({ start, end }),
        paint(colours[state], state),
        rows === null ? "" : `${rows}`,
        seconds === null ? "" : seconds.toFixed(1),
        clean(reason ?? ""),
      ];
    }),
    paint,
  );
}
