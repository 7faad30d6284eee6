/**
 * The registry: what a build promises to those who use its views and services, as plain JSON.
 * `apply` keeps that of the build which was applied last, and `plan` compares with it.
 */
import type { Catalogue, Service, View } from "./catalogue.ts";
import type { Dtype } from "./language/dtypes.ts";
import { fingerprintOf, hash } from "./fingerprint.ts";
import type { Node } from "./language/node.ts";
import { below } from "./rests-on.ts";

/** The views and services of a build, by name. */
export interface Registry {
  readonly views: Readonly<Record<string, RegisteredView>>;
  readonly services: Readonly<Record<string, RegisteredService>>;
}

/** What is known of a view. */
export interface RegisteredView {
  /** Storage fingerprint. */
  readonly fingerprint: string;
  /** Of all that a materialization does. */
  readonly definition: string;
  /** Fingerprints of its aggregates, and of their set. */
  readonly aggregates: readonly string[];
  readonly aggregatesFingerprint: string;
  /** Key columns of its entity. */
  readonly entity: readonly string[];
  /** Features and stored columns, by name. */
  readonly columns: Readonly<Record<string, RegisteredColumn>>;
  /** Upstream views. */
  readonly dependsOn: readonly string[];
}

/** What a value is and how it is computed. */
export interface RegisteredColumn {
  readonly dtype: Dtype;
  /** Hash of its formula. */
  readonly formula: string;
  /** Hash of the text of the `map` functions below it, which is in no fingerprint; absent for none. */
  readonly code?: string;
}

/** What is known of a service. */
export interface RegisteredService {
  readonly fingerprint: string;
  /** In the order in which they are answered. */
  readonly outputs: readonly RegisteredOutput[];
}

/** A value that a service answers with. */
export interface RegisteredOutput extends RegisteredColumn {
  readonly name: string;
  readonly view: string;
}

/** What changed of a view or a service, in words. */
export interface DefinitionChange {
  readonly change: "create" | "update" | "delete";
  readonly kind: "view" | "service";
  readonly name: string;
  readonly why: readonly string[];
  readonly breaking: readonly Breaking[];
}

/** Something that a consumer relied on and that is no longer so. */
export interface Breaking {
  readonly what: string;
  /** Services and views that use it, as `service model_x`. */
  readonly consumers: readonly string[];
}

/** The registry of a build. */
export function registryOf({ views, services }: Catalogue): Registry {
  return {
    views: mapValues(views, registeredView),
    services: mapValues(services, registeredService),
  };
}

/** The registry of nothing, before the first `apply`. */
export const emptyRegistry: Registry = { views: {}, services: {} };

/**
 * What a build changes of what was applied before it. Breaking is what a consumer could rely on:
 * that a value is there, at its place in a service, of its dtype, and computed as before, since a
 * model was trained on it.
 */
export function compareRegistries(before: Registry, after: Registry): DefinitionChange[] {
  return [
    ...changesOf("view", before.views, after.views, (name, old, now) => ({
      why: now === undefined ? [] : viewDifferences(old, now),
      breaking: viewBreaks(name, old, now, before),
    })),
    ...changesOf("service", before.services, after.services, (name, old, now) => ({
      why: now === undefined ? [] : serviceDifferences(old, now),
      breaking: serviceBreaks(name, old, now, before, after),
    })),
  ];
}

function registeredView(view: View): RegisteredView {
  const { fingerprint, definition, aggregates, aggregatesFingerprint, entity } = view;
  return {
    fingerprint,
    definition,
    aggregates: aggregates.map((each) => each.fingerprint),
    aggregatesFingerprint,
    entity: entity.keys,
    columns: Object.fromEntries(
      [...view.stores, ...view.features].map(({ name, node }) => [
        name,
        { dtype: node.dtype, formula: fingerprintOf(node), ...codeOf(node) },
      ]),
    ),
    dependsOn: (view.schedule?.dependsOn ?? []).map((each) => each.view),
  };
}

function codeOf(node: Node): Pick<RegisteredColumn, "code"> {
  const texts = below([node], "map").map(({ compute }) => String(compute).replaceAll(/\s+/g, ""));
  return texts.length === 0 ? {} : { code: hash(texts) };
}

function registeredService({ fingerprint, outputs }: Service): RegisteredService {
  return {
    fingerprint,
    outputs: outputs.map(({ name, node, view }) => ({
      name,
      view: view.name,
      dtype: node.dtype,
      formula: fingerprintOf(node),
    })),
  };
}

function mapValues<T, R>(map: ReadonlyMap<string, T>, of: (value: T) => R): Record<string, R> {
  return Object.fromEntries([...map].map(([name, value]) => [name, of(value)]));
}

