/** The state of one view in the stores, as data. */
import type { Catalogue, View } from "../engine/catalogue.ts";
import { OnceflowError } from "../engine/errors.ts";
import { fingerprintOf } from "../engine/fingerprint.ts";
import type { Cell } from "../engine/calendar/grid.ts";
import { endsOf, type Span } from "../engine/calendar/interval.ts";
import type { AggregateNode } from "../engine/language/node.ts";
import { aggregateFingerprints } from "../filling/view-states.ts";
import { pointerRequest } from "../store/ledger.ts";
import { intervalsBetween, newestInterval } from "../engine/calendar/slots.ts";
import { decodeSnapshot } from "../engine/snapshot.ts";
import { type Json, toJson } from "../engine/wire.ts";
import { readGrid } from "./read-grid.ts";
import type { Ledger, RunRecord } from "../store/ledger.ts";
import type { NamespaceReport } from "../store/namespace.ts";
import type { Published } from "../store/published.ts";
import type { OnlineStore } from "../store/online-store.ts";
import { resetLine } from "./command-lines.ts";
import type { Finding } from "./findings.ts";
import { findChanged, type ListFiles } from "./changed-files.ts";
import { compareWithOffline, findFiles } from "./lost-intervals.ts";
import { type RunLine, withoutEnded } from "./under-way.ts";
import { holesOf, judgeView, reasonOf, type ViewFacts } from "./view-problems.ts";

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
    /** Rows of their files that no interval takes. */
    readonly outside: number;
    /** By their end, the newest first. */
    readonly newest: readonly CoveredSpan[];
    readonly gaps: readonly Span[];
  };
  /** What is served: everything up to an end. */
  readonly published: {
    readonly end: string;
    readonly generation: number;
    /** Whether no interval is missing before the end. */
    readonly covered: boolean;
    /** Why nothing but a command moves it; null where runs do. */
    readonly frozen: string | null;
  } | null;
  /** From the end of what is published to now, in seconds. */
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
  /** The newest first, of the last 200 of the view. */
  readonly runs: readonly RunSummary[];
  /** What Temporal runs of it now; null where it does not answer. */
  readonly under_way: readonly RunLine[] | null;
}

/** Runs among which failures are looked for. */
const runsRead = 200;

/** Where the state of a view is read. */
export interface ViewStores {
  readonly ledger: Ledger;
  readonly online: OnlineStore;
  readonly catalogue: Catalogue;
  /** Root of the offline store, which may not be there. */
  readonly offlineDir: string;
  /** Absent where the data folder is not to be read from here. */
  readonly listFiles?: ListFiles | undefined;
}

/**
 * Reads the state of a view and judges it.
 *
 * @param nowMs - when `underWay` was listed
 * @throws STORE_UNAVAILABLE
 */
export async function inspectView(
  view: View,
  stores: ViewStores,
  underWay: readonly RunLine[] | null,
  nowMs: number,
): Promise<ViewStatus> {
  const facts = await readFacts(view, stores, nowMs);
  const { coverage, published, latest, report, records, runs } = facts;
  const { problems, notes } = judgeView(view, facts, stores.offlineDir, nowMs);
  const covered = [...coverage]
    .map(([interval, { rows, generation }]) => ({ ...endsOf(interval), rows, generation }))
    .sort((a, b) => (a.end < b.end || (a.end === b.end && a.start < b.start) ? 1 : -1));
  return {
    view: view.name,
    fingerprint: view.fingerprint,
    full_refresh: view.rows.isFullRefresh,
    problems,
    notes,
    intervals: {
      count: covered.length,
      rows: covered.reduce((sum, { rows }) => sum + rows, 0),
      outside: [...coverage.values()].reduce((sum, { outside = 0 }) => sum + outside, 0),
      newest: covered,
      gaps: facts.holes.gaps,
    },
    published: published && describePublished(published),
    freshness_seconds: facts.freshnessSeconds,
    ttl_seconds: view.ttlSeconds ?? null,
    snapshot: latest === null ? null : describeSnapshot(view, latest),
    online: report === null ? null : withoutMemory(report),
    old_namespaces: facts.old,
    runs: runs.map(summarize),
    under_way: underWay && withoutEnded(underWay, records, nowMs),
  };
}

