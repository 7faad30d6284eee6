/**
 * The activities of `materialize`, in the order of the commit protocol. Pass 1 (`planRun`,
 * `readSlice`, `validateRun`) writes no online row; pass 2 (`openStore`, `writeSlice`) writes them,
 * idempotent and newer-wins; `commitRun` moves coverage and the latest snapshot together, or not
 * at all; `publishRun` tidies up after it.
 *
 * Every activity may run again, at the same time as a zombie of itself: files are replaced whole,
 * rows by newer-wins, the commit by compare-and-set.
 */
import type { WorkerDeploymentVersion } from "@temporalio/common";
import type { State } from "../engine/aggregates.ts";
import type { Catalogue, View } from "../engine/catalogue.ts";
import type { Frame } from "../engine/compile/batch.ts";
import { heightOf } from "../engine/compile/frame.ts";
import { OnceflowError } from "../engine/errors.ts";
import { hash } from "../engine/fingerprint.ts";
import { formatInterval } from "../engine/calendar/interval.ts";
import {
  decodeState,
  encodeSnapshot,
  encodeState,
  mergeStates,
  type Snapshot,
} from "../engine/snapshot.ts";
import type { CoveredFiles, Ledger } from "../store/ledger.ts";
import { chooseBuckets } from "../store/namespace.ts";
import type { OfflineStore, PartRef } from "../store/offline/offline-store.ts";
import type { OnlineStore } from "../store/online-store.ts";
import type { RedisConnection } from "../store/redis/connection.ts";
import { isSameRun, readRunId } from "../store/redis/run-id.ts";
import { readChunks } from "../sources/scan.ts";
import {
  assertUnchanged,
  listSourceFiles,
  type SourceConfig,
  type SourceFile,
} from "../sources/files.ts";
import {
  type OpenedStore,
  type Ready,
  type ReadyRequest,
  type RowsRead,
  type RowsWritten,
  type RunPlan,
  type RunRef,
  type Slice,
  slicesOf,
  type Waiting,
} from "../workflows/contract.ts";
import { createCommittedViews } from "../filling/committed-views.ts";
import { judge, sumViolations } from "../filling/judge.ts";
import { overlap } from "../filling/overlap.ts";
import type { createReadiness } from "./readiness.ts";
import { rowColumnsOf, toRowBatch } from "../filling/rows.ts";
import { assertWanted } from "./run-context.ts";
import type { Task, TaskFolders } from "./tasks/task.ts";
import { createRunEnd } from "./run-end.ts";
import {
  factsOf,
  intervalOfRun,
  partitionOf,
  required,
  type SliceFacts,
  viewOfRun,
} from "../filling/run-facts.ts";
import type { Webhook } from "./webhooks.ts";
import { compileView, type Violation, type ViewProgram } from "../filling/view-program.ts";
import {
  aggregateFingerprints,
  assertNoOverlap,
  pointerRequest,
  requiredState,
  statesOfRun,
  storedTable,
  valuesByFormula,
} from "../filling/view-states.ts";

/** What the offline activities work with. */
export interface OfflineDependencies {
  readonly catalogue: Catalogue;
  readonly redis: RedisConnection;
  readonly online: OnlineStore;
  readonly ledger: Ledger;
  readonly offline: OfflineStore;
  readonly sources: SourceConfig;
  /** The tasks of pipelines and sensors, and the folders that they are given. */
  readonly tasks: Readonly<Record<string, Task>>;
  readonly folders: TaskFolders;
  /** By the names that schedules call them. */
  readonly webhooks: Readonly<Record<string, Webhook>>;
  /** How Temporal knows the workers of this build, where it tells builds apart. */
  readonly build?: WorkerDeploymentVersion | undefined;
}

/** What pass 1 makes of a chunk. */
interface ComputedChunk {
  readonly states: ReadonlyMap<string, State>;
  readonly rows: Frame;
  readonly violations: readonly Violation[];
}

