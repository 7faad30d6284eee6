/** Plans of services and feature lists, kept, and made ready to read stored rows. */
import type { Catalogue, Output, View } from "../engine/catalogue.ts";
import { aggregateFingerprint, outputNamed } from "../engine/catalogue.ts";
import type { OnlineForm } from "../engine/compile/online.ts";
import type { Dtype } from "../engine/language/dtypes.ts";
import { createLru } from "../engine/lru.ts";
import { visit } from "../engine/language/node.ts";
import type { Asked, BoundPlan, Plan, StoreRead } from "../engine/planner.ts";
import { plan } from "../engine/planner.ts";
import type { RowCodec, RowDecoder } from "../store/rows/codec.ts";
import { createRowCodec } from "../store/rows/codec.ts";
import { atPath } from "./request.ts";
import type { RowShape } from "./rows.ts";

/** The stored columns that a part reads of one view. */
export interface PartRead extends StoreRead {
  readonly decode: RowDecoder;
}

/**
 * Outputs of a binding that rest on the stored row of one view, or on none. They are computed
 * together or not at all, so that nothing is ever computed from a row that is missing or too old.
 */
export interface Part {
  readonly bound: BoundPlan;
  readonly read: PartRead | undefined;
  /** For each output of `bound`, its place among all outputs. */
  readonly places: readonly number[];
}

/** A plan bound to the inputs and keys that rows carry. */
export interface Binding {
  readonly bound: BoundPlan;
  readonly parts: readonly Part[];
}

/** The outputs of a plan that rest on aggregates of one view. */
export interface AggregateUse {
  readonly view: View;
  readonly features: readonly string[];
  /** Of the aggregates. */
  readonly fingerprints: readonly string[];
}

/** A plan with what serving derives from it once. */
export interface Planned {
  readonly plan: Plan;
  readonly service: string | undefined;
  /** Of the outputs, in order. */
  readonly names: readonly string[];
  readonly dtypes: readonly Dtype[];
  readonly aggregates: readonly AggregateUse[];
  /** What was settled for rows with the same members, the newest first. */
  readonly shapes: RowShape[];
  /** @throws MISSING_INPUT */
  readonly bind: (inputs: ReadonlySet<string>, keys: ReadonlySet<string>) => Binding;
}

/** Lists of features whose plans are kept: those used last. */
const listLimit = 32;

/** Makes the function that plans what is asked, once for each service and each recent list. */
export function createPlans(catalogue: Catalogue, form: OnlineForm): (asked: Asked) => Planned {
  const services = new Map<string, Planned>();
  const lists = createLru<string, Planned>(listLimit);
  const codecs = new Map<View, RowCodec>();

  function codecOf(view: View): RowCodec {
    const codec = codecs.get(view) ?? createRowCodec(view.stores);
    codecs.set(view, codec);
    return codec;
  }

  function partsOf(
    whole: BoundPlan,
    inputs: ReadonlySet<string>,
    keys: ReadonlySet<string>,
  ): Part[] {
    const groups = new Map<string, number[]>();
    whole.outputs.forEach(({ reads }, place) => {
      const key = reads.join(",");
      groups.set(key, [...(groups.get(key) ?? []), place]);
    });
    return [...groups.values()].map((places): Part => {
      const bound =
        groups.size === 1
          ? whole
          : plan(
              catalogue,
              { features: places.map((place) => nameAlone(whole.outputs[place]?.output)) },
              { form },
            ).bind(inputs, keys);
      const [read] = bound.store;
      return {
        bound,
        read: read && { ...read, decode: codecOf(read.view).decoder(read.columns) },
        places,
      };
    });
  }

  function prepare(asked: Asked): Planned {
    const made = plan(catalogue, asked, { form });
    const bindings = new WeakMap<BoundPlan, Binding>();
    return {
      plan: made,
      service: "service" in asked ? asked.service : undefined,
      names: made.outputs.map(({ name }) => name),
      dtypes: made.outputs.map(({ node }) => node.dtype),
      aggregates: aggregatesUsed(made.outputs),
      shapes: [],
      bind(inputs, keys) {
        const bound = made.bind(inputs, keys);
        let binding = bindings.get(bound);
        if (binding === undefined) {
          binding = { bound, parts: partsOf(bound, inputs, keys) };
          bindings.set(bound, binding);
        }
        return binding;
      },
    };
  }

  return (asked) => {
    const [kept, key] =
      "service" in asked ? [services, asked.service] : [lists, JSON.stringify(asked.features)];
    let planned = kept.get(key);
    if (planned === undefined) {
      if ("features" in asked) requireKnown(catalogue, asked.features);
      planned = prepare(asked);
      kept.set(key, planned);
    }
    return planned;
  };
}

/** @throws UNKNOWN_FEATURE with the place in the list */
function requireKnown(catalogue: Catalogue, features: readonly string[]): void {
  features.forEach((name, i) => {
    try {
      outputNamed(catalogue, name);
    } catch (error) {
      throw atPath(`features[${i}]`, error);
    }
  });
}

/** The name by which an output of any plan can be asked for by itself. */
function nameAlone(output: Output | undefined): string {
  if (output === undefined) throw new Error("an output is missing in its plan");
  const { name, node, view } = output;
  return node.kind === "column" ? `${view.name}.${node.name}` : name;
}

function aggregatesUsed(outputs: readonly Output[]): AggregateUse[] {
  const uses = new Map<View, { features: Set<string>; fingerprints: Set<string> }>();
  for (const { name, node, view } of outputs)
    visit([node], (each) => {
      if (each.kind !== "aggregate") return;
      const use = uses.get(view) ?? { features: new Set(), fingerprints: new Set() };
      use.features.add(name);
      use.fingerprints.add(aggregateFingerprint(view.source, each));
      uses.set(view, use);
    });
  return [...uses].map(([view, { features, fingerprints }]) => ({
    view,
    features: [...features],
    fingerprints: [...fingerprints],
  }));
}
