/**
 * The activities of `materialize`, in the order of the commit protocol. Pass 1 (`readPart`,
 * `validateRun`) writes no online row; pass 2 (`writePart`) writes them, idempotent and newer-wins;
 * `commitRun` moves coverage and the latest snapshot together, or not at all.
 *
 * Every activity may run again, at the same time as a zombie of itself: files are replaced whole by
 * the same content, rows by newer-wins, the commit by compare-and-set.
 */
import pl from "nodejs-polars";
import type { Catalogue, View } from "../engine/catalogue.ts";
import type { Frame } from "../engine/compile/batch.ts";
import { heightOf } from "../engine/compile/frame.ts";
import { isFullRefresh } from "../engine/definitions.ts";
import { OnceflowError } from "../engine/errors.ts";
import { formatInterval } from "../engine/interval.ts";
import {
  decodeState,
  encodeSnapshot,
  encodeState,
  mergeSnapshot,
  mergeStates,
  type Snapshot,
} from "../engine/snapshot.ts";
import type { Ledger } from "../store/ledger.ts";
import { chooseBuckets } from "../store/namespace.ts";
import type { OfflineStore } from "../store/offline-store.ts";
import type { OnlineStore } from "../store/online-store.ts";
import type { RedisConnection } from "../store/redis.ts";
import { readChunks } from "../store/scan.ts";
import { assertUnchanged, listSourceFiles, type SourceConfig } from "../store/source-files.ts";
import type { PartRead, PartWritten, RunPlan, RunRef } from "../workflows/contract.ts";
import { judge } from "./judge.ts";
import { toRowBatch, withRowColumns } from "./rows.ts";
import { whileAlive } from "./run-context.ts";
import {
  factsOf,
  type IntervalFacts,
  intervalOfRun,
  type PartFacts,
  partitionOf,
  type RunFacts,
  viewOfRun,
} from "./runs.ts";
import { compileView, type ViewProgram } from "./view-program.ts";
import {
  aggregateFingerprints,
  assertNoOverlap,
  committedWith,
  isWhole,
  pointerRequest,
  storedView,
  valuesByFormula,
} from "./view-states.ts";

/** What the offline activities work with. */
export interface OfflineDependencies {
  readonly catalogue: Catalogue;
  readonly redis: RedisConnection;
  readonly online: OnlineStore;
  readonly ledger: Ledger;
  readonly offline: OfflineStore;
  readonly sources: SourceConfig;
}

/** Warnings kept of one part, so that a payload stays small. */
const warningsLimit = 20;
/** Times that a commit merges again after another run of the view committed in between. */
const commitAttempts = 20;

