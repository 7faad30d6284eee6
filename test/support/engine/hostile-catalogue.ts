/** A catalogue that does not change with the examples: every dtype, hostile words, reserved names. */
import { buildCatalogue } from "../../../engine/catalogue.ts";
import {
  bool,
  entity,
  featureService,
  featureView,
  float64,
  int64,
  listFloat64,
  nullable,
  source,
  string,
  timestamp,
  valueColumns,
} from "../../../engine/index.ts";

/** Two sources have a column `x`, which one view stores and the other does not. */
export function hostileCatalogue() {
  const item = entity("item", { key: ["id", "part"] });
  const rows = source("rows", {
    files: "rows.parquet",
    entity: item,
    columns: {
      id: string,
      part: string,
      class: bool,
      delete: nullable(int64),
      x: float64,
      name: nullable(string),
      at: timestamp,
      vector: listFloat64,
    },
  });
  const { class: isOpen, delete: count, x, name, at, vector } = rows.columns;
  const others = source("others", {
    files: "others.parquet",
    entity: item,
    columns: { id: string, part: string, x: float64 },
  });
  const hostile = `<script>document.title = "run"</script> */ ' " \` \${1} </pre> & \n --> ]]>`;
  const doubled = x
    .mul(2)
    .describe(hostile)
    .tag({ [hostile]: hostile });
  const halved = others.columns.x.div(2);
  const constructed = count.fillNull(0).add(1).default(0);
  return buildCatalogue({
    m: {
      doubled,
      constructed,
      halved,
      view: featureView("rows", {
        source: rows,
        stores: valueColumns(rows).filter(({ node }) => node !== x.node),
        description: hostile,
      }),
      all: featureService("all", [isOpen, count, x, name, at, vector, doubled, constructed], {
        description: hostile,
      }),
      others_view: featureView("others", { source: others, stores: valueColumns(others) }),
      both: featureService("both", [doubled, halved]),
      stored: featureService("stored", [name, vector]),
    },
  });
}
