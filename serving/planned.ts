/** Plans of services and feature lists, kept, with what serving derives from each once. */
import type { Catalogue, Output, View } from "../engine/catalogue.ts";
import { aggregatesOf, outputNamed } from "../engine/catalogue.ts";
import type { OnlineForm } from "../engine/compile/online.ts";
import type { Dtype } from "../engine/language/dtypes.ts";
import { createLru } from "../engine/lru.ts";
import type { Asked, Plan } from "../engine/planner.ts";
import { plan } from "../engine/planner.ts";
import { createPartBinder } from "./ready-parts.ts";
import { atPath } from "./request.ts";
import { createShapes, type FindShape } from "./shapes.ts";

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
  /** Of the outputs, each once. */
  readonly views: readonly View[];
  /** What is settled for the rows of requests. */
  readonly shapeOf: FindShape;
}

/** Lists of features whose plans are kept: those used last. */
const listLimit = 32;

/** Makes the function that plans what is asked, once for each service and each recent list. */
export function createPlans(catalogue: Catalogue, form: OnlineForm): (asked: Asked) => Planned {
  const services = new Map<string, Planned>();
  const lists = createLru<string, Planned>(listLimit);
  const binderOf = createPartBinder();

  function prepare(asked: Asked): Planned {
    const made = plan(catalogue, asked, { form });
    return {
      plan: made,
      service: "service" in asked ? asked.service : undefined,
      names: made.outputs.map(({ name }) => name),
      dtypes: made.outputs.map(({ node }) => node.dtype),
      aggregates: aggregatesUsed(made.outputs),
      views: [...new Set(made.outputs.map(({ view }) => view))],
      shapeOf: createShapes(made, binderOf(made)),
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

function aggregatesUsed(outputs: readonly Output[]): AggregateUse[] {
  const uses = new Map<View, { features: Set<string>; fingerprints: Set<string> }>();
  for (const { name, node, view } of outputs)
    for (const { fingerprint } of aggregatesOf(view.source, [node])) {
      const use = uses.get(view) ?? { features: new Set(), fingerprints: new Set() };
      use.features.add(name);
      use.fingerprints.add(fingerprint);
      uses.set(view, use);
    }
  return [...uses].map(([view, { features, fingerprints }]) => ({
    view,
    features: [...features],
    fingerprints: [...fingerprints],
  }));
}
