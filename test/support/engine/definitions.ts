/** Sound definitions of a source and its view, and what is said of wrong ones beside them. */
import assert from "node:assert/strict";
import { buildCatalogue, type Catalogue, type Modules } from "../../../engine/catalogue.ts";
import { OnceflowError } from "../../../engine/errors.ts";
import {
  bool,
  entity,
  featureView,
  float64,
  int64,
  source,
  string,
  timestamp,
} from "../../../engine/index.ts";

export const item = entity("item", { key: "id" });
export const columns = { id: string, n: int64, x: float64, name: string, ok: bool, at: timestamp };
export const rows = source("rows", { files: "rows.parquet", entity: item, columns });
export const other = source("other", {
  files: "other.parquet",
  entity: item,
  columns: { id: string, n: int64 },
});
export const { n, x, name, ok } = rows.columns;
export const view = featureView("rows", { source: rows, stores: [n, x] });
export const otherView = featureView("other", { source: other, stores: [] });

/** The catalogue of one module beside its view. */
export function build(exports: Record<string, unknown>): Catalogue {
  return buildCatalogue({ rows: { rows_view: view, ...exports } });
}

/** What a wrong definition is answered with. */
export function problemsOf(modules: Modules): readonly string[] {
  try {
    buildCatalogue(modules);
  } catch (error) {
    assert.ok(error instanceof OnceflowError);
    assert.equal(error.code, "DEFINITION_INVALID");
    const problems = error.details["problems"] as readonly string[];
    for (const problem of problems) assert.ok(error.message.includes(`\n  - ${problem}`));
    return problems;
  }
  return [];
}

export const double = (value: unknown) => Number(value) * 2;
export const sourceOf = (options: object, sourceName = "rows") =>
  source(sourceName, { files: "rows.parquet", entity: item, columns, ...options });
export const viewOf = (options: object, viewName = "rows") =>
  featureView(viewName, { source: rows, stores: [], ...options });

/** Something applied again and again. */
export function repeat<T>(times: number, first: T, next: (it: T) => T): T {
  let it = first;
  for (let i = 0; i < times; i++) it = next(it);
  return it;
}
