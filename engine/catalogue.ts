/**
 * The catalogue: every view, feature and service of a deployment, checked as a whole. All that
 * follows (planning, compiling, lineage, serving) reads definitions through it.
 */
import { algebraVersion } from "./aggregates.ts";
import { checkModules, type Modules } from "./checks.ts";
import {
  type ColumnTypes,
  type Entity,
  type FeatureService,
  type FeatureView,
  type GapRule,
  isDated,
  type Reach,
  reachOf,
  type Source,
} from "./language/definitions.ts";
import type { Dtype } from "./language/dtypes.ts";
import { didYouMean, messageOf, OnceflowError } from "./errors.ts";
import type { Expr, FeatureNotes } from "./language/expression.ts";
import { fingerprintOf, hash } from "./fingerprint.ts";
import type { AggregateNode, Node } from "./language/node.ts";
import { below, restsOnAggregate } from "./rests-on.ts";
import { resolveSchedule, type Schedule } from "./calendar/schedule.ts";

/** A named expression: what a module exports. */
export interface Feature {
  readonly name: string;
  readonly node: Node;
  readonly notes: FeatureNotes;
  /** The module of features/ that exports it. */
  readonly module: string;
  readonly view: string;
}

/** One column of the online rows of a view. */
export interface StoredColumn {
  readonly name: string;
  readonly dtype: Dtype;
  readonly node: Node;
}

/** An aggregate that features of a view rest on, named or not. */
export interface ViewAggregate {
  /** Hash of formula, inputs and source. */
  readonly fingerprint: string;
  readonly node: AggregateNode;
}

/** The raw rows of a view, settled once: what all but the readers of files need to know of them. */
export interface Rows {
  /** What their columns are called by beside those of others, as in `absences.age`. */
  readonly name: string;
  /** Name → column type, in the order of their definition. */
  readonly columns: ColumnTypes;
  /** Names of the key columns, in order. */
  readonly key: readonly string[];
  /** The timestamp column that an interval filters by. */
  readonly eventTime: string | undefined;
  /** Whether every materialization replaces the whole: neither event time nor dated files. */
  readonly isFullRefresh: boolean;
  /** How far event times may lie outside the day or hour of their file. */
  readonly reach: Reach;
}

/** A feature view with all that follows from its definition. */
export interface View extends Omit<FeatureView, "schedule" | "stores" | "gaps"> {
  readonly entity: Entity;
  readonly rows: Rows;
  /** When it is materialized; undefined means on request only. */
  readonly schedule: Schedule | undefined;
  /** What is published where an interval is missing. */
  readonly gaps: GapRule;
  /** Storage fingerprint: names the namespace of the rows. */
  readonly fingerprint: string;
  /** In the order of the row encoding, which is that of their names. */
  readonly stores: readonly StoredColumn[];
  readonly features: readonly Feature[];
  readonly aggregates: readonly ViewAggregate[];
  /** Hash of the set of aggregates: each build reads the snapshots of its own set. */
  readonly aggregatesFingerprint: string;
  /**
   * Hash of all that a materialization does: rows, aggregates, expectations, and by what names it
   * finds columns in files. Names its runs.
   */
  readonly definition: string;
}

/** A value that can be asked for: a feature, or a column by `<view>.<column>`. */
export interface Output {
  readonly name: string;
  readonly node: Node;
  readonly view: View;
  readonly notes: FeatureNotes | undefined;
}

/** A feature service with all that follows from its definition. */
export interface Service {
  readonly name: string;
  readonly description: string | undefined;
  readonly outputs: readonly Output[];
  readonly fingerprint: string;
}

export interface Catalogue {
  readonly views: ReadonlyMap<string, View>;
  readonly features: ReadonlyMap<string, Feature>;
  readonly services: ReadonlyMap<string, Service>;
}

export type { Modules };

/**
 * Imports the modules and builds their catalogue.
 *
 * @throws DEFINITION_INVALID also where modules import each other in a circle
 */
export async function loadCatalogue(load: () => Promise<object>): Promise<Catalogue> {
  let modules: Modules;
  try {
    modules = (await load()) as Modules;
  } catch (error) {
    if (!(error instanceof ReferenceError)) throw error;
    if (!error.message.includes("before initialization"))
      throw new OnceflowError(
        "DEFINITION_INVALID",
        `features/ cannot be loaded: ${messageOf(error)}${placeOf(error)}. Import it, for example from ../engine/index.ts.`,
        {},
        error,
      );
    // A const that is read before its module has run: the modules import each other.
    throw new OnceflowError(
      "DEFINITION_INVALID",
      `features/ has a cycle: ${messageOf(error)}. Two modules import each other; move what both need to a third.`,
      {},
      error,
    );
  }
  return buildCatalogue(modules);
}

