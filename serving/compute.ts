/** Computes the values of rows from what was read, into the table of an answer. */
import type { View } from "../engine/catalogue.ts";
import type { Int64, Value } from "../engine/language/dtypes.ts";
import { messageOf, OnceflowError } from "../engine/errors.ts";
import type { BoundOutput, RequestRead } from "../engine/plan-parts.ts";
import { formatTimestamp } from "../engine/wire.ts";
import { readEventTime, versionBytes } from "../store/rows/version.ts";
import type { AnswerTable } from "./answer.ts";
import { statusCode } from "./answer.ts";
import type { Gathered } from "./gather.ts";
import type { PartRead } from "./ready-parts.ts";
import type { MaxAge } from "./request.ts";
import { pathOf, type RequestRow, type RowGroup } from "./rows.ts";
import type { ShapedPart } from "./shapes.ts";

const { PRESENT, NULL_VALUE, STALE, OUTSIDE_MAX_AGE, NOT_FOUND, UNAVAILABLE, ERROR } = statusCode;

/** What the rows of a group are computed from. */
export interface RowContext {
  readonly group: RowGroup;
  readonly gathered: Gathered;
  readonly maxAge: MaxAge;
  /** Told of each value that does not satisfy an expectation. */
  readonly violated: (feature: string) => void;
  /** Told of each value whose function threw. */
  readonly failed: (feature: string, error: unknown) => void;
}

/**
 * Fills the places of a group's rows in the table.
 *
 * @throws VALUE_OUTDATED where a row is too old and its view says to fail
 */
export function computeRows(context: RowContext, table: AnswerTable): void {
  for (const { place, entity } of context.group.rows) table.entities[place] = entity;
  for (const part of context.group.shape.parts) computePart(part, context, table);
}

function computePart(part: ShapedPart, context: RowContext, table: AnswerTable): void {
  const { outputs, read, request, program } = part;
  const { gathered, group } = context;
  const width = table.names.length;
  const stored = read && gathered.rowsOf(group, read);
  const oldestUs = read ? oldestOf(read.view, context.maxAge, table.nowMs) : -Infinity;
  const registers = new Array<Value>(part.registerCount).fill(null);
  for (const { view, fingerprint, register } of part.aggregates)
    registers[register] = gathered.snapshots.get(view)?.values.get(fingerprint) ?? null;

  for (let index = 0; index < group.rows.length; index++) {
    const row = group.rows[index] as RequestRow;
    const start = row.place * width;
    let status = PRESENT;
    let eventTimeUs: Int64 | null = null;
    if (read !== undefined) {
      const bytes = stored?.rows[index] ?? null;
      if (bytes === null) status = stored?.isOld === true ? UNAVAILABLE : NOT_FOUND;
      else {
        eventTimeUs = readEventTime(bytes);
        status = stored?.isOld === true ? STALE : PRESENT;
        if (eventTimeUs < oldestUs) status = outdated(read.view, eventTimeUs, row);
        if (status <= STALE) fillRegisters(registers, read, bytes, eventTimeUs);
      }
    }
    if (status > STALE) {
      fillWithoutRow(part, table, start, status, eventTimeUs);
      continue;
    }
    for (let i = 0; i < request.length; i++) {
      const { register, input } = request[i] as RequestRead;
      const value = part.values[i] as number;
      registers[register] = (value < 0 ? row.entity?.[input.column] : row.values[value]) ?? null;
    }
    let results: Value[];
    let errors: ReadonlyMap<number, unknown> | undefined;
    try {
      results = program(registers);
    } catch {
      // A function of the user's threw; the outputs that do not rest on it have their values.
      [results, errors] = runEach(part, registers);
    }
    for (let i = 0; i < outputs.length; i++) {
      const { place, defaulted } = outputs[i] as BoundOutput;
      const at = start + place;
      const value = results[i] ?? null;
      table.values[at] = value;
      table.eventTimesUs[at] = eventTimeUs;
      table.statuses[at] = defaulted
        ? NOT_FOUND
        : status === PRESENT && value === null
          ? NULL_VALUE
          : status;
    }
    if (errors !== undefined) noteErrors(part, context, table, row, errors);
    noteViolations(part, context, table, row, results);
  }
}

