/** Where each output comes from, as plain data. */
import type { Dtype } from "../engine/language/dtypes.ts";
import type { BoundOutput, BoundPart, StoreRead } from "../engine/plan-parts.ts";
import type { Given } from "../engine/resolve.ts";

/** One output, and all that its value rests on. */
export interface OutputExplanation {
  readonly name: string;
  readonly dtype: Dtype;
  readonly view: string;
  /**
   * `request`, `stored` and `aggregate` values are taken as they are, others computed at read;
   * `default` stands for inputs that are neither in the request nor stored.
   */
  readonly how: "request" | "stored" | "aggregate" | "computed" | "default";
  /** Columns taken from the request, as `<source>.<column>`. */
  readonly request: readonly string[];
  /** Columns and features taken from the stored row. */
  readonly stored: readonly string[];
  /** Aggregates taken from the snapshot, such as `mean(age)`. */
  readonly aggregates: readonly string[];
  /** User functions that run, with their versions; what they do is opaque. */
  readonly opaque: readonly string[];
}

/** The stored columns that are decoded of one view's row. */
export interface ReadExplanation {
  readonly view: string;
  readonly columns: readonly string[];
  /** Columns that the view stores. */
  readonly stores: number;
  readonly eventTime: boolean;
}

/** What a plan does for rows that carry given inputs and keys. */
export interface PlanExplanation {
  readonly outputs: readonly OutputExplanation[];
  readonly reads: readonly ReadExplanation[];
}

/** A plan's explanation, for the rows of a request that it answers. */
export interface BindingExplanation extends PlanExplanation {
  readonly rows: number;
}

/** What answering a request takes. */
export interface Explanation {
  readonly service?: string;
  readonly fingerprint: string;
  /** Snapshot id by view. */
  readonly snapshot: Readonly<Record<string, string>>;
  readonly rows: number;
  /** Bytes of the stored rows that were read. */
  readonly bytes: number;
  /** One for each set of inputs and keys among the rows. */
  readonly bindings: readonly BindingExplanation[];
}

/** Says where each output of a bound plan comes from. */
export function explainPlan(parts: readonly BoundPart[]): PlanExplanation {
  const outputs = parts.flatMap((part) => part.outputs).sort((a, b) => a.place - b.place);
  return {
    outputs: outputs.map(explainOutput),
    reads: parts.flatMap(({ read }) => (read === undefined ? [] : [explainRead(read)])),
  };
}

function explainOutput({ output, defaulted, given, maps }: BoundOutput): OutputExplanation {
  const { name, node, view } = output;
  const namesFrom = (from: Given["from"]): string[] => [
    ...new Set(given.filter((each) => each.from === from).map(nameOf)),
  ];
  const asItIs = given.find((each) => each.node === node);
  return {
    name,
    dtype: node.dtype,
    view: view.name,
    how: defaulted ? "default" : (asItIs?.from ?? "computed"),
    request: namesFrom("request"),
    stored: namesFrom("stored"),
    aggregates: namesFrom("aggregate"),
    opaque: [...new Set(maps.map((map) => `${map.name} version ${map.version}`))],
  };
}

function nameOf(given: Given): string {
  switch (given.from) {
    case "request":
      return given.input.id;
    case "stored":
      return given.column;
    case "aggregate": {
      const { aggregate, input } = given.node;
      return `${aggregate}(${input.kind === "column" ? input.name : "…"})`;
    }
  }
}

function explainRead({ view, columns, eventTimeRegister }: StoreRead): ReadExplanation {
  return {
    view: view.name,
    columns,
    stores: view.stores.length,
    eventTime: eventTimeRegister !== undefined,
  };
}
