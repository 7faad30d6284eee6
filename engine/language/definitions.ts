/** What users define besides features: entities, sources, feature views and feature services. */
import type { ColumnType, Dtype } from "./dtypes.ts";
import { didYouMean } from "../errors.ts";
import { type Column, Expr, invalid } from "./expression.ts";
import type { ColumnNode } from "./node.ts";
import type { ScheduleOptions } from "../calendar/schedule.ts";

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
  { key }: { readonly key: string | readonly [string, ...string[]] },
): Entity {
  return Object.freeze({
    kind: "entity",
    name,
    keys: Object.freeze(typeof key === "string" ? [key] : [...key]),
  });
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
  readonly csv: { readonly separator: string };
  /** The columns as expressions, to write features with. */
  readonly columns: { readonly [K in keyof C & string]: Column<K, C[K]["dtype"]> };
}

/** Defines a source of raw rows. */
export function source<const C extends ColumnTypes>(
  name: string,
  options: {
    readonly files: string;
    readonly columns: C;
    readonly entity: Entity;
    readonly eventTime?: keyof C & string;
    /** For CSV files; the separator is a comma by default. */
    readonly csv?: { readonly separator: string };
  },
): Source<C> {
  return Object.freeze({
    kind: "source",
    name,
    files: options.files,
    types: Object.freeze({ ...options.columns }),
    entity: options.entity,
    eventTime: options.eventTime,
    csv: Object.freeze({ separator: options.csv?.separator ?? "," }),
    columns: columnsOf(name, options.columns),
  });
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
  return new Proxy(Object.freeze(Object.fromEntries(columns)), {
    get(target, key, receiver) {
      // Loaders and printers probe objects for `then`, `toJSON` and symbols.
      if (typeof key !== "string" || key in target || key === "then" || key === "toJSON")
        return Reflect.get(target, key, receiver) as unknown;
      return invalid<Dtype, "column">(
        "float64",
        `reads "${key}", which is no column of source "${name}".${didYouMean(key, columns.keys())}`,
        [],
        "feature",
      );
    },
  }) as Source<C>["columns"];
}

/** Whether a path has a place for the day or hour, so that an interval selects files. */
export function isDated(files: string): boolean {
  return /\{(date|hour)\}/.test(files);
}

/** The columns of a source other than its key and event time, in the source's order. */
export function valueColumns(source: Source): readonly Expr<Dtype, "column">[] {
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
    readonly expectedEntities?: number;
    readonly schedule?: ScheduleOptions;
    readonly description?: string;
  },
): FeatureView {
  return Object.freeze({
    kind: "view",
    name,
    source: options.source,
    stores: Object.freeze([...options.stores]),
    ttlSeconds: options.ttlSeconds,
    onOutdated: options.onOutdated ?? "default",
    onStoreDown: options.onStoreDown ?? "error",
    expectedEntities: options.expectedEntities ?? 0,
    schedule: options.schedule && Object.freeze({ ...options.schedule }),
    description: options.description,
  });
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
  return Object.freeze({
    kind: "service",
    name,
    features: Object.freeze([...features]),
    description: options.description,
  });
}