/** Fills the places of a part for a row that has no value there, by what its view says of that. */
function fillWithoutRow(
  { outputs, read }: ShapedPart,
  table: AnswerTable,
  start: number,
  status: number,
  eventTimeUs: Int64 | null,
): void {
  const { onOutdated, onStoreDown } = (read as PartRead).view;
  const policy = status === UNAVAILABLE ? onStoreDown : onOutdated;
  for (const { place, output } of outputs) {
    const at = start + place;
    const { notes } = output;
    // What has no row is answered by its default, whatever is said of rows that are too old.
    const hasDefault = policy !== "null" || status === NOT_FOUND;
    table.values[at] = hasDefault ? (notes?.defaultValue ?? null) : null;
    table.statuses[at] = status;
    table.eventTimesUs[at] = eventTimeUs;
  }
}

function noteViolations(
  { outputs, expectations }: ShapedPart,
  { violated }: RowContext,
  table: AnswerTable,
  row: RequestRow,
  results: readonly Value[],
): void {
  for (const { expectation, output, place } of expectations) {
    if (results[place] !== true) continue;
    const name = table.names[(outputs[output] as BoundOutput).place] as string;
    violated(name);
    const noted = table.violations.get(row.place) ?? {};
    table.violations.set(row.place, noted);
    (noted[name] ??= []).push(expectation.predicate.text);
  }
}

/** Event time in µs before which a row is too old. */
function oldestOf({ name, ttlSeconds = Infinity }: View, maxAge: MaxAge, nowMs: number): number {
  const allowed = Math.min(ttlSeconds, maxAge.all, maxAge.byView.get(name) ?? Infinity);
  return (nowMs - allowed * 1000) * 1000;
}

function outdated(view: View, eventTimeUs: Int64, row: RequestRow): number {
  if (view.onOutdated === "last") return STALE;
  if (view.onOutdated !== "error") return OUTSIDE_MAX_AGE;
  const path = pathOf(row, row.place);
  throw new OnceflowError(
    "VALUE_OUTDATED",
    `${path}: its row of view "${view.name}" is of ${formatTimestamp(eventTimeUs)}, which is older than may be served. Materialize the view, or allow a greater age.`,
    { path, view: view.name, event_time: formatTimestamp(eventTimeUs) },
  );
}

function fillRegisters(
  registers: Value[],
  read: PartRead,
  bytes: Buffer,
  eventTimeUs: Int64,
): void {
  const values = read.decode(bytes, versionBytes);
  for (let i = 0; i < values.length; i++)
    registers[read.registers[i] as number] = values[i] as Value;
  if (read.eventTimeRegister !== undefined) registers[read.eventTimeRegister] = eventTimeUs;
}

/** Runs each output by itself: the results as the whole program has them, and what was thrown. */
function runEach(
  { outputs, expectations, alone }: ShapedPart,
  registers: readonly Value[],
): [results: Value[], errors: ReadonlyMap<number, unknown>] {
  const results = new Array<Value>(outputs.length + expectations.length).fill(null);
  const errors = new Map<number, unknown>();
  outputs.forEach((_, output) => {
    try {
      const [value = null, ...flags] = alone(output)(registers);
      results[output] = value;
      expectations
        .filter((each) => each.output === output)
        .forEach(({ place }, i) => {
          results[place] = flags[i] ?? null;
        });
    } catch (error) {
      errors.set(output, error);
    }
  });
  return [results, errors];
}

function noteErrors(
  { outputs }: ShapedPart,
  { failed }: RowContext,
  table: AnswerTable,
  row: RequestRow,
  errors: ReadonlyMap<number, unknown>,
): void {
  const noted = table.errors.get(row.place) ?? {};
  table.errors.set(row.place, noted);
  for (const [output, error] of errors) {
    const { place } = outputs[output] as BoundOutput;
    const name = table.names[place] as string;
    const at = row.place * table.names.length + place;
    [table.values[at], table.statuses[at]] = [null, ERROR];
    // What is not foreseen may tell of the inside of the process: it goes to the log alone.
    noted[name] = error instanceof OnceflowError ? messageOf(error) : "an unexpected error";
    failed(name, error);
  }
}
