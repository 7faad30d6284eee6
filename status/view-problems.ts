/** What is wrong with a view, judged from what the stores say of it. */
import type { View } from "../engine/catalogue.ts";
import type { Cell, CellState } from "../engine/calendar/grid.ts";
import {
  contains,
  endsOf,
  formatInterval,
  type Interval,
  interval as intervalOf,
  parseInterval,
  showSpan,
  showTime,
  type Span,
} from "../engine/calendar/interval.ts";
import { publishableOf } from "../engine/calendar/publishable.ts";
import { invocation } from "../engine/invocation.ts";
import { isInterval } from "../engine/calendar/slots.ts";
import type { LatestSnapshot, LedgerEntry, RunRecord, StoredStates } from "../store/ledger.ts";
import type { NamespaceReport } from "../store/namespace.ts";
import { judgeChanged, notesOutside } from "./changed-files.ts";
import {
  backfillLine,
  chainOf,
  fillLines,
  materializeLine,
  publishLine,
  resetLine,
  stretchLine,
} from "./command-lines.ts";
import type { Finding, Judgement } from "./findings.ts";
import { judgeLacking, type LostIntervals } from "./lost-intervals.ts";
import { countOf } from "../engine/words.ts";
import { formatSpan } from "../engine/calendar/duration.ts";

/** Intervals that lie between others and are covered by none; and where two overlap. */
export function holesOf(covered: readonly string[]): {
  readonly gaps: readonly Span[];
  readonly overlaps: readonly Span[];
} {
  const intervals = covered
    .map(parseInterval)
    .sort((a, b) => a.startMs - b.startMs || a.endMs - b.endMs);
  const gaps: Span[] = [];
  const overlaps: Span[] = [];
  let endMs = intervals[0]?.startMs ?? 0;
  for (const interval of intervals) {
    if (interval.startMs > endMs) gaps.push(endsOf({ startMs: endMs, endMs: interval.startMs }));
    if (interval.startMs < endMs)
      overlaps.push(endsOf({ startMs: interval.startMs, endMs: Math.min(endMs, interval.endMs) }));
    endMs = Math.max(endMs, interval.endMs);
  }
  return { gaps, overlaps };
}

/** What the stores say of a view. */
export interface ViewFacts {
  /** What Redis itself says that it lost. */
  readonly lost: readonly Finding[];
  /** Empty also where it is lost. */
  readonly coverage: LedgerEntry["coverage"];
  /** Of the coverage; none of a full refresh, whose intervals replace each other. */
  readonly holes: ReturnType<typeof holesOf>;
  /** Beside the offline store; null where the coverage is lost. */
  readonly lacking: LostIntervals | null;
  /** Committed intervals that would be made of other files now. */
  readonly changed: readonly Interval[];
  readonly states: StoredStates["states"];
  readonly published: LedgerEntry["published"];
  /** From the end of what is published to now. */
  readonly freshnessSeconds: number | null;
  readonly latest: LatestSnapshot | null;
  /** Of the rows in the online store; null where it has no namespace of them. */
  readonly report: NamespaceReport | null;
  /** The grid of a view that rests on others; else empty. */
  readonly cells: readonly Cell[];
  /** Of these definitions, the newest first. */
  readonly runs: readonly RunRecord[];
}

/** Gaps, and failed intervals, that have a line of their own. */
const shownAlone = 3;
/** A bucket with more rows than this is no longer a compact hash. */
const crowdedBucket = 512;

/** What is wrong with a view, what deserves a look, and what mends it. */
export function judgeView(
  view: View,
  facts: ViewFacts,
  offlineDir: string,
  nowMs: number,
): Judgement {
  const { lost, coverage, lacking } = facts;
  const isEmpty = coverage.size === 0;
  const losses =
    lacking === null
      ? { problems: [], notes: [] }
      : judgeLacking(view, lacking, isEmpty, offlineDir, nowMs);
  const changes = judgeChanged(view, facts.changed, coverage);
  return {
    problems: [
      ...lost,
      ...losses.problems,
      ...changes.problems,
      ...gapsOf(view, facts),
      ...overlapsOf(view, facts),
      ...lostRows(view, facts),
      ...unpublishedOf(view, facts),
      ...unmergedOf(view, facts),
      ...failuresOf(view, facts),
      ...dependenceOf(view, facts),
    ],
    notes: [...losses.notes, ...changes.notes, ...notesOutside(coverage), ...notesOf(view, facts)],
  };
}

