/** The state of a view as text. */
import { clean, fields, indent, table } from "./table.ts";
import type { Paint } from "./terminal.ts";
import type { ViewStatus } from "../status/view-status.ts";
import { showSpan, showTime } from "../engine/calendar/interval.ts";
import { countOf } from "../engine/words.ts";
import { invocation } from "../engine/invocation.ts";
import { troubleOf } from "./life.ts";
import { formatSpan } from "../engine/calendar/duration.ts";

const intervalsShown = 20;
const gapsShown = 5;
const underWayShown = 5;
const runsShown = 5;

/** Says how many of a list are left out, and what shows them; nothing where none is. */
function moreOf(view: string, all: number, shown: number, what = "more"): string {
  return all > shown ? `and ${all - shown} ${what}: ${invocation} status ${view} --json` : "";
}

/**
 * One view: its judgement, then what it rests on.
 *
 * @param unknown - why runs under way are not known; null where they are
 */
export function statusText(status: ViewStatus, unknown: string | null, paint: Paint): string {
  const { problems, notes, published, freshness_seconds: freshness, snapshot, online } = status;
  const verdict =
    problems.length === 0
      ? paint("green", "healthy")
      : paint("red", countOf(problems.length, "problem"));
  const parts = [
    `${paint("bold", status.view)}  ${verdict}`,
    ...problems.map(
      ({ problem, fix }) =>
        `${paint("red", "✗")} ${clean(problem)}${fix === null ? "" : `\n    fix: ${clean(fix)}`}`,
    ),
    ...notes.map((note) => `${paint("yellow", "!")} ${clean(note)}`),
    fields([
      ["fingerprint", status.fingerprint],
      [
        "published",
        published === null
          ? "nothing"
          : `up to ${showTime(published.end)}, ${formatSpan(freshness ?? 0)} ago, as publish ${published.generation}${published.covered ? "" : "; intervals before that are missing"}`,
      ],
      ["ttl", status.ttl_seconds === null ? "none" : formatSpan(status.ttl_seconds)],
      ["snapshot", snapshot === null ? "none" : `${snapshot.id} as of ${showTime(snapshot.as_of)}`],
      ...Object.entries(snapshot?.values ?? {}).map(
        ([name, value]) => [`  ${name}`, clean(JSON.stringify(value))] as const,
      ),
      [
        "online",
        online === null
          ? "no namespace"
          : `${countOf(online.rows, "row")} in ${online.present} of ${countOf(online.buckets, "bucket")}`,
      ],
      ...status.old_namespaces.map(
        ({ fingerprint, buckets, rows }) =>
          [
            "kept",
            `${countOf(rows, "row")} in ${countOf(buckets, "bucket")} under the older ${fingerprint}`,
          ] as const,
      ),
    ]),
    intervalsText(status, paint),
    underWayText(status, unknown, paint),
    runsText(status, paint),
  ];
  const [first = "", ...rest] = parts.filter((part) => part !== "");
  return [first, ...rest.map((part) => (part.startsWith("  ") ? part : indent(part)))].join("\n");
}

function intervalsText({ view, intervals, full_refresh }: ViewStatus, paint: Paint): string {
  const { count, rows, newest, gaps } = intervals;
  if (count === 0) return "";
  // The intervals of a full refresh replace each other, so their rows do not add up.
  const lines = [
    `committed: ${countOf(count, "interval")}${full_refresh ? "" : `, ${countOf(rows, "row")}`}`,
    indent(
      table(
        ["interval", "rows", "generation"],
        newest
          .slice(0, intervalsShown)
          .map((span) => [showSpan(span), `${span.rows}`, `${span.generation}`]),
        paint,
      ),
    ),
  ];
  const older = moreOf(view, count, intervalsShown, "older");
  if (older !== "") lines.push(`  ${older}`);
  if (gaps.length > 0) {
    const shown = gaps.slice(0, gapsShown).map(showSpan).join(", ");
    lines.push(`gaps: ${shown} ${moreOf(view, gaps.length, gapsShown)}`.trimEnd());
  }
  return lines.join("\n");
}

function underWayText(
  { view, under_way: runs }: ViewStatus,
  unknown: string | null,
  paint: Paint,
): string {
  if (runs === null) return `under way: not known, ${clean(unknown ?? "Temporal does not answer")}`;
  if (runs.length === 0) return "";
  const nowMs = Date.now();
  const rows = runs
    .slice(0, underWayShown)
    .map((run) => [
      clean(run.interval ?? ""),
      formatSpan(run.seconds),
      troubleOf(run, nowMs) ?? "",
      clean(run.workflow_id),
    ]);
  return [
    `under way: ${countOf(runs.length, "run")}`,
    indent(table(["interval", "for", "trouble", "workflow"], rows, paint)),
    indent(moreOf(view, runs.length, underWayShown)),
  ]
    .filter((line) => line !== "")
    .join("\n");
}

function runsText({ view, runs }: ViewStatus, paint: Paint): string {
  if (runs.length === 0) return "";
  const rows = runs
    .slice(0, runsShown)
    .map((run) => [
      run.outcome === "failed" ? paint("red", run.outcome) : run.outcome,
      showSpan(run.interval),
      run.rows === null ? "" : `${run.rows}`,
      `${run.seconds.toFixed(1)} s`,
      showTime(run.started_at.replace(/\.\d+Z$/, "Z")),
      run.run_id,
    ]);
  const lines = [
    table(["outcome", "interval", "rows", "took", "started", "run id"], rows, paint),
    moreOf(view, runs.length, runsShown, "older"),
  ];
  return `last runs:\n${indent(lines.filter((line) => line !== "").join("\n"))}`;
}
