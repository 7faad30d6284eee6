/** The state of a view as text. */
import { clean, fields, indent, table } from "./table.ts";
import type { Paint } from "./terminal.ts";
import type { ViewStatus } from "../status/view-status.ts";
import { showSpan, showTime } from "../engine/calendar/interval.ts";
import { countOf } from "../engine/words.ts";
import { formatSpan } from "../engine/calendar/duration.ts";

const underWayShown = 5;

/** One view: its judgement, then what it rests on. */
export function statusText(status: ViewStatus, paint: Paint): string {
  const { problems, notes, head, freshness_seconds: freshness, snapshot, online } = status;
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
        "head",
        head === null
          ? "none"
          : `${showTime(head.end)}, generation ${head.generation}, ${formatSpan(freshness ?? 0)} ago`,
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
    underWayText(status, paint),
    runsText(status, paint),
  ];
  const [first = "", ...rest] = parts.filter((part) => part !== "");
  return [first, ...rest.map((part) => (part.startsWith("  ") ? part : indent(part)))].join("\n");
}

function intervalsText({ intervals, full_refresh }: ViewStatus, paint: Paint): string {
  const { count, rows, newest, gaps } = intervals;
  if (count === 0) return "";
  // The intervals of a full refresh replace each other, so their rows do not add up.
  const lines = [
    `committed: ${countOf(count, "interval")}${full_refresh ? "" : `, ${countOf(rows, "row")}`}`,
    indent(
      table(
        ["interval", "rows", "generation"],
        newest.map((span) => [showSpan(span), `${span.rows}`, `${span.generation}`]),
        paint,
      ),
    ),
  ];
  if (count > newest.length) lines.push(`  and ${count - newest.length} older`);
  if (gaps.length > 0)
    lines.push(
      `gaps: ${gaps.slice(0, 5).map(showSpan).join(", ")}${gaps.length > 5 ? ` and ${gaps.length - 5} more` : ""}`,
    );
  return lines.join("\n");
}

function underWayText({ under_way: runs }: ViewStatus, paint: Paint): string {
  if (runs === null) return "under way: not known, Temporal does not answer";
  if (runs.length === 0) return "";
  const rows = runs
    .slice(0, underWayShown)
    .map((run) => [
      clean(run.interval ?? ""),
      formatSpan(run.seconds),
      clean(run.retrying ?? ""),
      clean(run.workflow_id),
    ]);
  return [
    `under way: ${countOf(runs.length, "run")}`,
    indent(table(["interval", "for", "tried again", "workflow"], rows, paint)),
  ].join("\n");
}

function runsText({ runs }: ViewStatus, paint: Paint): string {
  if (runs.length === 0) return "";
  const rows = runs.map((run) => [
    run.outcome === "failed" ? paint("red", run.outcome) : run.outcome,
    showSpan(run.interval),
    run.rows === null ? "" : `${run.rows}`,
    `${run.seconds.toFixed(1)} s`,
    showTime(run.started_at.replace(/\.\d+Z$/, "Z")),
    run.run_id,
  ]);
  return `last runs:\n${indent(
    table(["outcome", "interval", "rows", "took", "started", "run id"], rows, paint),
  )}`;
}