/** Makes the activities of `materialize`. */
export function createMaterialization(dependencies: OfflineDependencies) {
  const { catalogue, redis, online, ledger, offline, sources } = dependencies;
  const programs = new Map<string, ViewProgram>();

  const programOf = (view: View): ViewProgram => {
    const program = programs.get(view.name) ?? compileView(view);
    programs.set(view.name, program);
    return program;
  };

  return {
    /** Asks the ledger what is due, allots the generation and lists the source files. */
    async planRun(
      request: Omit<RunRef, "generation"> & { readonly reprocess: boolean },
    ): Promise<RunPlan> {
      const view = viewOfRun(catalogue, request);
      const interval = intervalOfRun(request);
      await redis.assertNoEviction();
      const [entry, stored] = await Promise.all([
        ledger.readLedger(view.name, view.fingerprint),
        ledger.readStates(view.name, aggregateFingerprints(view)),
      ]);
      assertNoOverlap(view, stored, request);
      const covered = entry.coverage.get(formatInterval(interval));
      const lacksState = aggregateFingerprints(view).some(
        (each) => stored.states.get(each)?.get(formatInterval(interval)) === undefined,
      );
      const due =
        request.reprocess || covered === undefined ? "rows" : lacksState ? "aggregates" : "nothing";
      if (due === "nothing") {
        const [pointers] = await ledger.readPointers([pointerRequest(view)]);
        return {
          due,
          generation: covered?.generation ?? 0,
          parts: 0,
          rows: covered?.rows ?? 0,
          snapshot: pointers?.latest?.id ?? null,
        };
      }
      const files = await listSourceFiles(view.source, interval, sources);
      const generation = await ledger.beginRun({ ...request, interval });
      const run = { ...request, generation };
      await offline.cleanPartition(partitionOf(run));
      const facts = factsOf(offline, run);
      // A retry keeps the first start, so that the rows' known-at stays.
      const startedAtMs = (await facts.readRun())?.startedAtMs ?? Date.now();
      await facts.writeRun({ files, startedAtMs, due });
      return { due, generation, parts: files.length, rows: 0, snapshot: null };
    },

    /** Pass 1 for one source file: reads, checks, takes partial states, writes the offline rows. */
    async readPart(run: RunRef, part: number): Promise<PartRead> {
      const view = viewOfRun(catalogue, run);
      const program = programOf(view);
      const facts = await runFacts(run);
      const file = facts.files[part];
      if (file === undefined) throw new Error(`run has no part ${part}`);
      return whileAlive(async (check) => {
        const frames: Frame[] = [];
        const warnings: string[] = [];
        const states = new Map<string, string>();
        for await (const chunk of readChunks(view.source, file, intervalOfRun(run))) {
          check();
          const frame = withRowColumns(chunk, view, run, facts.startedAtMs);
          judge(view, await program.checkRows(frame), file.path, warnings);
          const chunkStates = await program.states(frame);
          for (const aggregate of view.aggregates) {
            const { fingerprint } = aggregate;
            const before = states.get(fingerprint);
            const parts = [chunkStates.get(fingerprint) ?? []];
            if (before !== undefined) parts.unshift(decodeState(aggregate, before));
            states.set(fingerprint, encodeState(aggregate, mergeStates(aggregate, parts)));
          }
          frames.push(await program.rows(frame));
        }
        await assertUnchanged([file]);
        const frame = frames.length === 1 ? frames[0] : pl.concat(frames);
        if (frame === undefined) throw new Error("a file came without a chunk");
        await offline.writePart(partitionOf(run), part, frame);
        const rows = heightOf(frame);
        await factsOf(offline, run).writePart(part, { rows, states: Object.fromEntries(states) });
        return { rows, warnings: warnings.slice(0, warningsLimit) };
      });
    },

    /**
     * The end of pass 1: merges the states of all parts, and checks what rests on aggregates with
     * the values that the snapshot would have. Then opens the namespace of the rows.
     */
    async validateRun(run: RunRef, parts: number): Promise<{ warnings: readonly string[] }> {
      const view = viewOfRun(catalogue, run);
      const program = programOf(view);
      const facts = await runFacts(run);
      return whileAlive(async (check) => {
        const partFacts = await Promise.all(
          Array.from({ length: parts }, (_, part) => partFactsOf(run, part)),
        );
        const states = Object.fromEntries(
          view.aggregates.map((aggregate) => {
            const each = partFacts.map((part) =>
              decodeState(aggregate, part.states[aggregate.fingerprint] ?? "[]"),
            );
            return [aggregate.fingerprint, encodeState(aggregate, mergeStates(aggregate, each))];
          }),
        );
        const rows = partFacts.reduce((sum, part) => sum + part.rows, 0);
        await factsOf(offline, run).writeInterval({ rows, states });

        const stored = await ledger.readStates(view.name, aggregateFingerprints(view));
        const prospective = mergeSnapshot(
          view.aggregates,
          committedWith(view, stored, run, states),
          isFullRefresh(view.source),
        );
        const values = valuesByFormula(view, prospective);
        const warnings: string[] = [];
        judge(view, program.checkAggregates(values), undefined, warnings);
        if (program.rowsNeedAggregates)
          for (let part = 0; part < parts; part++) {
            check();
            const frame = await offline.readPart(partitionOf(run), part);
            const violations = await program.checkWithAggregates(frame, values);
            judge(view, violations, facts.files[part]?.path, warnings);
          }
        if (facts.due === "rows")
          await online.openNamespace(storedView(view), {
            buckets: chooseBuckets(Math.max(rows, view.expectedEntities)),
          });
        return { warnings: warnings.slice(0, warningsLimit) };
      });
    },

    /** Pass 2 for one part: writes its rows to the online store, each only over an older one. */
    async writePart(run: RunRef, part: number): Promise<PartWritten> {
      const view = viewOfRun(catalogue, run);
      await redis.assertNoEviction();
      return whileAlive(async () => {
        const frame = await offline.readPart(partitionOf(run), part);
        const { rows } = await intervalFacts(run);
        const namespace = await online.openNamespace(storedView(view), {
          buckets: chooseBuckets(Math.max(rows, view.expectedEntities)),
        });
        return online.writeRows(namespace, await toRowBatch(frame, view, run));
      });
    },

    /** Records the run in the ledger and moves `latest`, fenced by the generation. */
    async commitRun(
      run: RunRef,
      outcome: {
        readonly parts: number;
        readonly writesRows: boolean;
        readonly written: number;
        readonly superseded: number;
        readonly warnings: readonly string[];
      },
    ): Promise<{ snapshot: string | null }> {
      const view = viewOfRun(catalogue, run);
      const interval = intervalOfRun(run);
      const facts = await runFacts(run);
      const { rows, states } = await intervalFacts(run);
      if (outcome.writesRows && outcome.written + outcome.superseded !== rows)
        throw new OnceflowError(
          "INTERNAL",
          `run of view "${view.name}" read ${rows} rows and settled ${outcome.written + outcome.superseded}; nothing was committed.`,
        );
      if (outcome.writesRows) {
        const namespace = await online.openNamespace(storedView(view), {
          buckets: chooseBuckets(Math.max(rows, view.expectedEntities)),
        });
        await online.sealNamespace(namespace, {
          endMs: interval.endMs,
          generation: run.generation,
        });
      }
      const snapshot = await commit(view, run, rows, states, outcome.writesRows);
      if (snapshot !== undefined)
        await offline.writeSnapshot(
          view.name,
          snapshot.id,
          encodeSnapshot(view.aggregates, snapshot),
        );
      await offline.writeJson(partitionOf(run), "_manifest.json", {
        ...run,
        rows,
        parts: outcome.parts,
        known_at: new Date(facts.startedAtMs).toISOString(),
        snapshot: snapshot?.id ?? null,
        files: facts.files,
      });
      await offline.removeGenerationsBefore(partitionOf(run));
      await logRun(run, facts.startedAtMs, "committed", {
        rows,
        written: outcome.written,
        superseded: outcome.superseded,
        warnings: outcome.warnings,
      });
      return { snapshot: snapshot?.id ?? null };
    },

    /** Writes a failed or cancelled run to the run log and removes what it staged. */
    async recordFailure(run: RunRef, outcome: string, reason: string): Promise<void> {
      const facts = await factsOf(offline, run).readRun();
      await logRun(run, facts?.startedAtMs ?? Date.now(), outcome, {
        reason: reason.slice(0, 500),
      });
      await offline.removePartition(partitionOf(run));
    },
  };

  /** Merges what is committed with this run and sets it, until no other commit came between. */
  async function commit(
    view: View,
    run: RunRef,
    rows: number,
    states: Readonly<Record<string, string>>,
    writesRows: boolean,
  ): Promise<Snapshot | undefined> {
    for (let attempt = 1; ; attempt++) {
      const stored = await ledger.readStates(view.name, aggregateFingerprints(view));
      assertNoOverlap(view, stored, run);
      const committed = committedWith(view, stored, run, states);
      const snapshot = isWhole(view, committed)
        ? mergeSnapshot(view.aggregates, committed, isFullRefresh(view.source))
        : undefined;
      try {
        await ledger.commitRun({
          view: view.name,
          fingerprint: view.fingerprint,
          interval: intervalOfRun(run),
          runId: run.runId,
          generation: run.generation,
          expectedRevision: stored.revision,
          coverage: writesRows ? { rows } : undefined,
          states,
          snapshot: snapshot && {
            id: snapshot.id,
            setFingerprint: view.aggregatesFingerprint,
            asOfMs: snapshot.asOfMs,
            body: encodeSnapshot(view.aggregates, snapshot),
          },
        });
        return snapshot;
      } catch (error) {
        const isConflict = error instanceof OnceflowError && error.code === "LEDGER_CONFLICT";
        if (!isConflict || attempt === commitAttempts) throw error;
      }
    }
  }

  async function runFacts(run: RunRef): Promise<RunFacts> {
    return required(await factsOf(offline, run).readRun(), "plan", run);
  }

  async function partFactsOf(run: RunRef, part: number): Promise<PartFacts> {
    return required(await factsOf(offline, run).readPart(part), `part ${part}`, run);
  }

  async function intervalFacts(run: RunRef): Promise<IntervalFacts> {
    return required(await factsOf(offline, run).readInterval(), "validated interval", run);
  }

  async function logRun(
    run: RunRef,
    startedAtMs: number,
    outcome: string,
    facts: Readonly<Record<string, unknown>>,
  ): Promise<void> {
    await ledger.logRun(run.view, {
      ...facts,
      runId: run.runId,
      fingerprint: run.fingerprint,
      interval: formatInterval(intervalOfRun(run)),
      generation: run.generation,
      outcome,
      startedAtMs,
      finishedAtMs: Date.now(),
    });
  }
}

function required<T>(facts: T | null | undefined, what: string, run: RunRef): T {
  if (facts != null) return facts;
  throw new OnceflowError(
    "INTERNAL",
    `the ${what} of run ${run.runId} of view "${run.view}" is not in the offline store. Workers must share one offline folder (ONCEFLOW_OFFLINE).`,
  );
}
