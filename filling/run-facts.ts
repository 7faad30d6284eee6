/** How the steps of one run refer to its view, interval and files. */
import { type Catalogue, type View } from "../engine/catalogue.ts";
import { OnceflowError } from "../engine/errors.ts";
import { hash } from "../engine/fingerprint.ts";
import { interval, type Interval, parseInstant } from "../engine/calendar/interval.ts";
import type { CoveredFiles, CoverageFacts } from "../store/commits.ts";
import type { PartitionRef } from "../store/offline/keys.ts";
import type { OfflineFolders } from "../store/offline/offline-folders.ts";
import type { OfflineStore } from "../store/offline/offline-store.ts";
import { lostFiles } from "../store/offline/objects.ts";
import type { SourceFile } from "../sources/files.ts";
import type { RunRef, Slice } from "../workflows/contract.ts";

/**
 * The view that a run names, in exactly the meaning that it names.
 *
 * @throws FINGERPRINT_UNKNOWN where this build has another definition, or none; retried, since a
 *   newer worker may take it
 */
export function viewOfRun(
  catalogue: Catalogue,
  run: Pick<RunRef, "view" | "fingerprint" | "definition">,
): View {
  const known = knownView(catalogue, run);
  if (known !== undefined) return known;
  const view = catalogue.views.get(run.view);
  const has = view === undefined ? "no view of that name" : `fingerprint ${view.definition}`;
  throw new OnceflowError(
    "FINGERPRINT_UNKNOWN",
    `the run wants view "${run.view}" with fingerprint ${run.definition}; this worker was built with ${has}. Deploy a worker built from the definitions that started the run, or start the run again from this build; where workers have an ONCEFLOW_BUILD, the CLI needs it too.`,
    { view: run.view, fingerprint: run.fingerprint },
  );
}

/** The same, or undefined where this build does not have it. */
export function knownView(
  catalogue: Catalogue,
  run: Pick<RunRef, "view" | "fingerprint" | "definition">,
): View | undefined {
  const view = catalogue.views.get(run.view);
  // Rows alone do not make the run: activities of one run must agree on aggregates and
  // expectations too, on whatever worker each of them runs.
  const isKnown = view?.fingerprint === run.fingerprint && view.definition === run.definition;
  return isKnown ? view : undefined;
}

/** A full refresh covers all that came before its end, so its end alone tells it apart. */
const fullRefreshStart = "1970-01-01T00:00:00Z";

/** The interval of a run, as the stores know it. @throws INTERVAL_INVALID */
export function intervalOfRun(view: View, run: Pick<RunRef, "start" | "end">): Interval {
  return interval(view.rows.isFullRefresh ? fullRefreshStart : run.start, run.end);
}

/** An interval of the view's schedule, as the stores know it. */
export function ledgerInterval(view: View, own: Interval): Interval {
  return view.rows.isFullRefresh ? { ...own, startMs: parseInstant(fullRefreshStart) } : own;
}

/** Where the offline rows of a run lie. */
export function partitionOf(view: View, run: Omit<RunRef, "runId">): PartitionRef {
  const { fingerprint, generation } = run;
  return { view: view.name, fingerprint, interval: intervalOfRun(view, run), generation };
}

/** What is settled at the beginning for all steps of a run; a file of the partition. */
export interface RunFacts {
  /** Of the plan whose they are: a ledger that was lost gives a generation out again. */
  readonly runId: string;
  readonly files: readonly SourceFile[];
  readonly startedAtMs: number;
  /** What the run rests on of upstream views, by view: see `checkReadiness`. */
  readonly upstream: Readonly<Record<string, string>>;
}

/**
 * What a run commits; the last file that is written into its partition, and the proof of the commit
 * where the ledger is lost.
 */
export interface RunManifest extends RunRef {
  readonly rows: number;
  readonly known_at: string;
  /** The rows of each are parts of this folder, under its place in this list. */
  readonly files: readonly SourceFile[];
  /** As the ledger keeps it; absent in those of older releases, as are the next two. */
  readonly coverage?: CoverageFacts;
  /** Of each file: the rows of each of its parts. */
  readonly parts?: SliceFacts["rows"];
  /** Encoded states by aggregate fingerprint. */
  readonly states?: SliceFacts["states"];
}

/** What pass 1 found in a slice of the files; a file of the partition. */
export interface SliceFacts {
  /** Of each file: the rows of each of its parts; a file without rows has none. */
  readonly rows: readonly (readonly number[])[];
  /** Rows that no interval takes; absent in what older releases have staged. */
  readonly outside?: number;
  /** Encoded states by aggregate fingerprint. */
  readonly states: Readonly<Record<string, string>>;
}