function changesOf<T>(
  kind: DefinitionChange["kind"],
  before: Readonly<Record<string, T>>,
  after: Readonly<Record<string, T>>,
  compare: (name: string, old: T, now: T | undefined) => Pick<DefinitionChange, "why" | "breaking">,
): DefinitionChange[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  return names.flatMap((name): DefinitionChange[] => {
    const [old, now] = [before[name], after[name]];
    if (old === undefined) return [{ change: "create", kind, name, why: [], breaking: [] }];
    if (now !== undefined && JSON.stringify(old) === JSON.stringify(now)) return [];
    return [
      { change: now === undefined ? "delete" : "update", kind, name, ...compare(name, old, now) },
    ];
  });
}

function viewDifferences(old: RegisteredView, now: RegisteredView): string[] {
  const why: string[] = [];
  if (old.fingerprint !== now.fingerprint)
    why.push(
      `storage fingerprint ${short(old.fingerprint)} → ${short(now.fingerprint)}: its rows lie beside the old ones`,
    );
  else if (old.aggregatesFingerprint !== now.aggregatesFingerprint)
    why.push("aggregates changed: their states lie beside the old ones; no row moves");
  else if (old.definition !== now.definition)
    why.push(
      "expectations changed, what files call its columns, or the source's onOutside; no row moves",
    );
  const added = Object.keys(now.columns).filter((name) => old.columns[name] === undefined);
  if (added.length > 0) why.push(`new: ${added.join(", ")}`);
  for (const [name, { formula, code }] of Object.entries(now.columns))
    if (old.columns[name]?.formula === formula && old.columns[name].code !== code)
      why.push(
        `the function of ${name} reads otherwise, and its version is the same: raise the version where it computes otherwise, since stored and trained values are of the old one`,
      );
  if (old.dependsOn.join() !== now.dependsOn.join())
    why.push(`comes after ${now.dependsOn.join(", ") || "no view"}`);
  return why;
}

function serviceDifferences(old: RegisteredService, now: RegisteredService): string[] {
  const had = new Set(old.outputs.map(({ name }) => name));
  const added = now.outputs.filter(({ name }) => !had.has(name)).map(({ name }) => name);
  if (added.length > 0) return [`new: ${added.join(", ")}`];
  const promise = ({ outputs }: RegisteredService) => JSON.stringify(outputs);
  return promise(old) === promise(now) ? ["rests on other stored rows or aggregates"] : [];
}

function viewBreaks(
  name: string,
  old: RegisteredView,
  now: RegisteredView | undefined,
  before: Registry,
): Breaking[] {
  const users = (column?: string) => consumersOf(before, name, column);
  if (now === undefined) return [{ what: `view ${name} is gone`, consumers: users() }];
  const breaking: Breaking[] = [];
  if (old.entity.join() !== now.entity.join())
    breaking.push({
      what: `its entity key is ${now.entity.join(", ")}, no longer ${old.entity.join(", ")}`,
      consumers: users(),
    });
  for (const [column, was] of Object.entries(old.columns)) {
    const what = differenceOf(column, was, now.columns[column]);
    if (what !== undefined) breaking.push({ what, consumers: users(column) });
  }
  return breaking;
}

function serviceBreaks(
  name: string,
  old: RegisteredService,
  now: RegisteredService | undefined,
  before: Registry,
  after: Registry,
): Breaking[] {
  const consumers = [`callers of service ${name}`];
  if (now === undefined) return [{ what: `service ${name} is gone`, consumers }];
  const words = old.outputs.flatMap((was, place) => {
    const newPlace = now.outputs.findIndex((output) => output.name === was.name);
    const difference = differenceOf(was.name, was, now.outputs[newPlace]);
    if (difference !== undefined) return [difference];
    return newPlace === place
      ? []
      : [`${was.name} is answered at place ${newPlace + 1}, no longer ${place + 1}`];
  });
  const keysOf = ({ views }: Registry, { outputs }: RegisteredService) =>
    new Set(outputs.flatMap(({ view }) => views[view]?.entity ?? []));
  const asked = keysOf(before, old);
  const more = [...keysOf(after, now)].filter((key) => !asked.has(key));
  if (more.length > 0) words.push(`callers must give the entity key ${more.join(", ")}`);
  return words.map((what) => ({ what, consumers }));
}

function differenceOf(
  name: string,
  was: RegisteredColumn,
  now: RegisteredColumn | undefined,
): string | undefined {
  if (now === undefined) return `${name} is gone`;
  if (was.dtype !== now.dtype) return `${name} is ${now.dtype}, no longer ${was.dtype}`;
  return was.formula === now.formula ? undefined : `${name} is computed otherwise`;
}

/** Who uses a view, or one column of it. */
function consumersOf(
  { views, services }: Registry,
  view: string,
  column: string | undefined,
): string[] {
  const uses = ({ outputs }: RegisteredService) =>
    outputs.some((output) => output.view === view && (column ?? output.name) === output.name);
  return [
    ...Object.keys(services)
      .filter((name) => uses(services[name] as RegisteredService))
      .map((name) => `service ${name}`),
    ...(column === undefined
      ? Object.keys(views)
          .filter((name) => views[name]?.dependsOn.includes(view))
          .map((name) => `view ${name}`)
      : []),
  ];
}

function short(fingerprint: string): string {
  return fingerprint.slice(0, 8);
}
