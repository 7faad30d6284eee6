/** Views of each kind over small files, and the files. */
import { rename, writeFile } from "node:fs/promises";
import path from "node:path";
import { buildCatalogue, type Catalogue } from "../../../engine/catalogue.ts";
import type { Dtype, Value } from "../../../engine/language/dtypes.ts";
import {
  count,
  entity,
  featureView,
  float64,
  max,
  mean,
  nullable,
  source,
  std,
  string,
  timestamp,
  valueColumns,
} from "../../../engine/index.ts";
import { csvOf } from "../files/tables.ts";

/** The name of a view and of its source. */
export const kinds = ["timed", "composite", "latest", "dated", "daily", "full"] as const;
export type Kind = (typeof kinds)[number];

/** A row of any of them, in the terms of none. */
export interface SmallRow {
  /** Place in `ids`. */
  readonly id: number;
  /** Place in `times`; what has no event time does without. */
  readonly at: number;
  readonly x: number | null;
  readonly note: string | null;
}

const msPerDay = 86_400_000;
const firstMs = Date.parse("2026-01-01");

/** The intervals, each a day. */
export const days = [0, 1, 2, 3, 4].map((day) => ({
  start: new Date(firstMs + day * msPerDay).toISOString(),
  end: new Date(firstMs + (day + 1) * msPerDay).toISOString(),
}));
/** Keys that need care, and enough others that a change is of a part. */
export const ids = ["a", "__proto__", "height", "é", "e\u0301", '😀,"\n', "{a}", "lazy"].concat(
  Array.from({ length: 24 }, (_, i) => `base-${i}`),
);
/** Those that changes are of. */
export const busyIds = 8;
/** On the bounds of the days and just beside them, and some twice in a day. */
export const times = [-0.5, 0, 0.25, 1, 1.5, 2, 2.75, 3, 3.5, 4, 4.999, 5].flatMap((day) =>
  [-1, 0].map((us) => (firstMs + day * msPerDay) * 1000 + us),
);

const views = {
  timed: { key: ["id"], files: "timed-*.csv", eventTime: true, aggregates: true, scheduled: false },
  composite: {
    key: ["height", "lazy"],
    files: "composite-{date}-*.csv",
    eventTime: true,
    aggregates: true,
    scheduled: true,
  },
  latest: {
    key: ["id"],
    files: "latest-*.csv",
    eventTime: true,
    aggregates: false,
    scheduled: true,
  },
  dated: {
    key: ["columns"],
    files: "dated-{date}-*.csv",
    eventTime: false,
    aggregates: true,
    scheduled: false,
    gaps: "hold",
  },
  daily: {
    key: ["id"],
    files: "daily-{date}-*.csv",
    eventTime: false,
    aggregates: true,
    scheduled: true,
    gaps: "serve",
  },
  full: { key: ["id"], files: "full-*.csv", eventTime: false, aggregates: true, scheduled: false },
} as const satisfies Record<Kind, object>;

/** The catalogue of one view. @param more - with one more aggregate over the same rows */
export function smallCatalogue(kind: Kind, more: boolean): Catalogue {
  const { key, files, eventTime, aggregates, scheduled, ...rest } = views[kind];
  const keys = Object.fromEntries(key.map((name) => [name, string]));
  const from = source(kind, {
    files,
    entity: entity("thing", { key: key }),
    columns: {
      x: nullable(float64),
      filter: nullable(string),
      ...(eventTime ? { at: timestamp } : {}),
      ...keys,
    },
    // Rows that no interval takes are left out.
    ...(eventTime ? { eventTime: "at" } : {}),
    ...(eventTime && files.includes("{date}") ? { onOutside: "warn" as const } : {}),
  });
  const { x } = from.columns;
  return buildCatalogue({
    [kind]: {
      [kind]: from,
      ...(aggregates ? { rows: count(x), x_mean: mean(x), x_max: max(x) } : {}),
      ...(aggregates && more ? { x_std: std(x) } : {}),
      [`${kind}_view`]: featureView(kind, {
        source: from,
        stores: valueColumns(from),
        ...rest,
        ...(scheduled ? { schedule: { every: "1 day", start: "2026-01-01" } } : {}),
      }),
    },
  });
}

/** The names of the view's aggregates. */
export function aggregateNames(kind: Kind, more: boolean): string[] {
  if (!views[kind].aggregates) return [];
  return ["rows", "x_mean", "x_max", ...(more ? ["x_std"] : [])];
}

/** The key columns of the view, and the key of an id. */
export function keyOf(kind: Kind, id: number): Record<string, string> {
  const text = ids[id] ?? "";
  const { key } = views[kind];
  return key.length === 1
    ? { [key[0]]: text }
    : { [key[0]]: id % 2 === 0 ? "" : "é", [key[1]]: text };
}

/** How many files the view has: the last holds the rows of ids that nothing changes. */
export function fileCount(kind: Kind): number {
  return isDated(kind) ? days.length * 2 : 3;
}

function isDated(kind: Kind): boolean {
  return views[kind].files.includes("{date}");
}

/** The name of a file by its number. */
function fileName(kind: Kind, file: number): string {
  const date = (days[Math.floor(file / 2)] ?? days[0])?.start.slice(0, 10) ?? "";
  const part = isDated(kind) ? file % 2 : file;
  return views[kind].files.replace("{date}", date).replace("*", `${part}`);
}

/** Puts a file in place of the one that there was. */
export async function writeSmallFile(
  dataDir: string,
  kind: Kind,
  file: number,
  rows: readonly SmallRow[],
): Promise<void> {
  const { key, eventTime } = views[kind];
  const column = (name: string, dtype: Dtype, valueOf: (row: SmallRow) => Value) => ({
    name,
    dtype,
    values: rows.map(valueOf),
  });
  const text = csvOf([
    ...key.map((name) => column(name, "string", ({ id }) => keyOf(kind, id)[name] ?? "")),
    ...(eventTime ? [column("at", "timestamp", ({ at }) => times[at % times.length] ?? 0)] : []),
    column("x", "float64", ({ x }) => x),
    column("filter", "string", ({ note }) => note),
  ]);
  const place = path.join(dataDir, fileName(kind, file));
  await writeFile(`${place}.new`, text);
  await rename(`${place}.new`, place);
}
