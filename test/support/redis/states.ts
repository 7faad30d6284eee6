/** Aggregate states of a column of values, by each of the ways that make them. */
import type { ViewAggregate } from "../../../engine/catalogue.ts";
import { fingerprintOf } from "../../../engine/fingerprint.ts";
import pl from "nodejs-polars";
import {
  aggregateOf,
  type AggregateName,
  aggregates,
  emptyState,
  singleState,
  type State,
} from "../../../engine/aggregates.ts";
import { compileStates } from "../../../engine/compile/states.ts";
import { toSeries } from "../../../engine/compile/frame.ts";
import { type Dtype, dtypes, type Value } from "../../../engine/language/dtypes.ts";
import { columnNode } from "../engine/parity.ts";

/** Every aggregate of the table. */
export const aggregateNames = Object.keys(aggregates) as readonly AggregateName[];

/** An aggregate over inputs of one dtype that it takes. */
export interface AggregateCase {
  readonly name: AggregateName;
  readonly dtype: Dtype;
}

/** Every row of the aggregate table with every dtype that it takes. */
export const aggregateCases: readonly AggregateCase[] = aggregateNames.flatMap((name) =>
  dtypes
    .filter((dtype) => typeof aggregateOf(name).dtype([dtype]) === "string")
    .map((dtype) => ({ name, dtype })),
);

/** The state folded in JavaScript, one value at a time. */
export function foldState({ name, dtype }: AggregateCase, values: readonly Value[]): State {
  const { merge } = aggregateOf(name);
  return values
    .filter((value) => value !== null)
    .reduce<State>(
      (state, value) => merge(state, singleState(name, value, dtype)),
      emptyState(name, dtype),
    );
}

const compiled = new Map(
  dtypes.map((dtype) => {
    const cases = aggregateCases.filter((each) => each.dtype === dtype);
    const requests = cases.map(({ name }) => ({
      fingerprint: name,
      aggregate: name,
      input: columnNode("x", dtype),
    }));
    return [dtype, cases.length === 0 ? undefined : compileStates(requests)];
  }),
);

/** The states of all aggregates that take the dtype, computed by polars over a frame of these chunks. */
export async function polarsStates(
  dtype: Dtype,
  ...chunks: readonly (readonly Value[])[]
): Promise<ReadonlyMap<string, State>> {
  const frames = chunks.map((values) => pl.DataFrame([toSeries("x", dtype, values)]));
  const frame = pl.concat(frames, { rechunk: false, how: "vertical" });
  return (await compiled.get(dtype)?.(frame)) ?? new Map();
}

/** What an aggregate makes of a state. */
export function valueOfState({ name, dtype }: AggregateCase, state: State): Value {
  return aggregateOf(name).value(state, dtype);
}

/** The aggregate of a case over a column, as a view has it. */
export function viewAggregate({ name, dtype }: AggregateCase): ViewAggregate {
  const result = aggregateOf(name).dtype([dtype]);
  const node = Object.freeze({
    kind: "aggregate",
    aggregate: name,
    input: columnNode("x", dtype),
    dtype: typeof result === "string" ? result : dtype,
    shape: "scalar",
  } as const);
  return { fingerprint: fingerprintOf(node), node };
}