/** Where an error was thrown, as ` (features/absences.ts:60)`; nothing where that cannot be told. */
function placeOf(error: Error): string {
  const place = /(features\/[^\s:?]+)[^\s:]*:(\d+)/.exec(error.stack ?? "");
  return place === null ? "" : ` (${place[1]}:${place[2]})`;
}

/**
 * Checks all definitions together and resolves them.
 *
 * @throws DEFINITION_INVALID with every problem at once
 */
export function buildCatalogue(modules: Modules): Catalogue {
  const { definitions, problems, viewOf } = checkModules(modules);
  if (problems.length > 0)
    throw new OnceflowError(
      "DEFINITION_INVALID",
      `${problems.length} definition ${problems.length === 1 ? "error" : "errors"}:\n` +
        problems.map((problem) => `  - ${problem}`).join("\n"),
      { problems },
    );

  const features = new Map<string, Feature>();
  for (const { name, module, expr } of definitions.features)
    features.set(
      name,
      Object.freeze({
        name,
        node: expr.node,
        notes: expr.notes,
        module,
        view: viewOf.get(name) ?? "",
      }),
    );
  const views = new Map<string, View>();
  for (const { definition } of definitions.views)
    views.set(definition.name, resolveView(definition, [...features.values()]));

  const catalogue = { views, features, services: new Map<string, Service>() };
  for (const { definition } of definitions.services)
    catalogue.services.set(definition.name, resolveService(definition, catalogue));
  return Object.freeze(catalogue);
}

/**
 * What a source's rows mean. The declared path is part of it; an override of the path through
 * ONCEFLOW_SOURCES is not.
 */
function sourceIdentity(source: Source): unknown {
  const { lateMs, earlyMs } = reachOf(source);
  return [
    source.name,
    source.files,
    source.eventTime ?? null,
    source.entity.name,
    source.entity.keys,
    // Absent from fingerprints of before there was a reach.
    ...(lateMs + earlyMs > 0 ? [[lateMs, earlyMs]] : []),
  ];
}

/** What files call the columns: it moves no row, since the declared column says what a value is. */
function renames({ types }: Source): readonly unknown[] {
  const renamed = Object.entries(types).flatMap(([name, { from }]) =>
    from === undefined ? [] : [[name, from]],
  );
  return renamed.length === 0 ? [] : [renamed];
}

