/** `partitions`: what became of each interval of a view, with the gaps. */
import type { Command } from "commander";
import { type View, viewNamed } from "../../engine/catalogue.ts";
import { endsOf, showSpan, showTime, type Span } from "../../engine/calendar/interval.ts";
import { countOf } from "../../engine/words.ts";
import { backfillLine } from "../../status/command-lines.ts";
import {
  countStates,
  failedStretch,
  intervalsWithin,
  missingSpans,
  type Partition,
  type PartitionState,
  readPartitions,
  staleStretch,
} from "../../status/partitions.ts";
import { createLedger } from "../../store/ledger.ts";
import { type Context, exitCodes, finishCommand, type JsonOption, withRedis } from "../context.ts";
import { clean, table } from "../table.ts";
import type { Paint } from "../terminal.ts";
import { underWay } from "../under-way.ts";

interface Options extends JsonOption {
  readonly from?: string;
  readonly to?: string;
}

const marks = {
  done: "█",
  running: "▶",
  stale: "▒",
  missing: "·",
  failed: "✗",
  cancelled: "○",
  blocked: "‖",
} as const satisfies Readonly<Record<PartitionState, string>>;
const colours = {
  done: "green",
  running: "bold",
  stale: "yellow",
  missing: "dim",
  failed: "red",
  cancelled: "yellow",
  blocked: "red",
} as const satisfies Readonly<Record<PartitionState, string>>;
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
        const intervals = intervalsWithin(view, options, nowMs);
        const { runs, unknown } = await underWay(settings, view);
        const partitions = await withRedis(settings, "writing", (redis) => {
          const ledger = createLedger(redis, settings);
          return readPartitions(ledger, catalogue, view, intervals, runs, nowMs);
        });
        const gaps = missingSpans(partitions);
        return {
          data: {
            view: view.name,
            counts: countStates(partitions),
            gaps,
            intervals: partitions.map(dataOf),
            knows_running: runs !== null,
          },
          text: () =>
            [
              textOf(view, partitions, gaps, context.paint),
              ...(runs === null
                ? [
                    clean(
                      `(${unknown ?? "Temporal does not answer"}, so what is running is not shown)`,
                    ),
                  ]
                : []),
            ].join("\n"),
          exitCode: partitions.every(({ state }) => state === "done")
            ? exitCodes.ok
            : exitCodes.unhealthy,
        };
      }),
    );
  finishCommand(command, ["partitions badges", "partitions badges --from 2026-01-01 --json"]);
}

function dataOf({ interval, state, rows, outcome }: Partition) {
  return {
    ...endsOf(interval),
    state,
    rows,
    seconds: secondsOf(outcome),
    reason: outcome?.reason ?? null,
  };
}

function secondsOf(outcome: Partition["outcome"]): number | null {
  return outcome === null ? null : (outcome.finishedAtMs - outcome.startedAtMs) / 1000;
}

function textOf(
  view: View,
  partitions: readonly Partition[],
  gaps: readonly Span[],
  paint: Paint,
): string {
  const strips: string[] = [];
  for (let i = 0; i < partitions.length; i += stripWidth) {
    const line = partitions.slice(i, i + stripWidth);
    const first = line[0] === undefined ? "" : showTime(endsOf(line[0].interval).start);
    strips.push(
      `${first.padEnd(20)} ${line.map(({ state }) => paint(colours[state], marks[state])).join("")}`,
    );
  }
  const touched = partitions.filter(
    ({ state, outcome }) => state !== "missing" || outcome !== null,
  );
  const shown = touched.slice(-rowsShown);
  const ended = failedStretch(partitions);
  const stale = staleStretch(partitions);
  const counts = Object.entries(countStates(partitions)).filter(([, count]) => count > 0);
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

function intervalTable(partitions: readonly Partition[], paint: Paint): string {
  return table(
    ["interval", "state", "rows", "seconds", "reason"],
    partitions.map((partition) => {
      const { start, end, state, rows, seconds, reason } = dataOf(partition);
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
