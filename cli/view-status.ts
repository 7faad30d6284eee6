/** The state of one view in the stores, as data. */
import { isFullRefresh } from "../engine/definitions.ts";
import type { Catalogue, View } from "../engine/catalogue.ts";
import { OnceflowError } from "../engine/errors.ts";
import { fingerprintOf } from "../engine/fingerprint.ts";
import { endsOf, parseInterval, type Span } from "../engine/interval.ts";
import type { CellState } from "../engine/grid.ts";
import { invocation } from "../engine/invocation.ts";
import type { AggregateNode } from "../engine/node.ts";
import { intervalsBetween, isInterval, newestInterval } from "../engine/slots.ts";
import { decodeSnapshot } from "../engine/snapshot.ts";
import { type Json, toJson } from "../engine/wire.ts";
import type { Ledger, LedgerEntry, RunRecord, StoredStates } from "../store/ledger.ts";
import type { NamespaceReport } from "../store/namespace.ts";
import type { OnlineStore } from "../store/online-store.ts";
import { readGrid } from "../store/grid.ts";
import type { RunLine } from "./runs.ts";
import { emptyView } from "./empty-view.ts";
import { countOf, formatSpan } from "./table.ts";
import { backfillLine, holesOf, showSpan, spanOptions } from "./views.ts";

/** What is wrong, and the command or act that mends it. */
export interface Finding {
  readonly problem: string;
  readonly fix: string;
}

/** A committed interval. */
export interface CoveredSpan extends Span {
  readonly rows: number;
  readonly generation: number;
}

/** A run from the run log. */
export interface RunSummary {
  readonly run_id: string;
  readonly interval: Span;
  readonly outcome: string;
  readonly started_at: string;
  readonly seconds: number;
  readonly rows: number | null;
  /** Why it failed. */
  readonly reason: string | null;
}

/** What the stores hold of a view for this build. */
export interface ViewStatus {
  readonly view: string;
  readonly fingerprint: string;
  readonly full_refresh: boolean;
  /** Anything here makes the exit code 3. */
  readonly problems: readonly Finding[];
  /** What deserves a look. */
  readonly notes: readonly string[];
  readonly intervals: {
    readonly count: number;
    readonly rows: number;
    /** By their end, at most 20. */
    readonly newest: readonly CoveredSpan[];
    readonly gaps: readonly Span[];
  };
  /** End and generation of the newest interval committed. */
  readonly head: { readonly end: string; readonly generation: number } | null;
  /** From the end of the newest interval to now, in seconds. */
  readonly freshness_seconds: number | null;
  readonly ttl_seconds: number | null;
  readonly snapshot: {
    readonly id: string;
    readonly as_of: string;
    /** By feature; an aggregate without a name by its formula. */
    readonly values: Readonly<Record<string, Json>>;
  } | null;
  /** Buckets and rows in the online store; tombstones and replaced entities are among the rows. */
  readonly online: Omit<NamespaceReport, "memoryBytes"> | null;
  /** Namespaces of other definitions, kept for roll-back. */
  readonly old_namespaces: readonly {
    readonly fingerprint: string;
    readonly buckets: number;
    readonly rows: number;
  }[];
  /** The newest first, at most 5. */
  readonly runs: readonly RunSummary[];
  /** What Temporal runs of it now; null where it does not answer. */
  readonly under_way: readonly RunLine[] | null;
}

const newestShown = 20;
const gapsInProblems = 3;
const runsShown = 5;
/** Runs among which failures are looked for. */
const runsRead = 200;
/** A bucket with more rows than this is no longer a compact hash. */
const crowdedBucket = 512;