/** Why a run failed, as it was recorded. */
export function reasonOf({ reason }: RunRecord): string | null {
  return typeof reason === "string" ? reason : null;
}

function notesOf({ name, ttlSeconds }: View, { freshnessSeconds, report }: ViewFacts): string[] {
  const notes: string[] = [];
  if (freshnessSeconds !== null && ttlSeconds !== undefined && freshnessSeconds > ttlSeconds)
    notes.push(
      `what is served ends ${formatSpan(freshnessSeconds)} ago, beyond the TTL of ${formatSpan(ttlSeconds)}: every stored value is OUTSIDE_MAX_AGE`,
    );
  if (report !== null && report.largestBucket > crowdedBucket)
    notes.push(
      `the fullest bucket holds ${report.largestBucket} rows, which costs memory: \`${resetLine(name)}\` and materializing again chooses more buckets`,
    );
  return notes;
}

/** Gaps between committed intervals, but for what is known to have been committed. */
function gapsOf(view: View, { coverage, holes, lacking }: ViewFacts): Finding[] {
  const lost = (lacking?.intervals ?? []).map(formatInterval);
  const gaps =
    lost.length === 0
      ? holes.gaps
      : holesOf([...coverage.keys(), ...lost]).gaps.filter((gap) =>
          holes.gaps.some((wider) => contains(rangeOf(wider), rangeOf(gap))),
        );
  return firstOf(view, gaps, {
    problem: (gap) =>
      `nothing is committed for ${showSpan(gap)}, which lies between committed intervals`,
    fix: (gap) => stretchLine(view, gap),
    more: (count) => `${countOf(count, "more gap")} between committed intervals`,
  });
}

/** A line for each of the first of a kind, and one for all others. */
function firstOf<T>(
  view: View,
  found: readonly T[],
  words: {
    readonly problem: (one: T) => string;
    readonly fix: (one: T) => string;
    readonly more: (count: number) => string;
  },
): Finding[] {
  const findings = found
    .slice(0, shownAlone)
    .map((one): Finding => ({ problem: words.problem(one), fix: words.fix(one) }));
  const others = found.slice(shownAlone);
  if (others.length === 0) return findings;
  const { fix, rest } = chainOf(view.name, others.map(words.fix));
  return [...findings, { problem: `${words.more(others.length)}${rest}`, fix }];
}

function rangeOf({ start, end }: Span) {
  return intervalOf(start, end);
}

function overlapsOf({ name, aggregates }: View, { holes: { overlaps } }: ViewFacts): Finding[] {
  const [first] = overlaps;
  if (first === undefined || aggregates.length === 0) return [];
  return [
    {
      problem: `committed intervals overlap, first in ${showSpan(first)}: aggregates count those rows twice. After the reset, materialize intervals that do not overlap`,
      fix: resetLine(name),
    },
  ];
}

/** Entities that are no longer in the online store. */
function lostRows({ name }: View, { published, report }: ViewFacts): Finding[] {
  if (published === null) return [];
  const after =
    "rows are lost. A worker puts them back from the offline store by itself; the fix does so at once";
  const fix = `${publishLine(name)} --whole`;
  if (report === null) return [{ problem: `its table is gone: ${after}`, fix }];
  const { buckets, missing, foreign, behind } = report;
  const counts = [
    [missing, "missing"],
    [foreign, "of another epoch"],
    [behind, "older than the last publish"],
  ] as const;
  return counts
    .filter(([count]) => count > 0)
    .map(([count, what]) => ({
      problem: `${count} of ${countOf(buckets, "bucket")} ${count === 1 ? "is" : "are"} ${what}: ${after}`,
      fix,
    }));
}