const names = {
  run: "_run.json",
  manifest: "_manifest.json",
  /** Of aggregates that were filled after the commit, by the fingerprint of their set. */
  states: (set: string) => `states-${set.slice(0, 16)}.json`,
  slice: ({ from }: Slice) => `slice-${String(from).padStart(5, "0")}.json`,
};

/** The facts of a run, kept beside its offline rows so that payloads stay references. */
export function factsOf(offline: OfflineStore, view: View, run: Omit<RunRef, "runId">) {
  const partition = partitionOf(view, run);
  return {
    writeRun: (facts: RunFacts) => offline.writeJson(partition, names.run, facts),
    readRun: () => offline.readJson<RunFacts>(partition, names.run),
    writeSlice: (slice: Slice, facts: SliceFacts) =>
      offline.writeJson(partition, names.slice(slice), facts),
    readSlice: (slice: Slice) => offline.readJson<SliceFacts>(partition, names.slice(slice)),
    writeManifest: (manifest: RunManifest) =>
      offline.writeJson(partition, names.manifest, manifest),
    readManifest: () => readManifest(offline, partition),
    writeStates: (states: SliceFacts["states"]) =>
      offline.writeJson(partition, names.states(view.aggregatesFingerprint), states),
  };
}

/** What a committed partition was made of; undefined where the run did not commit. */
export function readManifest(
  offline: Pick<OfflineFolders, "readJson">,
  partition: PartitionRef,
): Promise<RunManifest | undefined> {
  return offline.readJson<RunManifest>(partition, names.manifest);
}

/** The states of aggregates that were filled after the commit of a partition. */
export async function readFilledStates(
  offline: Pick<OfflineFolders, "readJson" | "listJson">,
  partition: PartitionRef,
): Promise<SliceFacts["states"]> {
  const filled = (await offline.listJson(partition)).filter((name) => name.startsWith("states-"));
  const each = await Promise.all(
    filled.map((name) => offline.readJson<SliceFacts["states"]>(partition, name)),
  );
  return Object.assign({}, ...each) as SliceFacts["states"];
}

/** The plan of a run that has begun. @throws FENCED, OFFLINE_UNAVAILABLE */
export function requireRun(offline: OfflineStore, view: View, run: RunRef): Promise<RunFacts> {
  return required(factsOf(offline, view, run).readRun(), "plan", offline, view, run);
}

/** What pass 1 found in a slice that has been read. @throws FENCED, OFFLINE_UNAVAILABLE */
export function requireSlice(
  offline: OfflineStore,
  view: View,
  run: RunRef,
  slice: Slice,
): Promise<SliceFacts> {
  const reading = factsOf(offline, view, run).readSlice(slice);
  return required(reading, `slice ${slice.from}`, offline, view, run);
}

/**
 * A fact that an earlier step of the run has written.
 *
 * @throws FENCED where a newer run of the interval has removed it, OFFLINE_UNAVAILABLE where the
 *   offline store has lost it or is not there
 */
async function required<T>(
  reading: Promise<T | undefined>,
  what: string,
  offline: OfflineStore,
  view: View,
  run: RunRef,
): Promise<T> {
  const facts = await reading;
  if (facts !== undefined) return facts;
  const newest = (await offline.listGenerations(partitionOf(view, run))).at(-1) ?? 0;
  if (newest > run.generation)
    throw new OnceflowError(
      "FENCED",
      `view "${run.view}": the newer generation ${newest} of the interval has removed what run ${run.runId} had read. Leave the interval to it.`,
      { view: run.view, newest },
    );
  throw new OnceflowError(
    "OFFLINE_UNAVAILABLE",
    `the ${what} of run ${run.runId} of view "${run.view}", generation ${run.generation}, is no longer in the offline store ${offline.root}. All workers need that one folder (ONCEFLOW_OFFLINE), and nobody else may remove files from it.`,
    { view: run.view, path: offline.root, ...lostFiles },
  );
}

/** Names the files of a commit: when the newest was written, and a hash of them all. */
export function coveredFiles(files: readonly SourceFile[]): CoveredFiles {
  return {
    as_of: Math.floor(files.reduce((newest, { mtimeMs }) => Math.max(newest, mtimeMs), 0)),
    hash: hash(files.map(({ sizeBytes, mtimeMs }) => [sizeBytes, mtimeMs])).slice(0, 12),
  };
}
