import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { buildApp } from "../../../serving/http/app.ts";
import { createLookup } from "../../../serving/lookup.ts";
import { createMetrics, featureLimit } from "../../../serving/telemetry/metrics.ts";
import { fillExampleStore } from "../../support/http/example-store.ts";
import type { Scrape } from "../../support/http/scrape.ts";
import { parseScrape } from "../../support/http/scrape.ts";

const textOf = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), "utf8");
const page = textOf("docs/operations.md");

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly runbook_url: string };
}
const { groups } = parse(textOf("deploy/prometheus/alerts.yml")) as {
  readonly groups: readonly { readonly rules: readonly Rule[] }[];
};
const rules = groups.flatMap((group) => group.rules);

interface Panel {
  readonly type: string;
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
}
const dashboard = JSON.parse(textOf("deploy/grafana/onceflow.json")) as { panels: Panel[] };
const shown = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));

/** Each metric that a PromQL expression names, with the labels that it is selected or grouped by. */
function selectorsOf(expr: string): { name: string; labels: string[] }[] {
  return [...expr.matchAll(/\b((?:onceflow|nodejs|process)_\w+|up)(?:\{([^}]*)\})?/g)].map(
    ([, name = "", inner = ""]) => ({
      name,
      labels: [...inner.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label = ""]) => label),
    }),
  );
}

/** What Prometheus itself adds. */
const targetLabels = ["job", "instance", "le"];

describe("dashboard, alerts and the page about them", () => {
  let scrape: Scrape;
  before(async () => {
    const example = await fillExampleStore();
    const { catalogue, serving, redis } = example;
    const metrics = createMetrics(catalogue);
    const lookup = createLookup({
      catalogue,
      redis: serving,
      prefix: redis.prefix,
      observe: metrics.observer,
    });
    metrics.watch(lookup);
    const app = buildApp({ catalogue, lookup, metrics, log: "silent" });
    for (const payload of [
      { service: "model_x", entities: [{ id: 11 }] },
      { service: "model_x", inputs: { age: 100, son: 0, pet: 2, month_of_absence: 12 } },
      { features: ["age_zero_mean_unit_variance"], inputs: { age: 100 } },
    ])
      await app.inject({ method: "POST", url: "/v1/features", payload });
    // Reads that fail have a label of their own.
    const keys = (await example.writing.send(["keys", `${redis.prefix}:entities:*`])) as Buffer[];
    await example.writing.send(["del", ...keys]);
    const payload = { features: ["has_children"], entities: [{ id: 11 }] };
    await app.inject({ method: "POST", url: "/v1/features", payload });
    scrape = parseScrape(await metrics.registry.metrics());
    await app.close();
    lookup.close();
    await example.stop();
  });

  /** The labels of a metric as scraped; undefined where there is no such metric. */
  function labelsOf(name: string): ReadonlySet<string> | undefined {
    const family = name.replace(/_(bucket|sum|count)$/, "");
    const type = scrape.types.get(name) ?? scrape.types.get(family);
    if (type === undefined || (type === "histogram" && name === family)) return undefined;
    const samples = scrape.samples.filter((sample) => sample.name === name);
    return new Set(samples.flatMap(({ labels }) => Object.keys(labels)));
  }

  for (const [what, expressions] of [
    ["dashboard", shown],
    ["alert rules", rules.map(({ expr }) => expr)],
  ] as const)
    it(`names in the ${what} only metrics and labels that there are`, () => {
      const found = expressions.flatMap(selectorsOf);
      assert.ok(found.length >= rules.length);
      for (const { name, labels } of found.filter((each) => each.name !== "up")) {
        const known = labelsOf(name);
        assert.ok(known, `${name} is in no scrape`);
        for (const label of labels.filter((each) => !targetLabels.includes(each)))
          assert.ok(known.has(label), `${name} has no label ${label}`);
      }
      const grouped = expressions.flatMap((expr) =>
        [...expr.matchAll(/\bby \(([^)]+)\)/g)].flatMap(([, list = ""]) => list.split(/,\s*/)),
      );
      const all = new Set(scrape.samples.flatMap(({ labels }) => Object.keys(labels)));
      for (const label of grouped)
        assert.ok(all.has(label) || targetLabels.includes(label), `no metric has ${label}`);
    });

  it("has parentheses and braces in pairs in every expression", () => {
    for (const expr of [...shown, ...rules.map((rule) => rule.expr)])
      for (const [open, close] of ["()", "{}", "[]"])
        assert.equal(expr.split(open!).length, expr.split(close!).length, expr);
  });

  it("explains each alert on the page that the alert leads to, and no other", () => {
    const [, section = ""] = /\n## Alerts\n(.*?)\n## /s.exec(page) ?? [];
    const headings = [...section.matchAll(/^### (\w+)\n\n(.*)$/gm)];
    assert.deepEqual(
      headings.map(([, name]) => name),
      rules.map(({ alert }) => alert),
    );
    for (const [, name, text = ""] of headings)
      for (const part of ["What happened: ", "Lost: ", "Do: "])
        assert.ok(text.includes(part), `${name} lacks "${part}"`);
    for (const { alert, annotations, labels } of rules) {
      assert.equal(annotations.runbook_url, `docs/operations.md#${alert.toLowerCase()}`);
      assert.ok(annotations.summary.length > 0);
      assert.match(labels.severity, /^(page|ticket)$/);
    }
  });

  it("lists every metric with its kind and labels, and no other", () => {
    const rows = [...page.matchAll(/^\| `(onceflow_\w+)` +\| (\w+) +\| ([\w, ]*?) +\|/gm)];
    const listed = rows.map(([, name = "", kind = ""]) => `${name} ${kind}`);
    const own = [...scrape.types].filter(([name]) => name.startsWith("onceflow_"));
    assert.deepEqual(listed.sort(), own.map(([name, kind]) => `${name} ${kind}`).sort());
    for (const [, name = "", kind = "", labels = ""] of rows) {
      const known = labelsOf(kind === "histogram" ? `${name}_count` : name);
      const wanted = labels.trim() === "" ? [] : labels.trim().split(", ");
      assert.deepEqual([...(known ?? [])].sort(), wanted.sort(), name);
    }
    assert.ok(page.includes(`beyond the first ${featureLimit} count`));
  });
});
