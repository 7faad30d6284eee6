/** Where each output comes from, as plain data. */
import type { Dtype } from "../engine/language/dtypes.ts";
import { fingerprintOf } from "../engine/fingerprint.ts";
import type { Node } from "../engine/language/node.ts";
import { inputsOf } from "../engine/language/node.ts";
import type { BoundPlan, Plan } from "../engine/planner.ts";

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
export function explainPlan(plan: Plan, bound: BoundPlan): PlanExplanation {
  return {
    outputs: plan.outputs.map(({ name, node, view }): OutputExplanation => {
      const from = {
        request: new Set<string>(),
        stored: new Set<string>(),
        aggregates: new Set<string>(),
        opaque: new Set<string>(),
      };
      const requested = new Set(bound.request.map(({ input }) => input.id));
      const read = bound.store.find((each) => each.view === view);
      const seen = new Set<Node>();
      const follow = (each: Node): OutputExplanation["how"] => {
        const stored = view.stores.find(
          (column) => fingerprintOf(column.node) === fingerprintOf(each),
        );
        if (stored !== undefined && read?.columns.includes(stored.name)) {
          from.stored.add(stored.name);
          return "stored";
        }
        if (each.kind === "aggregate") {
          from.aggregates.add(textOfAggregate(each));
          return "aggregate";
        }
        if (each.kind === "column") {
          const id = `${each.source}.${each.name}`;
          const inRequest = requested.has(id);
          from[inRequest ? "request" : "stored"].add(inRequest ? id : each.name);
          return inRequest ? "request" : "stored";
        }
        if (each.kind === "map") from.opaque.add(`${each.name} version ${each.version}`);
        for (const input of inputsOf(each)) {
          if (seen.has(input)) continue;
          seen.add(input);
          follow(input);
        }
        return "computed";
      };
      const isDefaulted = bound.outputs.some((each) => each.output.name === name && each.defaulted);
      const how = isDefaulted ? "default" : follow(node);
      return {
        name,
        dtype: node.dtype,
        view: view.name,
        how,
        request: [...from.request],
        stored: [...from.stored],
        aggregates: [...from.aggregates],
        opaque: [...from.opaque],
      };
    }),
    reads: bound.store.map(({ view, columns, eventTimeSlot }) => ({
      view: view.name,
      columns,
      stores: view.stores.length,
      eventTime: eventTimeSlot !== undefined,
    })),
  };
}

function textOfAggregate(node: Extract<Node, { kind: "aggregate" }>): string {
  const { input } = node;
  return `${node.aggregate}(${input.kind === "column" ? input.name : "…"})`;
}
