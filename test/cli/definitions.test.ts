import assert from "node:assert/strict";
import { lineage } from "../../cli/commands/lineage.ts";
import { paintOf } from "../../cli/terminal.ts";
import { buildCatalogue } from "../../engine/catalogue.ts";
import { entity, featureView, int64, map, source, string } from "../../engine/index.ts";
import { plan } from "../../engine/planner.ts";
import { explainPlan } from "../../serving/explain.ts";
import { planText } from "../../cli/commands/explain.ts";
import { cli, cliJson } from "../support/run-cli.ts";

const plain = paintOf({ colours: false });
const text = async (line: string) => {
  const { code, out, err } = await cli(line.split(" "));
  assert.equal(err, "");
  assert.equal(code, 0);
  return out;
};

describe("lineage", () => {
  it("draws what a name rests on and what rests on it", async () => {
    assert.equal(
      await text("lineage age_zero_mean_unit_variance"),
      `rests on
age_zero_mean_unit_variance
├─ age_zero_mean
│  ├─ absences.age (column)
│  └─ age_mean (aggregate)
│     └─ absences.age (column)
└─ age_std_dev (aggregate)
   └─ absences.age (column)

used by
age_zero_mean_unit_variance
├─ absenteeism_training (service)
└─ model_x (service)
`,
    );
    assert.equal(
      await text("lineage has_pet --up"),
      "rests on\nhas_pet\n└─ absences.pet (column)\n",
    );
    assert.match(
      await text("lineage absences.pet --down"),
      /^used by\nabsences\.pet \(column\)\n└─ has_pet\n/,
    );
  });

  it("draws every service, and names what nothing uses, without a name", async () => {
    const out = await text("lineage");
    for (const service of ["model_x", "absenteeism_training", "presence"])
      assert.match(out, new RegExp(`^${service} \\(service\\)$`, "m"));
    assert.match(out, /features that nothing uses\n {2}badge_events\n/);
    assert.match(out, /columns that no feature reads\n(.*\n)* {2}absences\.weight\n/);
  });

  it("lists the features that carry a tag with who uses them", async () => {
    const out = await text("lineage --tag region=brazil");
    assert.match(
      out,
      /^feature +view +tags +used by\nis_summer +absences +region=brazil +absent.*, model_x\n$/,
    );
    assert.equal(await text("lineage --tag region"), out);
    assert.equal(
      await text("lineage --tag region=peru"),
      "no feature carries the tag region=peru\n",
    );
    assert.equal(
      await text("lineage --tag constructor"),
      "no feature carries the tag constructor\n",
    );
  });

  it("writes Mermaid, whole, around a name and around a tag", async () => {
    const around = await text("lineage is_summer --mermaid");
    assert.equal(await text("lineage --tag region=brazil --mermaid"), around);
    assert.match(around, /^flowchart LR\n {2}n0\["is_summer"\]\n/);
    assert.equal(around.match(/-->/g)?.length, 3);
    assert.match(await text("lineage --mermaid"), /\[\("badges\.left_at"\)\]/);
  });

  it("gives nodes and edges as JSON", async () => {
    const graph = await cliJson<{ name: string; nodes: unknown; edges: unknown }>([
      "lineage",
      "has_pet",
      "--up",
    ]);
    assert.deepEqual(graph, {
      name: "has_pet",
      nodes: [
        { name: "has_pet", kind: "feature" },
        { name: "absences.pet", kind: "column" },
      ],
      edges: [{ from: "absences.pet", to: "has_pet" }],
    });
    const { features } = await cliJson<{ features: { name: string; consumers: string[] }[] }>([
      "lineage",
      "--tag",
      "region",
    ]);
    assert.deepEqual(
      features.map(({ name, consumers }) => [name, consumers]),
      [["is_summer", ["absenteeism_training", "model_x"]]],
    );
  });

  it("draws a shared part once", () => {
    const rows = source("s", {
      files: "s.csv",
      entity: entity("e", { key: "id" }),
      columns: { id: string, n: int64 },
    });
    const base = rows.columns.n.add(1);
    const twice = base.mul(2);
    const sum = base.add(twice);
    const catalogue = buildCatalogue({
      m: { base, twice, sum, v: featureView("v", { source: rows, stores: [rows.columns.n] }) },
    });
    const { text: textOf } = lineage(catalogue, "sum", { up: true }, plain);
    assert.equal(textOf(), "rests on\nsum\n├─ base\n│  └─ s.n (column)\n└─ twice\n   └─ base …");
  });
});

