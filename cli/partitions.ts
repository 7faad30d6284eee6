/** `partitions`: what became of each interval of a view, with the gaps. */
import type { Command } from "commander";
import { scheduleOf } from "../activities/backfill-range.ts";
import { type View, viewNamed } from "../engine/catalogue.ts";
import type { Cell, CellState } from "../engine/grid.ts";
import { parseInstant } from "../engine/interval.ts";
import { intervalsBetween, newestInterval } from "../engine/slots.ts";
import { endsOf, readGrid } from "../store/grid.ts";
import { createLedger } from "../store/ledger.ts";
import {
  type Context,
  exitCodes,
  finishCommand,
  invocation,
  type JsonOption,
  withRedis,
} from "./context.ts";
import { clean, countOf, table } from "./table.ts";
import type { Paint } from "./terminal.ts";
import { showSpan, showTime, type Span } from "./views.ts";

interface Options extends JsonOption {
  readonly from?: string;
  readonly to?: string;
}

const marks = { done: "█", missing: "·", failed: "✗", cancelled: "○" } as const;
const colours = { done: "green", missing: "dim", failed: "red", cancelled: "yellow" } as const;
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
        "missing, failed or cancelled, with rows and durations; lists gaps with the command that " +
        "fills them. Exit code 3 where an interval is not done.",
    )
    .option("--from <time>", "the first interval, ISO 8601 in UTC (default: the schedule's start)")
    .option("--to <time>", "the end of the last (default: the newest complete interval)")
    .action((name: string, options: Options) =>
      context.answer(options, async () => {
        const view = viewNamed(await context.catalogue(), name);
        const settings = context.settings();
        const intervals = intervalsOf(view, options, Date.now());
        const cells = await withRedis(settings, "writing", (redis) =>
          readGrid(createLedger(redis, settings), view, intervals),
        );
        const gaps = gapsOf(cells);
        return {
          data: { view: view.name, counts: countsOf(cells), gaps, intervals: cells.map(dataOf) },
          text: () => textOf(view, cells, gaps, context.paint),
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

function countsOf(cells: readonly Cell[]): Readonly<Record<CellState, number>> {
  const counts = { done: 0, missing: 0, failed: 0, cancelled: 0 };
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
  const counts = Object.entries(countsOf(cells)).filter(([, count]) => count > 0);
  return [
    `${view.name}: ${counts.map(([state, count]) => `${count} ${state}`).join(", ") || "no interval is complete yet"}`,
    ...strips,
    ...(strips.length > 0 ? [paint("dim", "█ done  · missing  ✗ failed  ○ cancelled")] : []),
    ...(shown.length > 0 ? ["", intervalTable(shown, paint)] : []),
    ...(touched.length > shown.length
      ? [
          `(the newest ${shown.length} of ${countOf(touched.length, "interval")}; --from, --to or --json show others)`,
        ]
      : []),
    ...(gaps.length > 0 ? ["", countOf(gaps.length, "gap")] : []),
    ...gaps.map(
      (gap) =>
        `  ${showSpan(gap)}  fix: ${invocation} backfill ${view.name} --from ${showTime(gap.start)} --to ${showTime(gap.end)}`,
    ),
  ].join("\n");
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
