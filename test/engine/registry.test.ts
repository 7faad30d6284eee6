import assert from "node:assert/strict";
import { buildCatalogue } from "../../engine/catalogue.ts";
import {
  column,
  entity,
  featureService,
  featureView,
  float64,
  int64,
  map,
  mean,
  source,
  string,
  timestamp,
} from "../../engine/index.ts";
import { compareRegistries, emptyRegistry, registryOf } from "../../engine/registry.ts";

/** Another dtype, where the compiler expects this one. */
const integer = int64 as unknown as typeof float64;

/** A build of one view and one service; `change` is what another build does otherwise. */
function build(
  change: Partial<{
    key: "id" | "code";
    factor: number;
    dtype: typeof float64;
    without: "double" | "service" | "view";
    order: "reversed";
    stored: boolean;
  }> = {},
) {
  const things = source("things", {
    files: "things.csv",
    entity: entity("thing", { key: change.key ?? "id" }),
    eventTime: "at",
    columns: { id: string, code: string, at: timestamp, x: change.dtype ?? float64 },
  });
  const { x } = things.columns;
  const double = x.mul(change.factor ?? 2);
  const x_mean = mean(x);
  const outputs = change.without === "double" ? [x_mean] : [double, x_mean];
  if (change.order === "reversed") outputs.reverse();
  const daily = { every: "1 day", start: "2026-01-01" } as const;
  const things_view = featureView("things", {
    source: things,
    stores: change.stored === true ? [x, double] : [x],
    schedule: daily,
  });
  const totals = source("totals", {
    files: "totals.csv",
    entity: entity("thing", { key: "id" }),
    eventTime: "at",
    columns: { id: string, at: timestamp, y: float64 },
  });
  const hasView = change.without !== "view";
  return registryOf(
    buildCatalogue({
      all: {
        totals,
        totals_view: featureView("totals", {
          source: totals,
          stores: [totals.columns.y],
          schedule: { ...daily, ...(hasView ? { dependsOn: [things_view] } : {}) },
        }),
        ...(hasView ? { things, things_view, x_mean } : {}),
        ...(hasView && change.without !== "double" ? { double } : {}),
        ...(hasView && change.without !== "service"
          ? { service: featureService("service", outputs) }
          : {}),
      },
    }),
  );
}

describe("The registry", () => {
  const before = build();
  const breaksOf = (after: ReturnType<typeof build>, kind: "view" | "service") =>
    compareRegistries(before, after)
      .filter((change) => change.kind === kind)
      .flatMap(({ breaking }) => breaking.map(({ what, consumers }) => [what, ...consumers]));

  it("shows all of a first build as new, and nothing of the same build again", () => {
    assert.deepEqual(
      compareRegistries(emptyRegistry, before).map(({ change, kind, name }) => [
        change,
        kind,
        name,
      ]),
      [
        ["create", "view", "things"],
        ["create", "view", "totals"],
        ["create", "service", "service"],
      ],
    );
    assert.deepEqual(compareRegistries(before, build()), []);
  });

  it("survives JSON", () => {
    const copy = JSON.parse(JSON.stringify(before)) as typeof before;
    assert.deepEqual(compareRegistries(copy, build()), []);
  });

  it("says of a stored column that rows are filled anew, which breaks nobody", () => {
    const [view] = compareRegistries(before, build({ stored: true }));
    assert.match(view?.why.join() ?? "", /^storage fingerprint \w{8} → \w{8}: its rows lie beside/);
    assert.deepEqual(view?.breaking, []);
  });

  it("says of another name in files that no row moves, which breaks nobody", () => {
    const changes = compareRegistries(before, build({ dtype: column("X (m)", float64) }));
    assert.deepEqual(
      changes.map(({ name, why, breaking }) => [name, ...why, ...breaking]),
      [
        [
          "things",
          "expectations changed, what files call its columns, or the source's onOutside; no row moves",
        ],
      ],
    );
  });

  it("names who uses what is computed otherwise", () => {
    const after = build({ factor: 3 });
    assert.deepEqual(breaksOf(after, "view"), [
      ["double is computed otherwise", "service service"],
    ]);
    assert.deepEqual(breaksOf(after, "service"), [
      ["double is computed otherwise", "callers of service service"],
    ]);
  });

  it("names who uses a feature that is gone, and a dtype that changed", () => {
    assert.deepEqual(breaksOf(build({ without: "double" }), "view"), [
      ["double is gone", "service service"],
    ]);
    const [, ...others] = breaksOf(build({ dtype: integer }), "service");
    assert.deepEqual(others, [["x_mean is computed otherwise", "callers of service service"]]);
    assert.ok(
      breaksOf(build({ dtype: integer }), "view").some(
        ([what]) => what === "x is int64, no longer float64",
      ),
    );
  });

  it("names the callers of a service that answers in another order, or is gone", () => {
    assert.deepEqual(breaksOf(build({ order: "reversed" }), "service"), [
      ["double is answered at place 2, no longer 1", "callers of service service"],
      ["x_mean is answered at place 1, no longer 2", "callers of service service"],
    ]);
    assert.deepEqual(breaksOf(build({ without: "service" }), "service"), [
      ["service service is gone", "callers of service service"],
    ]);
  });

  it("names services and views that rest on a view that is gone", () => {
    assert.deepEqual(breaksOf(build({ without: "view" }), "view"), [
      ["view things is gone", "service service", "view totals"],
    ]);
  });

  it("says of a function that reads otherwise under the same version, which breaks nobody", () => {
    const registered = (compute: (inputs: { readonly x: number | null }) => number | null) => {
      const rows = source("rows", {
        files: "rows.csv",
        entity: entity("thing", { key: "id" }),
        columns: { id: string, x: float64 },
      });
      const { x } = rows.columns;
      const mapped = map("mapped", { version: 1 }, { x }, float64, compute);
      const view = featureView("rows", { source: rows, stores: [x] });
      return registryOf(buildCatalogue({ rows: { rows, mapped, view } }));
    };
    const old = registered(({ x }) => (x ?? 0) + 1);
    assert.deepEqual(
      compareRegistries(
        old,
        registered(({ x }) => (x ?? 0) + 1),
      ),
      [],
    );
    const [change] = compareRegistries(
      old,
      registered(({ x }) => (x ?? 0) + 2),
    );
    assert.match(change?.why.join() ?? "", /the function of mapped reads otherwise/);
    assert.deepEqual(change?.breaking, []);
  });

  it("asks callers for a new entity key", () => {
    const after = build({ key: "code" });
    assert.ok(
      breaksOf(after, "view").some(([what]) => what === "its entity key is code, no longer id"),
    );
    assert.ok(
      breaksOf(after, "service").some(([what]) => what === "callers must give the entity key code"),
    );
  });
});