/** Reads the state of a view and judges it. @throws STORE_UNAVAILABLE, OFFLINE_UNAVAILABLE */
export async function inspectView(
  view: View,
  {
    ledger,
    online,
    catalogue,
    offlineDir,
  }: {
    readonly ledger: Ledger;
    readonly online: OnlineStore;
    readonly catalogue: Catalogue;
    /** Root of the offline store; asked where Redis has nothing of the view. */
    readonly offlineDir: string;
  },
  underWay: readonly RunLine[] | null,
  nowMs: number,
): Promise<ViewStatus> {
  const { name, fingerprint } = view;
  const problems: Finding[] = [];
  const notes: string[] = [];
  /** What a store that lost something can still tell. */
  const orLost = async <T>(work: Promise<T>): Promise<T | null> => {
    try {
      return await work;
    } catch (error) {
      if (!(error instanceof OnceflowError) || error.code !== "STORE_LOST") throw error;
      problems.push({ problem: error.message, fix: resetFix(name) });
      return null;
    }
  };

  const entry = await orLost(ledger.readLedger(name, fingerprint));
  const coverage = entry?.coverage ?? new Map<string, never>();
  const request = { view: name, fingerprint, setFingerprint: view.aggregatesFingerprint };
  const [states, pointers, records, namespaces] = await Promise.all([
    ledger.readStates(
      name,
      view.aggregates.map((aggregate) => aggregate.fingerprint),
    ),
    orLost(ledger.readPointers([request])),
    ledger.readRuns(name, runsRead),
    orLost(online.listNamespaces(name)),
  ]);
  const latest = pointers?.[0]?.latest ?? null;
  const head = entry?.head ?? null;
  const own = entry?.namespace ?? null;
  const report = own === null ? null : await online.verifyNamespace(own, { head });
  const old = [];
  for (const namespace of namespaces ?? []) {
    if (namespace.fingerprint === fingerprint) continue;
    const { buckets, rows } = await online.verifyNamespace(namespace);
    old.push({ fingerprint: namespace.fingerprint, buckets, rows });
  }
  const runs = records.filter((record) => record.fingerprint === fingerprint);

  const covered = [...coverage]
    .map(([interval, { rows, generation }]) => ({ ...endsOf(interval), rows, generation }))
    .sort((a, b) => (a.end < b.end || (a.end === b.end && a.start < b.start) ? 1 : -1));
  const holes = isFullRefresh(view.source)
    ? { gaps: [], overlaps: [] }
    : holesOf([...coverage.keys()]);
  const freshness = head === null ? null : Math.max(0, nowMs - head.endMs) / 1000;

  if (entry !== null && coverage.size === 0)
    problems.push(await emptyView(view, offlineDir, nowMs));
  for (const gap of holes.gaps.slice(0, gapsInProblems))
    problems.push({
      problem: `nothing is committed for ${showSpan(gap)}, which lies between committed intervals`,
      fix: fillOf(view, gap),
    });
  if (holes.gaps.length > gapsInProblems)
    problems.push({
      problem: `${countOf(holes.gaps.length - gapsInProblems, "more gap")} between committed intervals`,
      fix: `materialize each; \`${invocation} status ${name} --json\` lists them`,
    });
  if (holes.overlaps[0] !== undefined && view.aggregates.length > 0)
    problems.push({
      problem: `committed intervals overlap, first in ${showSpan(holes.overlaps[0])}: aggregates count those rows twice`,
      fix: `${invocation} reset ${name} --yes, then materialize intervals that do not overlap`,
    });
  problems.push(...lostRows(view, coverage.size > 0, report));
  const unmerged = latest === null ? unmergedOf(view, entry, states) : null;
  if (unmerged !== null) problems.push(unmerged);
  problems.push(...failuresOf(view, runs));
  problems.push(...(await dependenceOf(view, ledger, catalogue, nowMs)));

  const { ttlSeconds = null } = view;
  if (freshness !== null && ttlSeconds !== null && freshness > ttlSeconds)
    notes.push(
      `the newest interval ended ${formatSpan(freshness)} ago, beyond the TTL of ${formatSpan(ttlSeconds)}: every stored value is OUTSIDE_MAX_AGE`,
    );
  if (report !== null && report.largestBucket > crowdedBucket)
    notes.push(
      `the fullest bucket holds ${report.largestBucket} rows, which costs memory: \`${invocation} reset ${name}\` and materializing again chooses more buckets`,
    );

  return {
    view: name,
    fingerprint,
    full_refresh: isFullRefresh(view.source),
    problems,
    notes,
    intervals: {
      count: covered.length,
      rows: covered.reduce((sum, { rows }) => sum + rows, 0),
      newest: covered.slice(0, newestShown),
      gaps: holes.gaps,
    },
    head: head === null ? null : { end: iso(head.endMs), generation: head.generation },
    freshness_seconds: freshness,
    ttl_seconds: ttlSeconds,
    snapshot: latest === null ? null : describeSnapshot(view, latest),
    online: report === null ? null : withoutMemory(report),
    old_namespaces: old,
    runs: runs.slice(0, runsShown).map(summarize),
    under_way: underWay && withoutEnded(underWay, records),
  };
}

