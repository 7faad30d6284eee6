/** What users define besides features: entities, sources, feature views and feature services. */
import { type ColumnType, type Dtype, float64, isColumnType } from "./dtypes.ts";
import { didYouMean } from "../errors.ts";
import { type Column, Expr, invalid, isExpr, withUnknown } from "./expression.ts";
import { withProblems } from "./misuse.ts";
import type { ColumnNode } from "./node.ts";
import { isRecord } from "./record.ts";
import { parseSpan } from "../calendar/duration.ts";
import type { Duration, ScheduleOptions } from "../calendar/schedule.ts";
import { scheduleTypeProblems } from "../calendar/schedule-types.ts";
import { isUnfinished } from "./unfinished.ts";
import { showValue } from "../wire.ts";

/** The thing that features describe; its key is a tuple of exact strings. */
export interface Entity {
  readonly kind: "entity";
  readonly name: string;
  /** Names of the key columns, in order. */
  readonly keys: readonly string[];
}

/** Defines an entity by its key column or columns. */
export function entity(
  name: string,
  options: { readonly key: string | readonly [string, ...string[]] },
): Entity {
  const key: unknown = isRecord(options) ? options.key : options;
  const given: unknown = typeof key === "string" ? [key] : key;
  const isKey = Array.isArray(given) && given.length > 0 && given.every(isName);
  const problems = nameProblems(name);
  if (!isKey)
    problems.push(
      `has the key ${showValue(key)}; give the name of a column, or an array of names.`,
    );
  const keys = isKey ? (given as readonly string[]) : [];
  const twice = keys.find((each, place) => keys.indexOf(each) !== place);
  if (twice !== undefined) problems.push(`names the key column "${twice}" twice; name it once.`);
  return withProblems(
    { kind: "entity", name: textOf(name), keys: Object.freeze([...keys]) } as const,
    problems,
  );
}

