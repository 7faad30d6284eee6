/**
 * Pass 1 of a run: reads its source files, checks them, takes partial aggregate states and writes
 * the offline rows. It writes no online row.
 */
import type { State } from "../engine/aggregates.ts";
import type { View } from "../engine/catalogue.ts";
import type { Frame } from "../engine/compile/batch.ts";
import { heightOf } from "../engine/compile/frame.ts";
import { OnceflowError } from "../engine/errors.ts";
import type { PolarsExpr } from "../engine/operations/table.ts";
import { decodeState, encodeState, mergeStates } from "../engine/snapshot.ts";
import { assertUnchanged, type SourceFile } from "../sources/files.ts";
import { readChunks } from "../sources/scan.ts";
import { type RowsRead, type RunRef, type Slice, slicesOf } from "../workflows/contract.ts";
import type { CommittedViews } from "./committed-views.ts";
import { judge, sumViolations } from "./expectation-outcome.ts";
import { namingRow } from "./map-failure.ts";
import { overlap } from "./pipelined.ts";
import { openParts, partsOf, readParts, sumRows } from "./offline-parts.ts";
import { assertStorable, rowColumnsOf } from "./rows.ts";
import {
  factsOf,
  intervalOfRun,
  partitionOf,
  type RunFacts,
  type SliceFacts,
  requireRun,
  requireSlice,
} from "./run-facts.ts";
import type { Stores } from "./stores.ts";
import { programOf, type Violation, type ViewProgram } from "./view-program.ts";
import { requiredState, statesOfRun, valuesByFormula } from "./view-states.ts";

/** Warnings kept of one slice, so that a payload stays small. */
const warningsLimit = 20;

/**
 * Reads some source files: checks them, takes partial states, writes offline rows.
 *
 * @param assertWanted - called between chunks; it throws once the run is cancelled
 * @throws EXPECTATION_FAILED, SOURCE_CHANGED, and what `readChunks` does
 */
export async function readSlice(
  { offline }: Pick<Stores, "offline">,
  view: View,
  run: RunRef,
  slice: Slice,
  assertWanted: () => void,
): Promise<RowsRead> {
  const { files, startedAtMs } = await requireRun(offline, view, run);
  const program = programOf(view);
  const added = rowColumnsOf(view, run, startedAtMs);
  const warnings: string[] = [];
  const rows: number[][] = [];
  let outside = 0;
  const states = new Map<string, State>();
  for (const [i, file] of files.slice(slice.from, slice.to).entries()) {
    const parts = openParts(offline, partitionOf(view, run), file, slice.from + i);
    const read = async (): Promise<number[]> => {
      const violations: Violation[] = [];
      const chunks = readChunks(view.source, file, intervalOfRun(view, run), {
        leftOut({ count, warning }) {
          outside += count;
          warnings.push(warning);
        },
      });
      const compute = (chunk: Frame) =>
        namingRow({ view, features: view.features, file }, chunk, () =>
          computeChunk(program, chunk, added),
        );
      for await (const computed of overlap(chunks, compute)) {
        assertWanted();
        violations.push(...computed.violations);
        addStates(view, states, computed.states);
        if (heightOf(computed.rows) > 0) await parts.write(computed.rows);
      }
      const counts = await parts.end();
      assertWanted();
      judge(view, sumViolations(violations), file.path, warnings);
      return counts;
    };
    rows.push(await orChanged(file, read));
  }
  const facts = { rows, outside, states: encodeStates(view, states) };
  await factsOf(offline, view, run).writeSlice(slice, facts);
  return { rows: sumRows(rows), warnings: warnings.slice(0, warningsLimit) };
}

/** What is wrong with a file that changed meanwhile is said of no file that there ever was. */
async function orChanged<T>(file: SourceFile, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof OnceflowError) await assertUnchanged([file]);
    throw error;
  }
}

/**
 * The end of pass 1: checks what rests on aggregates with the values that the snapshot would have.
 *
 * @param assertWanted - called between parts; it throws once the run is cancelled
 * @throws EXPECTATION_FAILED
 */