/** Temporal may list a run for a moment after its end, which the ledger knows. */
function withoutEnded(runs: readonly RunLine[], records: readonly RunRecord[]): RunLine[] {
  // One that was blocked may have gone on.
  const ended = records.filter(({ outcome }) => outcome !== "blocked");
  const ids = new Set(ended.map(({ runId }) => runId));
  return runs.filter(({ run_id }) => !ids.has(run_id));
}

/** Intervals that are blocked by what comes first, or rest on what was computed again since. */
async function dependenceOf(
  view: View,
  ledger: Ledger,
  catalogue: Catalogue,
  nowMs: number,
): Promise<Finding[]> {
  const { schedule } = view;
  if (schedule === undefined || schedule.dependsOn.length === 0) return [];
  const newestMs = newestInterval(schedule, nowMs)?.endMs ?? schedule.startMs;
  const intervals = intervalsBetween(schedule, schedule.startMs, newestMs);
  const cells = await readGrid(ledger, catalogue, view, intervals);
  const found = (state: CellState) => cells.filter((cell) => cell.state === state);
  const [blocked, stale] = [found("blocked"), found("stale")];
  const see = `${invocation} partitions ${view.name}`;
  return [
    ...(blocked[0] === undefined
      ? []
      : [
          {
            problem: `${countOf(blocked.length, "interval")} blocked: ${blocked[0].outcome?.reason ?? "a view that comes first failed"}`,
            fix: `mend and run what comes first, the rest starts by itself; ${see} shows which`,
          },
        ]),
    ...(stale.length === 0
      ? []
      : [
          {
            problem: `${countOf(stale.length, "interval")} stale: a view that comes first was computed again since`,
            fix: `${see} prints the backfill that computes them again`,
          },
        ]),
  ];
}

/** What fills a gap: of a schedule it may hold many intervals. */
function fillOf(view: View, gap: Span): string {
  return view.schedule === undefined
    ? `${invocation} materialize ${view.name} ${spanOptions(view, gap)}`
    : backfillLine(view.name, gap);
}

/** The fix of a loss, and what follows it. */
function resetFix(view: string): string {
  return `${invocation} reset ${view} --yes, which prints the commands that fill it again`;
}

function lostRows(view: View, isCovered: boolean, report: NamespaceReport | null): Finding[] {
  const fix = resetFix(view.name);
  if (report === null)
    return isCovered
      ? [{ problem: "intervals are committed, but the online store has no rows of them", fix }]
      : [];
  const { buckets, missing, foreign, behind } = report;
  const lost = [
    [missing, "missing"],
    [foreign, "of another epoch"],
    [behind, "older than the last commit"],
  ] as const;
  return lost
    .filter(([count]) => count > 0)
    .map(([count, what]) => ({
      problem: `${count} of ${countOf(buckets, "bucket")} ${count === 1 ? "is" : "are"} ${what}: rows are lost`,
      fix,
    }));
}

