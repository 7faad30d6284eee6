/** The catalogue as JSON, for people and tools that call the service. */
import type { Catalogue, Feature, Output, Service, View } from "../engine/catalogue.ts";
import { kindOf, serviceNamed } from "../engine/catalogue.ts";
import type { Dtype } from "../engine/language/dtypes.ts";
import { fingerprintOf } from "../engine/fingerprint.ts";
import { type InputOrigin, plan } from "../engine/planner.ts";
import type { RequiredInput } from "../engine/resolve.ts";
import type { Json } from "../engine/wire.ts";
import { toJson } from "../engine/wire.ts";
import type { FeatureRequest } from "./request.ts";

/** Every service by name. */
export function describeServices(catalogue: Catalogue) {
  return {
    services: [...catalogue.services.values()].map(
      ({ name, description, fingerprint, outputs }) => ({
        name,
        description: description ?? null,
        fingerprint,
        features: outputs.map((output) => output.name),
      }),
    ),
  };
}

/**
 * One service: its ordered outputs, what a request may carry for it, and requests to start from.
 *
 * @throws UNKNOWN_SERVICE
 */
export function describeService(catalogue: Catalogue, name: string): ServiceDescription {
  const service = serviceNamed(catalogue, name);
  let description = described.get(service);
  if (description === undefined) {
    description = makeDescription(catalogue, service);
    described.set(service, description);
  }
  return description;
}

/** A description takes a plan, and what it is of never changes. */
const described = new WeakMap<Service, ServiceDescription>();

type ServiceDescription = ReturnType<typeof makeDescription>;

function makeDescription(catalogue: Catalogue, service: Service) {
  const { name } = service;
  const { entityKeys, inputOrigins } = plan(catalogue, { service: name });
  const inputs = describeInputs(inputOrigins());
  return {
    name,
    description: service.description ?? null,
    fingerprint: service.fingerprint,
    features: service.outputs.map(describeOutput),
    entity_keys: entityKeys,
    inputs,
    examples: examplesOf(name, entityKeys, inputs),
  };
}

/** Every view and feature. */
export function describeCatalogue(catalogue: Catalogue) {
  return {
    views: [...catalogue.views.values()].map(describeView),
    features: [...catalogue.features.values()].map((feature) =>
      describeFeature(feature, catalogue.views.get(feature.view)),
    ),
    ...describeServices(catalogue),
  };
}

function describeView(view: View) {
  return {
    name: view.name,
    description: view.description ?? null,
    source: view.rows.name,
    entity: view.entity.name,
    entity_keys: view.rows.key,
    event_time: view.rows.eventTime ?? null,
    ttl_seconds: view.ttlSeconds ?? null,
    fingerprint: view.fingerprint,
    aggregates_fingerprint: view.aggregatesFingerprint,
    stores: view.stores.map(({ name, dtype }) => ({ name, dtype })),
  };
}

function describeFeature({ name, node, notes, module, view }: Feature, owner: View | undefined) {
  return {
    name,
    view,
    module,
    kind: owner === undefined ? null : kindOf({ name, node, notes, module, view }, owner),
    dtype: node.dtype,
    fingerprint: fingerprintOf(node),
    ...describeNotes(node.dtype, notes),
  };
}

function describeOutput({ name, node, view, notes }: Output) {
  return { name, view: view.name, dtype: node.dtype, ...describeNotes(node.dtype, notes) };
}

function describeNotes(dtype: Dtype, notes: Output["notes"]) {
  return {
    description: notes?.description ?? null,
    tags: notes?.tags ?? {},
    expectations: (notes?.expectations ?? []).map(({ predicate }) => predicate.text),
    default: toJson(dtype, notes?.defaultValue ?? null),
  };
}

const exampleValues: Readonly<Record<Dtype, Json>> = {
  bool: true,
  int64: 1,
  float64: 1.5,
  string: "text",
  timestamp: "2026-01-31T12:00:00Z",
  list_float64: [0.5, 1.5],
};

/** The names that requests give to inputs: a column that two sources have is told by its id. */
export function inputNames(inputs: readonly RequiredInput[]): ReadonlyMap<RequiredInput, string> {
  const isTwin = ({ column }: RequiredInput) =>
    inputs.filter((other) => other.column === column).length > 1;
  return new Map(inputs.map((input) => [input, isTwin(input) ? input.id : input.column]));
}

function describeInputs(origins: ReadonlyMap<RequiredInput, InputOrigin>) {
  const names = inputNames([...origins.keys()]);
  return [...origins].map(([input, from]) => {
    const { id, dtype, nullable, features } = input;
    return { name: names.get(input) ?? id, id, dtype, nullable, from, features };
  });
}

/** Where the store has something, a request by entity; and one by inputs alone. */
function examplesOf(
  name: string,
  entityKeys: readonly string[],
  inputs: ReturnType<typeof describeInputs>,
): FeatureRequest[] {
  const valuesOf = (some: typeof inputs) =>
    Object.fromEntries(some.map((input) => [input.name, exampleValues[input.dtype]]));
  const entity = Object.fromEntries(entityKeys.map((key) => [key, "11"]));
  const unstored = inputs.filter(({ from }) => from === "request");
  const byInputs = { service: name, inputs: valuesOf(inputs) };
  // What needs all of its inputs from the request gets nothing from an entity.
  if (inputs.length > 0 && unstored.length === inputs.length) return [byInputs];
  const byEntity = { service: name, entities: [entity] };
  return [unstored.length === 0 ? byEntity : { ...byEntity, inputs: valuesOf(unstored) }, byInputs];
}