/** What is committed and not served. */
function unpublishedOf(view: View, { coverage, published, lacking }: ViewFacts): Finding[] {
  const { name } = view;
  if (published?.frozen != null)
    return [
      {
        problem: `what is served is frozen at ${iso(published.endMs)} (${published.frozen}): no run moves it`,
        fix: `${publishLine(name)} --resume`,
      },
    ];
  // What puts back the rest of what is committed publishes it too.
  if (lacking !== null && (lacking.intervals.length > 0 || lacking.isBehind)) return [];
  const { endMs, gap } = publishableOf(view, [...coverage.keys()].map(parseInterval));
  if (endMs !== null && published === null)
    return [
      { problem: "intervals are committed, and nothing is published yet", fix: publishLine(name) },
    ];
  if (endMs !== null && published !== null && endMs !== published.endMs)
    return [
      {
        problem: `what is committed may be served up to ${iso(endMs)}, and is up to ${iso(published.endMs)}`,
        fix: publishLine(name),
      },
    ];
  if (gap === null || view.gaps === "serve") return [];
  const held = [...coverage.keys()].filter(
    (each) => parseInterval(each).endMs > (endMs ?? -Infinity),
  );
  return [
    {
      problem: `${countOf(held.length, "committed interval")} not served yet: ${showSpan(endsOf(gap))} comes before and is missing, and the view has gaps: "hold"`,
      fix: stretchLine(view, endsOf(gap)),
    },
  ];
}

function iso(ms: number): string {
  return showTime(new Date(ms).toISOString());
}

/** Why a view with aggregates has rows but no snapshot. */
function unmergedOf(view: View, { coverage, states, latest }: ViewFacts): Finding[] {
  if (latest !== null || view.aggregates.length === 0 || coverage.size === 0) return [];
  // Of a full refresh only the newest interval counts.
  const covered = [...coverage.keys()].sort();
  const counted = view.rows.isFullRefresh ? covered.slice(-1) : covered;
  const lacking = counted.filter((interval) =>
    view.aggregates.some(({ fingerprint }) => !states.get(fingerprint)?.has(interval)),
  );
  if (lacking.length === 0)
    return [
      {
        problem: "no aggregate snapshot is there, though every interval has its states",
        fix: `${publishLine(view.name)} --whole`,
      },
    ];
  const { fix, rest } = chainOf(view.name, fillLines(view, lacking.map(parseInterval)));
  return [
    {
      problem: `${countOf(lacking.length, "committed interval")} of ${counted.length} lack the states of an aggregate, so there is no snapshot and features that rest on it have no value${rest}`,
      fix,
    },
  ];
}

/** Intervals whose newest run failed; of a full refresh only the newest run counts. */
function failuresOf(view: View, { coverage, runs }: ViewFacts): Finding[] {
  const newest = new Map<string, RunRecord>();
  for (const run of view.rows.isFullRefresh ? runs.slice(0, 1) : runs)
    if (!newest.has(run.interval)) newest.set(run.interval, run);
  const failed = [...newest.values()].filter(
    (run) => run.outcome === "failed" && canPass(view, run),
  );
  // One that had been committed before is not run again by itself.
  const lineOf = ({ interval }: RunRecord) =>
    `${materializeLine(view, endsOf(interval))}${coverage.has(interval) ? " --reprocess" : ""}`;
  return firstOf(view, failed, {
    problem: (run) =>
      `the last run of ${showSpan(endsOf(run.interval))} failed: ${reasonOf(run) ?? "no reason was recorded"}`,
    fix: lineOf,
    more: (count) => `the last runs of ${countOf(count, "more interval")} failed`,
  });
}

/** Whether the interval could be committed at all: off the grid of a schedule none can. */
function canPass({ schedule, rows }: View, { interval }: RunRecord): boolean {
  if (schedule === undefined || rows.isFullRefresh) return true;
  return isInterval(schedule, parseInterval(interval));
}

/** Intervals that are blocked by what is upstream, or rest on what was computed again since. */
function dependenceOf({ name }: View, { cells }: ViewFacts): Finding[] {
  const found = (state: CellState) => cells.filter((cell) => cell.state === state);
  const [blocked, stale] = [found("blocked"), found("stale")];
  const [first, last] = [stale[0], stale.at(-1)];
  return [
    ...(blocked[0] === undefined
      ? []
      : [
          {
            problem: `${countOf(blocked.length, "interval")} blocked: ${blocked[0].outcome?.reason ?? "a view that comes first failed"}. They start by themselves once what comes first is mended and run; the fix shows which they are`,
            fix: `${invocation} partitions ${name}`,
          },
        ]),
    ...(first === undefined || last === undefined
      ? []
      : [
          {
            problem: `${countOf(stale.length, "interval")} stale: a view that comes first was computed again since`,
            fix: `${backfillLine(name, { start: endsOf(first.interval).start, end: endsOf(last.interval).end })} --reprocess stale`,
          },
        ]),
  ];
}