/** Why a view with aggregates has rows but no snapshot. */
function unmergedOf(
  view: View,
  entry: LedgerEntry | null,
  { states }: StoredStates,
): Finding | null {
  if (view.aggregates.length === 0 || entry === null || entry.coverage.size === 0) return null;
  // Of a full refresh only the newest interval counts.
  const covered = [...entry.coverage.keys()].sort();
  const newest = covered.at(-1) ?? "";
  const counted = isFullRefresh(view.source) ? covered.slice(-1) : covered;
  const lacking = counted.filter((interval) =>
    view.aggregates.some(({ fingerprint }) => !states.get(fingerprint)?.has(interval)),
  );
  const first = lacking.at(0);
  if (first === undefined)
    return {
      problem: "no aggregate snapshot is there, though every interval has its states",
      fix: `${invocation} materialize ${view.name} ${spanOptions(view, endsOf(newest))} --reprocess`,
    };
  return {
    problem: `${countOf(lacking.length, "committed interval")} of ${counted.length} lack the states of an aggregate, so there is no snapshot and features that rest on it have no value`,
    fix: `${invocation} materialize ${view.name} ${spanOptions(view, endsOf(first))}${lacking.length > 1 ? ", and so on for each" : ""}`,
  };
}

/** Intervals whose newest run failed; of a full refresh only the newest run counts. */
function failuresOf(view: View, runs: readonly RunRecord[]): Finding[] {
  const newest = new Map<string, RunRecord>();
  for (const run of isFullRefresh(view.source) ? runs.slice(0, 1) : runs)
    if (!newest.has(run.interval)) newest.set(run.interval, run);
  return [...newest.values()]
    .filter((run) => run.outcome === "failed" && canPass(view, run))
    .slice(0, gapsInProblems)
    .map((run) => {
      const span = endsOf(run.interval);
      const { reason } = summarize(run);
      return {
        problem: `the last run of ${showSpan(span)} failed: ${reason ?? "no reason was recorded"}`,
        fix: `mend the cause, then ${invocation} materialize ${view.name} ${spanOptions(view, span)}`,
      };
    });
}

/** Whether the interval could be committed at all: off the grid of a schedule none can. */
function canPass({ schedule, source }: View, { interval }: RunRecord): boolean {
  if (schedule === undefined || isFullRefresh(source)) return true;
  return isInterval(schedule, parseInterval(interval));
}

function describeSnapshot(view: View, latest: { id: string; asOfMs: number; body: string }) {
  const { id, asOfMs, values } = decodeSnapshot(view.aggregates, latest.id, latest.body);
  const names = new Map(view.features.map(({ name, node }) => [fingerprintOf(node), name]));
  const entries = view.aggregates.map(({ fingerprint, node }) => [
    names.get(fingerprintOf(node)) ?? formulaOf(node),
    toJson(node.dtype, values.get(fingerprint) ?? null),
  ]);
  return { id, as_of: iso(asOfMs), values: Object.fromEntries(entries) as Record<string, Json> };
}

function formulaOf({ aggregate, input }: AggregateNode): string {
  return `${aggregate}(${input.kind === "column" ? input.name : fingerprintOf(input).slice(0, 8)})`;
}

function summarize(record: RunRecord): RunSummary {
  const { runId, interval, outcome, startedAtMs, finishedAtMs, rows, reason } = record;
  return {
    run_id: runId,
    interval: endsOf(interval),
    outcome,
    started_at: iso(startedAtMs),
    seconds: (finishedAtMs - startedAtMs) / 1000,
    rows: typeof rows === "number" ? rows : null,
    reason: typeof reason === "string" ? reason : null,
  };
}

function withoutMemory({ memoryBytes: _, ...report }: NamespaceReport) {
  return report;
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
