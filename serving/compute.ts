/** Computes the answer of one row from what was read. */
import type { Int64, Value } from "../engine/dtypes.ts";
import type { Json } from "../engine/wire.ts";
import { formatTimestamp, toJson } from "../engine/wire.ts";
import type { StoredRow } from "../store/row-reader.ts";
import type { FeatureRow, Status } from "./answer.ts";
import { statuses } from "./answer.ts";
import type { Gathered } from "./gather.ts";
import type { Part, PartRead } from "./planned.ts";
import { atPath } from "./request.ts";
import type { RequestRow, RowGroup } from "./rows.ts";

/** What the rows of a group are computed from. */
export interface RowContext {
  readonly group: RowGroup;
  /** All outputs, in order. */
  readonly names: readonly string[];
  readonly gathered: Gathered;
  readonly nowMs: number;
  /** Told of each value that does not satisfy an expectation. */
  readonly violated: (feature: string) => void;
  /** See `AnswerFacts`; counted up. */
  readonly statusCounts: number[];
}

/** The answer of a row while it is put together, by the places of outputs. */
interface Draft {
  readonly values: Json[];
  readonly statuses: Status[];
  readonly times: (string | null)[];
  violations: Record<string, string[]> | undefined;
}

/** Fills the places of one part. */
type PartFiller = (row: RequestRow, index: number, draft: Draft) => void;

/** Makes the function that answers rows of a group, by their index in it. */
export function createRowComputer(context: RowContext): (row: RequestRow, i: number) => FeatureRow {
  const { names, group, statusCounts } = context;
  const fillers = group.binding.parts.map((part) => createFiller(part, context));
  return (row, index) => {
    const draft: Draft = { values: [], statuses: [], times: [], violations: undefined };
    for (const fill of fillers) fill(row, index, draft);
    // Names come from the catalogue, which refuses those that objects inherit.
    const features: Record<string, Json> = {};
    const byName: Record<string, Status> = {};
    const times: Record<string, string | null> = {};
    names.forEach((name, place) => {
      features[name] = draft.values[place] ?? null;
      const status = draft.statuses[place] ?? "NOT_FOUND";
      byName[name] = status;
      statusCounts[place * statuses.length + statuses.indexOf(status)]! += 1;
      times[name] = draft.times[place] ?? null;
    });
    return {
      ...(row.entity === undefined ? {} : { entity: row.entity }),
      features,
      statuses: byName,
      event_times: times,
      ...(draft.violations === undefined ? {} : { violations: draft.violations }),
    };
  };
}

function createFiller(part: Part, context: RowContext): PartFiller {
  const { bound, reads, places } = part;
  const { gathered, group, nowMs, violated } = context;
  const rowsOf = reads.map((read) => gathered.rowsOf(group, read));
  const slots = new Array<Value>(bound.slotCount).fill(null);
  for (const { view, fingerprint, slot } of bound.aggregates)
    slots[slot] = gathered.snapshots.get(view)?.values.get(fingerprint) ?? null;
  const requested = bound.request.map(({ input, slot }) => ({
    slot,
    column: input.column,
    value: group.inputs.findIndex(({ id }) => id === input.id),
  }));
  const oldestUs = reads.map(({ view }) =>
    view.ttlSeconds === undefined ? -Infinity : (nowMs - view.ttlSeconds * 1000) * 1000,
  );

  return (row, index, draft) => {
    let status: Status = "PRESENT";
    let eventTimeUs: Int64 | null = null;
    reads.forEach((read, i) => {
      const stored = rowsOf[i]?.[index] ?? null;
      if (stored === null) {
        status = worst(status, "NOT_FOUND");
        return;
      }
      if (stored.eventTimeUs < (oldestUs[i] ?? -Infinity))
        status = worst(status, "OUTSIDE_MAX_AGE");
      if (eventTimeUs === null || stored.eventTimeUs < eventTimeUs)
        eventTimeUs = stored.eventTimeUs;
      fillSlots(slots, read, stored);
    });
    const time = eventTimeUs === null ? null : formatTimestamp(eventTimeUs);
    if ((status as Status) !== "PRESENT") {
      places.forEach((place, i) => {
        const { node, notes } = bound.outputs[i]!.output;
        draft.values[place] = toJson(node.dtype, notes?.defaultValue ?? null);
        draft.statuses[place] = status;
        draft.times[place] = time;
      });
      return;
    }
    for (const { slot, column, value } of requested)
      // A key column is the entity's, unless the inputs carry it as well.
      slots[slot] = (value < 0 ? row.entity?.[column] : row.values[value]) ?? null;
    const results = run(part, slots, row);
    places.forEach((place, i) => {
      const value = results[i] ?? null;
      draft.values[place] = toJson(bound.outputs[i]!.output.node.dtype, value);
      const found = value === null ? "NULL_VALUE" : "PRESENT";
      draft.statuses[place] = bound.outputs[i]!.defaulted ? "NOT_FOUND" : found;
      draft.times[place] = time;
    });
    for (const { expectation, output, place } of bound.expectations) {
      if (results[place] !== true) continue;
      const name = context.names[places[output]!]!;
      violated(name);
      draft.violations ??= {};
      (draft.violations[name] ??= []).push(expectation.predicate.text);
    }
  };
}

function fillSlots(slots: Value[], read: PartRead, { values, eventTimeUs }: StoredRow): void {
  read.slots.forEach((slot, i) => {
    slots[slot] = values[i] ?? null;
  });
  if (read.eventTimeSlot !== undefined) slots[read.eventTimeSlot] = eventTimeUs;
}

/** Runs the program of a part; what a user's map throws is led by the path of the row. */
function run({ bound }: Part, slots: readonly Value[], { path }: RequestRow): Value[] {
  try {
    return bound.program(slots);
  } catch (error) {
    throw atPath(path, error);
  }
}

function worst(a: Status, b: Status): Status {
  return statuses.indexOf(a) < statuses.indexOf(b) ? b : a;
}