export async function validateRun(
  { offline }: Pick<Stores, "offline">,
  committedViews: CommittedViews,
  view: View,
  run: RunRef,
  assertWanted: () => void,
): Promise<RowsRead> {
  const program = programOf(view);
  const { files, rows, states } = await readPassOne({ offline }, view, run);
  const { merge } = await committedViews.read(view);
  const { snapshot } = merge.snapshotWith(intervalOfRun(view, run), statesOfRun(view, run, states));
  const values = valuesByFormula(view, snapshot);
  const warnings: string[] = [];
  judge(view, program.checkAggregates(values), undefined, warnings);
  if (program.rowsNeedAggregates)
    for (const [place, file] of files.entries()) {
      const violations: Violation[] = [];
      const parts = partsOf([rows[place] ?? []], place);
      const { columnsWithAggregates } = program;
      const frames = readParts(
        offline,
        partitionOf(view, run),
        parts,
        assertWanted,
        columnsWithAggregates,
      );
      const check = (frame: Frame) =>
        namingRow({ view, features: view.features, file }, frame, () =>
          program.checkWithAggregates(frame, values),
        );
      for await (const found of overlap(frames, check)) violations.push(...found);
      judge(view, sumViolations(violations), file.path, warnings);
    }
  return { rows: sumRows(rows), warnings: warnings.slice(0, warningsLimit) };
}

/** What pass 1 has found: the rows of each part of each file, and the states over all of them. */
export async function readPassOne(
  { offline }: Pick<Stores, "offline">,
  view: View,
  run: RunRef,
): Promise<RunFacts & SliceFacts> {
  const facts = await requireRun(offline, view, run);
  const slices = await Promise.all(
    slicesOf(facts.files.length).map((slice) => requireSlice(offline, view, run, slice)),
  );
  const states = new Map(
    view.aggregates.map((aggregate) => {
      const { fingerprint } = aggregate;
      const each = slices.map((slice) =>
        decodeState(aggregate, requiredState(slice.states, fingerprint)),
      );
      return [fingerprint, mergeStates(aggregate, each)];
    }),
  );
  const rows = slices.flatMap((slice) => slice.rows);
  const outside = slices.reduce((sum, slice) => sum + (slice.outside ?? 0), 0);
  return { ...facts, rows, outside, states: encodeStates(view, states) };
}

/** What is made of a chunk. */
interface ComputedChunk {
  readonly states: ReadonlyMap<string, State>;
  readonly rows: Frame;
  readonly violations: readonly Violation[];
}

/** What a chunk without rows comes to: the same in every run, so it is computed once. */
const emptyChunks = new WeakMap<ViewProgram, ComputedChunk>();

async function computeChunk(
  program: ViewProgram,
  chunk: Frame,
  added: readonly PolarsExpr[],
): Promise<ComputedChunk> {
  const isEmpty = heightOf(chunk) === 0;
  const known = isEmpty ? emptyChunks.get(program) : undefined;
  if (known !== undefined) return known;
  const [violations, states, rows] = await Promise.all([
    program.checkRows(chunk),
    program.states(chunk),
    program.rows(chunk, added),
  ]);
  if (!isEmpty) await assertStorable(rows, program.view);
  const computed = { states, rows, violations };
  if (isEmpty) emptyChunks.set(program, computed);
  return computed;
}

/** Adds the states of a chunk to those of the chunks before. */
export function addStates(
  view: View,
  sums: Map<string, State>,
  states: ReadonlyMap<string, State>,
): void {
  for (const aggregate of view.aggregates) {
    const { fingerprint } = aggregate;
    const before = sums.get(fingerprint);
    const state = states.get(fingerprint) ?? [];
    const merged = before === undefined ? [state] : [before, state];
    sums.set(fingerprint, mergeStates(aggregate, merged));
  }
}

/** States as text, by the fingerprints of their aggregates. */
export function encodeStates(
  view: View,
  states: ReadonlyMap<string, State>,
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    view.aggregates.flatMap((aggregate) => {
      const state = states.get(aggregate.fingerprint);
      return state === undefined ? [] : [[aggregate.fingerprint, encodeState(aggregate, state)]];
    }),
  );
}