/** Whether an argument can be a name; checks/definitions.ts says which are usable. */
function isName(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

/** The name, or for messages what stands in its place. */
function textOf(name: unknown): string {
  return typeof name === "string" ? name : showValue(name);
}

function nameProblems(name: unknown): string[] {
  return isName(name) ? [] : [`has the name ${showValue(name)}; give a text.`];
}

/** A member of options that is no object, or not of the type that it should be. */
function memberProblem(
  options: unknown,
  name: string,
  expected: string,
  isRight: (value: unknown) => boolean,
): string[] {
  const value: unknown = isRecord(options) ? options[name] : undefined;
  return isRight(value) ? [] : [`has the ${name} ${showValue(value)}; give ${expected}.`];
}

/** Whether an option is left out, or a text. */
function isOptionalText(value: unknown): boolean {
  return value === undefined || typeof value === "string";
}

/** How a source's columns are declared: name → column type. */
export type ColumnTypes = Readonly<Record<string, ColumnType>>;

/** A definition of raw rows. */
export interface Source<C extends ColumnTypes = ColumnTypes> {
  readonly kind: "source";
  readonly name: string;
  /**
   * Path of the files below the data folder, CSV or parquet by its ending. `{date}` or `{hour}` in
   * it selects files by interval; `*` matches within a folder; the order is that of the names.
   */
  readonly files: string;
  readonly types: C;
  readonly entity: Entity;
  /** The timestamp column that an interval filters by; undefined makes it a full refresh. */
  readonly eventTime: string | undefined;
  /** How far rows may lie in files of days or hours after that of their event time; not at all. */
  readonly allowedLateness: Duration | undefined;
  /** The same of files before it. */
  readonly allowedEarliness: Duration | undefined;
  /** What becomes of rows that lie farther off. */
  readonly onOutside: OnOutside;
  readonly csv: { readonly separator: string };
  /** The columns as expressions, to write features with. */
  readonly columns: { readonly [K in keyof C & string]: Column<K, C[K]["dtype"]> };
}

/**
 * What becomes of rows whose event time lies outside what their file may hold, so that no interval
 * takes them: the run fails, or leaves them out and says how many.
 */
export type OnOutside = (typeof onOutsides)[number];
export const onOutsides = ["fail", "warn"] as const;

/**
 * Defines a source of raw rows.
 *
 * Where `files` has `{date}` or `{hour}`, a file may hold the event times of its day or hour in UTC,
 * from `allowedLateness` before it to `allowedEarliness` after it, and a run of an interval reads
 * the files beside its own that may hold rows of it.
 */
export function source<const C extends ColumnTypes>(
  name: string,
  options: {
    readonly files: string;
    /** docs/sources.md says which column of a file each of them is. */
    readonly columns: C;
    readonly entity: Entity;
    readonly eventTime?: keyof C & string;
    /**
     * How late rows may come: by how much the file's day or hour may begin after their event time,
     * as in "2 days", or "9 hours" where `{date}` is a day of Tokyo; 0 by default.
     */
    readonly allowedLateness?: Duration;
    /**
     * How early rows may come: by how much, at most, their event time may lie after the end of the
     * file's day or hour, as in "8 hours" where `{date}` is a day of Los Angeles; 0 by default.
     */
    readonly allowedEarliness?: Duration;
    /** What becomes of rows farther off: "fail" by default, or "warn". */
    readonly onOutside?: OnOutside;
    /** For CSV files; the separator is a comma by default. */
    readonly csv?: { readonly separator: string };
  },
): Source<C> {
  const given: Partial<typeof options> = isRecord(options) ? options : {};
  const declared: unknown = given.columns;
  const types = isRecord(declared) ? { ...declared } : {};
  const problems = [
    ...nameProblems(name),
    ...(isRecord(options) ? [] : [`has ${showValue(options)} as its options; give an object.`]),
    ...memberProblem(given, "files", "a path below the data folder", isName),
    ...memberProblem(given, "columns", "an object of column types", isRecord),
    ...memberProblem(given, "entity", "what entity(…) makes", isEntity),
    ...memberProblem(given, "eventTime", "the name of a column", isOptionalText),
    ...memberProblem(given, "allowedLateness", 'a span such as "2 days"', isOptionalText),
    ...memberProblem(given, "allowedEarliness", 'a span such as "8 hours"', isOptionalText),
    ...memberProblem(given, "onOutside", '"fail" or "warn"', isOnOutside),
    ...memberProblem(given, "csv", '{ separator: ";" }', isCsv),
  ];
  for (const [column, type] of Object.entries(types))
    if (!isColumnType(type)) {
      problems.push(`declares "${column}" as ${showValue(type)}; give a dtype such as int64.`);
      types[column] = float64;
    }
  return withProblems(
    {
      kind: "source",
      name: textOf(name),
      files: textOf(given.files),
      types: Object.freeze(types) as C,
      entity: isEntity(given.entity) ? given.entity : entity("none", { key: "none" }),
      eventTime: given.eventTime,
      allowedLateness: given.allowedLateness,
      allowedEarliness: given.allowedEarliness,
      onOutside: given.onOutside ?? "fail",
      csv: Object.freeze({ separator: isCsv(given.csv) ? (given.csv?.separator ?? ",") : "," }),
      columns: columnsOf(textOf(name), types as C),
    } as const,
    problems,
  );
}

function isOnOutside(value: unknown): boolean {
  return value === undefined || (onOutsides as readonly unknown[]).includes(value);
}

function isCsv(value: unknown): value is Source["csv"] | undefined {
  return value === undefined || (isRecord(value) && isOptionalText(value["separator"]));
}

/** Whether a value is an entity, as `entity` makes it. */
export function isEntity(value: unknown): value is Entity {
  return isRecord(value) && value["kind"] === "entity" && Array.isArray(value["keys"]);
}

/** Whether a value is a source, as `source` makes it. */
export function isSource(value: unknown): value is Source {
  return isRecord(value) && value["kind"] === "source" && isRecord(value["columns"]);
}

/** Whether a value is a view, as `featureView` makes it. */
export function isView(value: unknown): value is FeatureView {
  return isRecord(value) && value["kind"] === "view" && Array.isArray(value["stores"]);
}

/** Whether a value is a service, as `featureService` makes it. */
export function isService(value: unknown): value is FeatureService {
  return isRecord(value) && value["kind"] === "service" && Array.isArray(value["features"]);
}

const columnsBeside = new WeakMap<ColumnNode, readonly string[]>();

/** The columns of the source that a column is of. */
export function sourceColumns(column: ColumnNode): readonly string[] {
  return columnsBeside.get(column) ?? [column.name];
}

/** Column expressions; a name that is none becomes an invalid node, which the catalogue reports. */
function columnsOf<C extends ColumnTypes>(name: string, types: C): Source<C>["columns"] {
  const names = Object.keys(types);
  const columns = new Map(
    Object.entries(types).map(([column, { dtype, nullable }]) => {
      const node = Object.freeze({
        kind: "column",
        source: name,
        name: column,
        dtype,
        nullable,
        shape: "column",
      } as const);
      columnsBeside.set(node, names);
      return [column, new Expr(node)];
    }),
  );
  return withUnknown(
    Object.fromEntries(columns),
    (key) =>
      `reads "${key}", which is no column of source "${name}".${didYouMean(key, columns.keys())}`,
    "feature",
  ) as Source<C>["columns"];
}

/** Whether a path has a place for the day or hour, so that an interval selects files. */
export function isDated(files: string): boolean {
  return /\{(date|hour)\}/.test(files);
}

/** How far the event times of a file's rows may lie outside its day or hour. */
export interface Reach {
  /** Before its start. */
  readonly lateMs: number;
  /** After its end. */
  readonly earlyMs: number;
}

/** The reach of the files of a source. */
export function reachOf({ allowedLateness = "0", allowedEarliness = "0" }: Source): Reach {
  // Checked when the catalogue was built.
  return { lateMs: parseSpan(allowedLateness) ?? 0, earlyMs: parseSpan(allowedEarliness) ?? 0 };
}

/** The columns of a source other than its key and event time, in the source's order. */
export function valueColumns(source: Source): readonly Expr<Dtype, "column">[] {
  if (!isSource(source))
    return [invalid("float64", `valueColumns takes a source; got ${showValue(source)}.`, [])];
  return Object.entries(source.columns)
    .filter(([name]) => !source.entity.keys.includes(name) && name !== source.eventTime)
    .map(([, column]) => column);
}

/**
 * What stands for a value that cannot be served as present, always with a status that says so:
 * null; the feature's default, or null where it has none; the last value known, as STALE; or an
 * error for the whole request.
 */
export const fallbacks = ["null", "default", "last", "error"] as const;
export type Fallback = (typeof fallbacks)[number];

/**
 * What is published of a view where one of its intervals is missing: `hold` what was before it, since
 * a sum without a day is a wrong value; `serve` what came after it too, and answers say so.
 */
export const gapRules = ["hold", "serve"] as const;
export type GapRule = (typeof gapRules)[number];

/** A set of columns, features and aggregates that is materialized together. */
export interface FeatureView {
  readonly kind: "view";
  readonly name: string;
  readonly source: Source;
  /** What the online store keeps for each entity: columns, and map features worth computing once. */
  readonly stores: readonly Expr[];
  /** Age past which a stored value is not served as present; undefined means never. */
  readonly ttlSeconds: number | undefined;
  /** What is served of a row that is older. */
  readonly onOutdated: Fallback;
  /** What is served while the online store does not answer, or has lost the view's rows. */
  readonly onStoreDown: Fallback;
  /** What is published where an interval is missing; undefined for the default: see `gapRules`. */
  readonly gaps: GapRule | undefined;
  /** Sizes the online store's buckets, once, when it is first filled; at least its first rows. */
  readonly expectedEntities: number;
  /** When it is materialized; undefined means on request only. */
  readonly schedule: ScheduleOptions | undefined;
  readonly description: string | undefined;
}

/** Defines a feature view: the one view of its source, which owns all features over it. */
export function featureView(
  name: string,
  options: {
    readonly source: Source;
    readonly stores: readonly Expr<Dtype, "column">[];
    readonly ttlSeconds?: number;
    /** "default" where it is left out. */
    readonly onOutdated?: Fallback;
    /** "error" where it is left out. */
    readonly onStoreDown?: Fallback;
    /** "hold" for a view with aggregates over event time, "serve" for one of rows alone. */
    readonly gaps?: GapRule;
    readonly expectedEntities?: number;
    readonly schedule?: ScheduleOptions;
    readonly description?: string;
  },
): FeatureView {
  const given: Partial<typeof options> = isRecord(options) ? options : {};
  const { schedule } = given;
  const problems = [
    ...nameProblems(name),
    ...(isRecord(options) ? [] : [`has ${showValue(options)} as its options; give an object.`]),
    ...memberProblem(given, "source", "what source(…) makes", isSource),
    ...memberProblem(given, "stores", "an array of columns and features", Array.isArray),
    ...memberProblem(given, "schedule", "an object", (it) => it === undefined || isRecord(it)),
    ...(isRecord(schedule) ? scheduleTypeProblems(schedule) : []).map((it) => `schedule: ${it}`),
    ...memberProblem(given, "description", "a text", isOptionalText),
  ];
  const from = isSource(given.source) ? given.source : source("none", noSource);
  return withProblems(
    {
      kind: "view",
      name: textOf(name),
      source: from,
      stores: Object.freeze(expressionsOf(given.stores, "stores")),
      ttlSeconds: given.ttlSeconds,
      onOutdated: given.onOutdated ?? "default",
      onStoreDown: given.onStoreDown ?? "error",
      gaps: given.gaps,
      expectedEntities: given.expectedEntities ?? 0,
      schedule: isRecord(schedule) ? Object.freeze({ ...schedule }) : undefined,
      description: given.description,
    } as const,
    problems,
  );
}

/** Stands for a source that is none, in a definition that is refused. */
const noSource = { files: "none.csv", entity: entity("none", { key: "none" }), columns: {} };

/** A list of expressions; what is none becomes an invalid one, which the catalogue reports. */
function expressionsOf(list: unknown, verb: "stores" | "lists"): Expr[] {
  const items: readonly unknown[] = Array.isArray(list) ? list : [];
  return Array.from(items, (item, place) =>
    isExpr(item)
      ? item
      : invalid(
          "float64",
          `${verb}, at place ${place + 1}, ${isUnfinished(item) ? "a when(…) without its otherwise(…)" : showValue(item)}, which is no expression.`,
          [],
          "feature",
        ),
  );
}

/** An ordered, typed list of features that one model needs. */
export interface FeatureService {
  readonly kind: "service";
  readonly name: string;
  readonly features: readonly Expr[];
  readonly description: string | undefined;
}

/** Defines a feature service; its order is the order of every answer. */
export function featureService(
  name: string,
  features: readonly Expr[],
  options: { readonly description?: string } = {},
): FeatureService {
  const problems = [
    ...nameProblems(name),
    ...memberProblem({ features }, "features", "an array of features", Array.isArray),
    ...(isRecord(options) ? [] : [`has ${showValue(options)} as its options; give an object.`]),
    ...memberProblem(options, "description", "a text", isOptionalText),
  ];
  return withProblems(
    {
      kind: "service",
      name: textOf(name),
      features: Object.freeze(expressionsOf(features, "lists")),
      description: isRecord(options) ? options.description : undefined,
    } as const,
    problems,
  );
}
