/** A formula that is small as a graph and endless as a tree: each level uses the one below twice. */
import { buildCatalogue } from "../../../engine/catalogue.ts";
import {
  entity,
  type Expr,
  featureService,
  featureView,
  float64,
  source,
  string,
} from "../../../engine/index.ts";
import { plan } from "../../../engine/planner.ts";

const levels = 60;

/** Its catalogue, the plan of its one service, and its value where x is 1. */
export function deepSharing() {
  const deep = source("deep", {
    files: "deep.parquet",
    entity: entity("thing", { key: "id" }),
    columns: { id: string, x: float64 },
  });
  const { x } = deep.columns;
  let total: Expr<"float64", "column"> = x;
  for (let level = 0; level < levels; level++) total = total.add(total);
  const catalogue = buildCatalogue({
    deep: {
      total,
      view: featureView("deep", { source: deep, stores: [x] }),
      service: featureService("deep", [total]),
    },
  });
  return { catalogue, planned: plan(catalogue, { service: "deep" }), sum: 2 ** levels };
}