describe("catalogue", () => {
  interface Listing {
    readonly views: readonly Record<string, unknown>[];
    readonly features: readonly Record<string, unknown>[];
    readonly services: readonly Record<string, unknown>[];
  }

  it("lists views, features and services as JSON", async () => {
    const { views, features, services } = await cliJson<Listing>(["catalogue"]);
    assert.deepEqual(
      views.map((view) => [view["name"], view["materialized_by"], view["ttl_seconds"]]),
      [
        ["absences", "full refresh", null],
        ["badges", "interval", 604_800],
      ],
    );
    const summer = features.find(({ name }) => name === "is_summer");
    assert.equal(summer?.["kind"], "computed");
    assert.deepEqual(summer["tags"], { region: "brazil" });
    assert.deepEqual(summer["expectations"], ["oneOf(0, 1)"]);
    assert.deepEqual(
      services.map(({ name }) => name),
      ["absenteeism_training", "model_x", "presence"],
    );
  });

  it("lists them as text", async () => {
    const out = await text("catalogue");
    assert.match(out, /source +badges, badges\/date=\{date\}\.parquet\n/);
    assert.match(out, /filled by +interval of left_at\n/);
    assert.match(out, /ttl +7 d\n/);
    assert.match(out, /age_mean +absences +aggregate +float64 +between\(20, 60\)/);
    assert.match(out, /has_pet +absences +stored +int64/);
  });
});

describe("explain", () => {
  interface Explained {
    readonly carries: { readonly inputs: readonly string[]; readonly entity: readonly string[] };
    readonly outputs: readonly { readonly name: string; readonly how: string }[];
    readonly reads: readonly { readonly columns: readonly string[] }[];
  }

  it("shows that model_x by entity reads five of the stored columns", async () => {
    const out = await text("explain --service model_x");
    assert.match(out, /^a request with the entity \(id\)\n/);
    assert.match(out, /has_pet +int64 +stored +row: has_pet\n/);
    assert.match(
      out,
      /unit_variance +float64 +computed +row: age; snapshot: mean\(age\), std\(age\)\n/,
    );
    assert.match(
      out,
      /decodes 5 of 22 columns of absences: month_of_absence, has_pet, has_children, day_of_the_week, age\n$/,
    );
    const { carries, reads } = await cliJson<Explained>(["explain", "--service", "model_x"]);
    assert.deepEqual(carries, { inputs: [], entity: ["id"] });
    assert.equal(reads[0]?.columns.length, 5);
  });

  it("shows that model_x by inputs reads no stored row", async () => {
    const out = await text("explain --service model_x --with-inputs");
    assert.match(out, /has_pet +int64 +computed +request: absences\.pet\n/);
    assert.match(
      out,
      /unit_variance +float64 +computed +request: absences\.age; snapshot: mean\(age\), std\(age\)\n/,
    );
    assert.match(out, /reads no stored row\n$/);
    const named =
      "explain --service model_x --with-inputs age,son,pet,month_of_absence,day_of_the_week";
    assert.equal((await text(named)).split("\n")[3], out.split("\n")[3]);
  });

  it("mixes inputs with the stored row", async () => {
    const { outputs, reads } = await cliJson<Explained>(
      "explain --service model_x --with-inputs pet --with-entity".split(" "),
    );
    assert.equal(outputs.find(({ name }) => name === "has_pet")?.how, "computed");
    assert.equal(outputs.find(({ name }) => name === "has_children")?.how, "stored");
    assert.deepEqual(reads[0]?.columns, [
      "month_of_absence",
      "has_children",
      "day_of_the_week",
      "age",
    ]);
  });

  it("marks user code as opaque", () => {
    const rows = source("s", {
      files: "s.csv",
      entity: entity("e", { key: "id" }),
      columns: { id: string, n: int64 },
    });
    const odd = map("odd", { version: 3 }, { n: rows.columns.n }, int64, ({ n }) => n);
    const catalogue = buildCatalogue({
      m: { odd, v: featureView("v", { source: rows, stores: [rows.columns.n] }) },
    });
    const planned = plan(catalogue, { features: ["odd"] });
    const explained = explainPlan(planned.bind(new Set(), new Set(["id"])));
    assert.match(
      planText(explained, plain),
      /odd +int64 +computed +row: n; opaque: odd version 3\n/,
    );
  });
});

describe("catalogue of schedules", () => {
  it("shows when each view is materialized", async () => {
    const shown = await text("catalogue");
    assert.match(
      shown,
      /schedule +every 1 d, from 2026-01-01, 2 h after the end of each interval\n/,
    );
    assert.match(shown, /schedule +none: it is materialized by hand\n/);
    const { views } = await cliJson<{
      views: { name: string; schedule: Readonly<Record<string, unknown>> | null }[];
    }>(["catalogue"]);
    const of = (name: string) => views.find((view) => view.name === name)?.schedule;
    assert.equal(of("absences"), null);
    const { every_seconds, cron, start, offset_seconds, workflow } = of("badges") ?? {};
    assert.deepEqual(
      [every_seconds, cron, start, offset_seconds, workflow],
      [86_400, null, "2026-01-01T00:00:00.000Z", 7_200, "materialize"],
    );
  });
});
