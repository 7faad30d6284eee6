/** The definitions that the benchmarks run. */
import { buildCatalogue, type Catalogue } from "../engine/catalogue.ts";
import { entity, featureView, float64, mean, source, string } from "../engine/index.ts";
import * as features from "../features/index.ts";
import { floatColumns } from "./data.ts";

/** The example's own: view `absences` over the columns of data set (a). */
export const example: Catalogue = buildCatalogue(features);

/** A view `floats` that stores so many columns of doubles, as data sets (b) and `wide` have them. */
export function floatsCatalogue(columns: number): Catalogue {
  const floats = source("floats", {
    files: "floats.parquet",
    entity: entity("thing", { key: "id" }),
    columns: {
      id: string,
      ...Object.fromEntries(floatColumns(columns).map((name) => [name, float64])),
    },
  });
  const stores = floatColumns(columns).map((name) => floats.columns[name as "id"]);
  return buildCatalogue({
    floats: {
      floats,
      first_mean: mean(floats.columns["f0" as "id"] as never),
      floats_view: featureView("floats", { source: floats, stores }),
    },
  });
}