async function readFacts(
  view: View,
  { ledger, online, catalogue, offlineDir, listFiles }: ViewStores,
  nowMs: number,
): Promise<
  ViewFacts & { readonly old: ViewStatus["old_namespaces"]; readonly records: readonly RunRecord[] }
> {
  const { name, fingerprint } = view;
  const lost: Finding[] = [];
  /** What a store that lost something can still tell. */
  const orLost = async <T>(work: Promise<T>): Promise<T | null> => {
    try {
      return await work;
    } catch (error) {
      if (!(error instanceof OnceflowError) || error.code !== "STORE_LOST") throw error;
      lost.push({ problem: error.message, fix: resetLine(name) });
      return null;
    }
  };
  const entry = await orLost(ledger.readLedger(name, fingerprint));
  const coverage: ViewFacts["coverage"] = entry?.coverage ?? new Map<string, never>();
  const [{ states }, pointers, records, namespaces, cells] = await Promise.all([
    ledger.readStates(name, aggregateFingerprints(view)),
    orLost(ledger.readPointers([pointerRequest(view)])),
    ledger.readRuns(name, runsRead),
    orLost(online.listNamespaces(name)),
    readDependence(view, ledger, catalogue, nowMs),
  ]);
  const published = entry?.published ?? null;
  const lacking =
    entry === null ? null : await compareWithOffline(view, coverage, ledger, offlineDir);
  const isNew = coverage.size === 0 && lacking?.intervals.length === 0;
  const files =
    isNew && listFiles !== undefined ? await findFiles(view, listFiles, nowMs) : undefined;
  const changed =
    listFiles === undefined ? [] : await findChanged(view, coverage, listFiles, offlineDir);
  const own = entry?.namespace ?? null;
  const report = own === null ? null : await online.verifyNamespace(own, { least: published });
  const old = [];
  for (const namespace of namespaces ?? []) {
    if (namespace.fingerprint === fingerprint) continue;
    const { buckets, rows } = await online.verifyNamespace(namespace);
    old.push({ fingerprint: namespace.fingerprint, buckets, rows });
  }
  return {
    lost,
    coverage,
    holes: view.rows.isFullRefresh ? { gaps: [], overlaps: [] } : holesOf([...coverage.keys()]),
    lacking: lacking && { ...lacking, files },
    changed,
    states,
    published,
    freshnessSeconds: published === null ? null : Math.max(0, nowMs - published.endMs) / 1000,
    latest: pointers?.[0]?.latest ?? null,
    report,
    cells,
    records,
    runs: records.filter((record) => record.fingerprint === fingerprint),
    old,
  };
}

/** The intervals of a view that rests on others; none of one that does not. */
async function readDependence(
  view: View,
  ledger: Ledger,
  catalogue: Catalogue,
  nowMs: number,
): Promise<readonly Cell[]> {
  const { schedule } = view;
  if (schedule === undefined || schedule.dependsOn.length === 0) return [];
  const newestMs = newestInterval(schedule, nowMs)?.endMs ?? schedule.startMs;
  return readGrid(ledger, catalogue, view, intervalsBetween(schedule, schedule.startMs, newestMs));
}

function describePublished({ endMs, generation, covered, frozen }: Published) {
  return { end: iso(endMs), generation, covered, frozen };
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
  const { runId, interval, outcome, startedAtMs, finishedAtMs, rows } = record;
  return {
    run_id: runId,
    interval: endsOf(interval),
    outcome,
    started_at: iso(startedAtMs),
    seconds: (finishedAtMs - startedAtMs) / 1000,
    rows: typeof rows === "number" ? rows : null,
    reason: reasonOf(record),
  };
}

function withoutMemory({ memoryBytes: _, ...report }: NamespaceReport) {
  return report;
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