type CountedPart = PartRef & { readonly rows: number };

/** Warnings kept of one slice, so that a payload stays small. */
const warningsLimit = 20;
/** Files of one run: each of its activities reads their list. */
const filesLimit = 20_000;
/** Times that a commit merges again after another run of the view committed in between. */
const commitAttempts = 20;

/** Makes the activities of `materialize`. */
export function createMaterialization(
  dependencies: OfflineDependencies,
  readiness: Pick<ReturnType<typeof createReadiness>, "check" | "tell">,
) {
  const { catalogue, redis, online, ledger, offline, sources } = dependencies;
  const programs = new Map<string, ViewProgram>();
  /** What a chunk without rows comes to, by view: the same in every run, so it is computed once. */
  const empty = new Map<string, ComputedChunk>();
  const committedViews = createCommittedViews(ledger);

  const programOf = (view: View): ViewProgram => {
    const program = programs.get(view.name) ?? compileView(view);
    programs.set(view.name, program);
    return program;
  };

  return {
    /**
     * Asks the ledger what is due and whether the run may begin, allots the generation and lists
     * the source files.
     *
     * @throws UPSTREAM_FAILED where something that comes first ended without a commit
     */
    async planRun(request: ReadyRequest): Promise<RunPlan | Waiting> {
      const view = viewOfRun(catalogue, request);
      const interval = intervalOfRun(view, request);
      await Promise.all([redis.assertNoEviction(), redis.assertClock()]);
      const { covered, nothing } = await whatIsCommitted(view, request);
      if (nothing !== undefined) return nothing;
      const ready = await readiness.check(view, request);
      if (ready.due === "waiting") return ready;
      const files = await listSourceFiles(view.source, interval, sources);
      if (files.length > filesLimit)
        throw new OnceflowError(
          "REQUEST_TOO_LARGE",
          `the interval ${formatInterval(interval)} of view "${view.name}" has ${files.length} files; a run takes ${filesLimit}. Materialize shorter intervals.`,
        );
      const committed =
        covered === undefined
          ? undefined
          : await factsOf(offline, view, { ...request, ...covered }).readManifest();
      // New aggregates may rest on the rows that are served only while the files are the same.
      const rowsStand = !request.reprocess && isSame(committed?.files, files);
      const due = rowsStand ? "aggregates" : "rows";
      const generation = await ledger.beginRun({ ...request, interval });
      const run = { ...request, generation };
      await offline.cleanPartition(partitionOf(view, run));
      const facts = factsOf(offline, view, run);
      // A retry keeps the first start, so that the rows' known-at stays,
      // and so do its files, whatever an attempt of before has read of them.
      const before = await facts.readRun();
      const isOwn = before?.runId === request.runId;
      if (before !== undefined && !isOwn) await offline.removePartition(partitionOf(view, run));
      const { runId } = request;
      const now = { runId, files, startedAtMs: Date.now(), due, upstream: ready.upstream } as const;
      if (!isOwn) await facts.writeRun(now);
      const settled = isOwn ? before : now;
      return {
        due: settled.due,
        generation,
        files: settled.files.length,
        rows: 0,
        snapshot: null,
      };
    },

    /**
     * Whether a run may take its first step: a slot of a pool, or the steps of a pipeline.
     *
     * @throws UPSTREAM_FAILED
     */
    async checkReady(request: ReadyRequest): Promise<Waiting | Ready> {
      const view = viewOfRun(catalogue, request);
      const { nothing } = await whatIsCommitted(view, request);
      if (nothing !== undefined) return nothing;
      const answer = await readiness.check(view, request);
      return answer.due === "waiting" ? answer : { due: "ready" };
    },

    /** Pass 1 for some source files: reads, checks, takes partial states, writes offline rows. */
    async readSlice(run: RunRef, slice: Slice): Promise<RowsRead> {
      const view = viewOfRun(catalogue, run);
      const program = programOf(view);
      const { files, startedAtMs } = await runFacts(view, run);
      const warnings: string[] = [];
      const rows: number[][] = [];
      const states = new Map<string, State>();
      const added = rowColumnsOf(view, run, startedAtMs);
      const compute = async (chunk: Frame): Promise<ComputedChunk> => {
        const known = heightOf(chunk) === 0 ? empty.get(view.name) : undefined;
        if (known !== undefined) return known;
        const [violations, states, rows] = await Promise.all([
          program.checkRows(chunk),
          program.states(chunk),
          program.rows(chunk, added),
        ]);
        return { states, rows, violations };
      };
      for (const [i, file] of files.slice(slice.from, slice.to).entries()) {
        const parts: number[] = [];
        const violations: Violation[] = [];
        // A part is written while the next chunks are read and computed.
        let writing = Promise.resolve();
        const chunks = readChunks(view.source, file, intervalOfRun(view, run));
        for await (const computed of overlap(chunks, compute)) {
          assertWanted();
          violations.push(...computed.violations);
          for (const aggregate of view.aggregates) {
            const { fingerprint } = aggregate;
            const before = states.get(fingerprint);
            const state = computed.states.get(fingerprint) ?? [];
            const merged = before === undefined ? [state] : [before, state];
            states.set(fingerprint, mergeStates(aggregate, merged));
          }
          if (heightOf(computed.rows) === 0) {
            empty.set(view.name, computed);
            continue;
          }
          await writing;
          // Else a zombie could put rows of a newer file in the place of those that were validated.
          await assertUnchanged([file]);
          const part = { file: slice.from + i, chunk: parts.length };
          writing = offline.writePart(partitionOf(view, run), part, computed.rows);
          // Whoever awaits it gets its error, unless another comes first.
          writing.catch(() => undefined);
          parts.push(heightOf(computed.rows));
        }
        await writing;
        await assertUnchanged([file]);
        assertWanted();
        judge(view, sumViolations(violations), file.path, warnings);
        rows.push(parts);
      }
      const encoded: Record<string, string> = {};
      for (const aggregate of view.aggregates) {
        const state = states.get(aggregate.fingerprint);
        if (state !== undefined) encoded[aggregate.fingerprint] = encodeState(aggregate, state);
      }
      const facts = { rows, states: encoded };
      await factsOf(offline, view, run).writeSlice(slice, facts);
      return { rows: sumOf(rows.flat()), warnings: warnings.slice(0, warningsLimit) };
    },

    /**
     * The end of pass 1: checks what rests on aggregates with the values that the snapshot would
     * have.
     */
    async validateRun(run: RunRef): Promise<RowsRead> {
      const view = viewOfRun(catalogue, run);
      const program = programOf(view);
      const { files, rows, states } = await passOne(view, run);
      const { merge } = await committedViews.read(view);
      const { snapshot } = merge.snapshotWith(
        intervalOfRun(view, run),
        statesOfRun(view, run, states),
      );
      const values = valuesByFormula(view, snapshot);
      const warnings: string[] = [];
      judge(view, program.checkAggregates(values), undefined, warnings);
      if (program.rowsNeedAggregates)
        for (const [place, file] of files.entries()) {
          const violations: Violation[] = [];
          const parts = partsOf([rows[place] ?? []], place);
          const frames = readParts(view, run, parts, program.columnsWithAggregates);
          const check = (frame: Frame) => program.checkWithAggregates(frame, values);
          for await (const found of overlap(frames, check)) violations.push(...found);
          judge(view, sumViolations(violations), file.path, warnings);
        }
      return { rows: sumOf(rows.flat()), warnings: warnings.slice(0, warningsLimit) };
    },

    /** Opens the namespace for pass 2, of so many rows, and notes which Redis it is in. */
    async openStore(run: RunRef, rows: number): Promise<OpenedStore> {
      const view = viewOfRun(catalogue, run);
      await redis.assertNoEviction();
      const redisRunId = await readRunId(redis);
      const buckets = chooseBuckets(Math.max(rows, view.expectedEntities));
      const namespace = await online.openNamespace(storedTable(view), { buckets });
      return { namespace, redisRunId };
    },

    /** Pass 2 for some files: writes their rows to the online store, each only over an older one. */
    async writeSlice(
      run: RunRef,
      slice: Slice,
      { namespace }: Pick<OpenedStore, "namespace">,
    ): Promise<RowsWritten> {
      const view = viewOfRun(catalogue, run);
      const { rows } = await sliceFacts(view, run, slice);
      return online.writeRows(namespace, batchesOf(view, run, partsOf(rows, slice.from)));
    },

    /**
     * Records the run in the ledger and moves `latest`, fenced by the generation.
     *
     * @param store - as pass 2 found it; null where the run wrote no rows
     * @throws STORE_RESTARTED where rows of pass 2 may be lost: write them again
     */
    async commitRun(run: RunRef, store: OpenedStore | null): Promise<{ snapshot: string | null }> {
      const view = viewOfRun(catalogue, run);
      if (store !== null) {
        const { namespace, redisRunId } = store;
        const { endMs } = intervalOfRun(view, run);
        await online.sealNamespace(namespace, { endMs, generation: run.generation });
        // A Redis that restarted may have lost rows that it had acknowledged.
        if (!isSameRun(redisRunId, await readRunId(redis)))
          throw new OnceflowError(
            "STORE_RESTARTED",
            `Redis at ${redis.address} restarted while the run wrote rows of view "${view.name}"; they are written again.`,
          );
      }
      const snapshot = await commit(view, run, store !== null);
      return { snapshot: snapshot?.id ?? null };
    },

    ...createRunEnd(dependencies, committedViews, readiness),
  };

  /** What is committed of the interval; `nothing` where that is all, and the run has nothing to do. */
  async function whatIsCommitted(view: View, request: ReadyRequest) {
    const committed = await committedViews.read(view);
    assertNoOverlap(view, committed.intervals, request);
    const interval = formatInterval(intervalOfRun(view, request));
    const covered = committed.coverage.get(interval);
    const states = committed.states.get(interval);
    const isWhole = aggregateFingerprints(view).every((each) => states?.get(each) !== undefined);
    if (covered === undefined || !isWhole || request.reprocess)
      return { covered, nothing: undefined };
    const [pointers] = await ledger.readPointers([pointerRequest(view)]);
    const nothing = {
      due: "nothing",
      generation: covered.generation,
      files: 0,
      rows: covered.rows,
      snapshot: pointers?.latest?.id ?? null,
    } as const;
    return { covered, nothing };
  }

  /**
   * Merges what is committed with this run and sets it, until no other commit came between. Runs
   * of this process take turns; those of others show as conflicts.
   */
  function commit(view: View, run: RunRef, writesRows: boolean): Promise<Snapshot | undefined> {
    return committedViews.inTurn(view, async () => {
      const interval = intervalOfRun(view, run);
      const { runId, generation } = run;
      const { files, upstream, rows, states } = await passOne(view, run);
      const ownStates = statesOfRun(view, run, states);
      const facts = {
        rows: sumOf(rows.flat()),
        files: filesOf(files),
        ...(Object.keys(upstream).length > 0 ? { upstream } : {}),
      };
      for (let attempt = 1; ; attempt++) {
        const committed = await committedViews.read(view);
        assertNoOverlap(view, committed.intervals, run);
        const merged = committed.merge.snapshotWith(interval, ownStates);
        const snapshot = view.aggregates.length > 0 && merged.isWhole ? merged.snapshot : undefined;
        try {
          const { revision, repeated } = await ledger.commitRun({
            view: view.name,
            fingerprint: view.fingerprint,
            interval,
            runId,
            generation,
            expectedRevision: committed.revision,
            coverage: writesRows ? facts : undefined,
            states,
            snapshot: snapshot && {
              id: snapshot.id,
              aggregatesFingerprint: view.aggregatesFingerprint,
              asOfMs: snapshot.asOfMs,
              body: encodeSnapshot(view.aggregates, snapshot),
            },
          });
          const coverage = writesRows ? { ...facts, generation } : undefined;
          if (!repeated) committed.follow(revision, interval, { coverage, states: ownStates });
          return snapshot;
        } catch (error) {
          const isConflict = error instanceof OnceflowError && error.code === "LEDGER_CONFLICT";
          if (!isConflict || attempt === commitAttempts) throw error;
        }
      }
    });
  }

  async function* batchesOf(view: View, run: RunRef, parts: Iterable<CountedPart>) {
    for await (const frame of readParts(view, run, parts)) yield await toRowBatch(frame, view, run);
  }

  /** Parts as pass 1 counted them. @throws OFFLINE_UNAVAILABLE where another took their place */
  async function* readParts(
    view: View,
    run: RunRef,
    parts: Iterable<CountedPart>,
    columns?: readonly string[],
  ): AsyncGenerator<Frame> {
    for (const part of parts) {
      const frame = await offline.readPart(partitionOf(view, run), part, columns);
      assertWanted();
      if (heightOf(frame) !== part.rows)
        throw new OnceflowError(
          "OFFLINE_UNAVAILABLE",
          `view "${view.name}": part ${part.chunk} of file ${part.file} has ${heightOf(frame)} rows, and ${part.rows} were validated: another process has written it. Materialize its interval again.`,
        );
      yield frame;
    }
  }

  async function runFacts(view: View, run: RunRef) {
    return required(factsOf(offline, view, run).readRun(), "plan", offline, view, run);
  }

  async function sliceFacts(view: View, run: RunRef, slice: Slice) {
    const reading = factsOf(offline, view, run).readSlice(slice);
    return required(reading, `slice ${slice.from}`, offline, view, run);
  }

  /** What pass 1 has found: the rows of each part of each file, and the states over all of them. */
  async function passOne(view: View, run: RunRef) {
    const facts = await runFacts(view, run);
    const slices = await Promise.all(
      slicesOf(facts.files.length).map((slice) => sliceFacts(view, run, slice)),
    );
    const states = Object.fromEntries(
      view.aggregates.map((aggregate) => {
        const { fingerprint } = aggregate;
        const each = slices.map((slice) =>
          decodeState(aggregate, requiredState(slice.states, fingerprint)),
        );
        return [fingerprint, encodeState(aggregate, mergeStates(aggregate, each))];
      }),
    );
    return { ...facts, rows: slices.flatMap((slice) => slice.rows), states };
  }
}

/** The parts that hold the rows of files, by the counts of each file, from a first file on. */
function* partsOf(rows: SliceFacts["rows"], firstFile = 0): Generator<CountedPart> {
  for (const [i, parts] of rows.entries())
    for (const [chunk, count] of parts.entries()) yield { file: firstFile + i, chunk, rows: count };
}

/** Names the files of a commit: when the newest was written, and a hash of them all. */
function filesOf(files: readonly SourceFile[]): CoveredFiles {
  return {
    as_of: Math.floor(files.reduce((newest, { mtimeMs }) => Math.max(newest, mtimeMs), 0)),
    hash: hash(files.map(({ sizeBytes, mtimeMs }) => [sizeBytes, mtimeMs])).slice(0, 12),
  };
}

/** Whether the same files were read, as they were then. */
function isSame(before: readonly SourceFile[] | undefined, now: readonly SourceFile[]): boolean {
  return JSON.stringify(before) === JSON.stringify(now);
}

function sumOf(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0);
}