function resolveView(declared: FeatureView, all: readonly Feature[]): View {
  const { name, source } = declared;
  const features = all.filter((feature) => feature.view === name);
  const nameOf = new Map(features.map((feature) => [fingerprintOf(feature.node), feature.name]));
  const stores = declared.stores
    .map(({ node }) => ({
      name: node.kind === "column" ? node.name : (nameOf.get(fingerprintOf(node)) ?? ""),
      dtype: node.dtype,
      node,
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const aggregates = aggregatesOf(
    source,
    features.map((feature) => feature.node),
  );
  const fingerprint = hash([
    "rows",
    sourceIdentity(source),
    stores.map((column) => [column.name, column.dtype, fingerprintOf(column.node)]),
  ]);
  const aggregatesFingerprint = hash(["aggregates", aggregates.map((each) => each.fingerprint)]);
  const rows = rowsOf(source);
  const expectations = features.flatMap(({ node, notes }) =>
    notes.expectations.map(({ predicate, onFail }) => [
      fingerprintOf(node),
      predicate.text,
      onFail,
    ]),
  );
  return Object.freeze({
    ...declared,
    entity: source.entity,
    rows,
    schedule: declared.schedule && resolveSchedule(declared.schedule, name, rows.reach.lateMs > 0),
    gaps: declared.gaps ?? (aggregates.length > 0 ? "hold" : "serve"),
    fingerprint,
    stores,
    features,
    aggregates,
    aggregatesFingerprint,
    definition: hash([
      "run",
      fingerprint,
      aggregatesFingerprint,
      expectations,
      ...renames(source),
      ...(source.onOutside === "fail" ? [] : [source.onOutside]),
    ]),
  });
}

function rowsOf(source: Source): Rows {
  const { name, types, entity, eventTime, files } = source;
  return Object.freeze({
    name,
    columns: types,
    key: entity.keys,
    eventTime,
    isFullRefresh: eventTime === undefined && !isDated(files),
    reach: reachOf(source),
  });
}

/** The aggregates that nodes over a source rest on, each once, in the order of their fingerprints. */
export function aggregatesOf(source: Source, nodes: readonly Node[]): ViewAggregate[] {
  const found = new Map<string, ViewAggregate>();
  for (const node of below(nodes, "aggregate")) {
    const formula = fingerprintOf(node);
    const fingerprint = hash(["aggregate", algebraVersion, sourceIdentity(source), formula]);
    found.set(fingerprint, Object.freeze({ fingerprint, node }));
  }
  return [...found.values()].sort((a, b) => (a.fingerprint < b.fingerprint ? -1 : 1));
}

function resolveService(definition: FeatureService, catalogue: Catalogue): Service {
  const byFormula = new Map(
    [...catalogue.features.values()].map((feature) => [fingerprintOf(feature.node), feature]),
  );
  const outputs = definition.features.map(({ node }): Output => {
    const feature = byFormula.get(fingerprintOf(node));
    if (feature !== undefined) return outputOf(feature, catalogue);
    const column = node as Extract<Node, { kind: "column" }>;
    const view = [...catalogue.views.values()].find((each) => each.rows.name === column.source);
    if (view === undefined)
      throw new Error(`column ${column.name} passed the checks without a view`);
    return Object.freeze({ name: column.name, node, view, notes: undefined });
  });
  return Object.freeze({
    name: definition.name,
    description: definition.description,
    outputs,
    fingerprint: hash([
      "service",
      outputs.map(({ name, node, view }) => [
        name,
        node.dtype,
        fingerprintOf(node),
        view.fingerprint,
        aggregatesOf(view.source, [node]).map((each) => each.fingerprint),
      ]),
    ]),
  });
}

function outputOf(feature: Feature, catalogue: Catalogue): Output {
  const { name, node, notes } = feature;
  return Object.freeze({ name, node, view: viewNamed(catalogue, feature.view), notes });
}

/**
 * The view of that name.
 *
 * @throws UNKNOWN_VIEW
 */
export function viewNamed(catalogue: Catalogue, name: string): View {
  const view = catalogue.views.get(name);
  if (view === undefined)
    throw unknown("UNKNOWN_VIEW", "feature view", name, catalogue.views.keys());
  return view;
}

/**
 * The service of that name.
 *
 * @throws UNKNOWN_SERVICE
 */
export function serviceNamed(catalogue: Catalogue, name: string): Service {
  const service = catalogue.services.get(name);
  if (service === undefined)
    throw unknown("UNKNOWN_SERVICE", "feature service", name, catalogue.services.keys());
  return service;
}

/**
 * The feature of that name, or the column where the name is `<view>.<column>`.
 *
 * @throws UNKNOWN_FEATURE
 */
export function outputNamed(catalogue: Catalogue, name: string): Output {
  const feature = catalogue.features.get(name);
  if (feature !== undefined) return outputOf(feature, catalogue);
  const found = columnNamed(catalogue, name);
  if (found !== undefined) {
    const { view, column } = found;
    const { node } = view.source.columns[column] as Expr;
    return Object.freeze({ name, node, view, notes: undefined });
  }
  throw unknown("UNKNOWN_FEATURE", "feature", name, catalogue.features.keys());
}

/** The column that `<view>.<column>` names, and no other spelling: names are labels of metrics. */
export function columnNamed(
  catalogue: Catalogue,
  name: string,
): { readonly view: View; readonly column: string } | undefined {
  const dot = name.indexOf(".");
  if (dot < 0) return undefined;
  const view = catalogue.views.get(name.slice(0, dot));
  const column = name.slice(dot + 1);
  return view !== undefined && Object.hasOwn(view.rows.columns, column)
    ? { view, column }
    : undefined;
}

function unknown(
  code: "UNKNOWN_VIEW" | "UNKNOWN_SERVICE" | "UNKNOWN_FEATURE",
  what: string,
  name: string,
  known: Iterable<string>,
): OnceflowError {
  const names = [...known];
  const suggestion = didYouMean(name, names);
  const list = names.length <= 12 ? ` There are: ${names.join(", ")}.` : "";
  return new OnceflowError(code, `no ${what} is named "${name}".${suggestion || list}`, { name });
}

/** How a feature's value comes about, in a word. */
export function kindOf(feature: Feature, view: View): "aggregate" | "stored" | "computed" {
  if (feature.node.kind === "aggregate") return "aggregate";
  const stored = view.stores.some((column) => column.name === feature.name);
  return stored && !restsOnAggregate(feature.node) ? "stored" : "computed";
}
