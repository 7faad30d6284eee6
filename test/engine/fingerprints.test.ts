import assert from "node:assert/strict";
import { buildCatalogue, type Catalogue, serviceNamed, viewNamed } from "../../engine/catalogue.ts";
import {
  column,
  entity,
  featureService,
  featureView,
  float64,
  int64,
  map,
  notNull,
  source,
  string,
  sum,
  timestamp,
} from "../../engine/index.ts";
import * as example from "../../features/index.ts";
import { fingerprintOf } from "../../engine/fingerprint.ts";
import { casesOf, operationNames } from "../support/engine/cases.ts";
import { assertReviewed } from "../support/reviewed.ts";

const item = entity("item", { key: "id" });

/** A catalogue whose parts a test may change one at a time. */
function variant(change: {
  readonly note?: boolean;
  readonly formula?: number;
  readonly stores?: "reversed" | "fewer";
  readonly files?: string;
  readonly from?: string;
  readonly outside?: Pick<Parameters<typeof source>[1], "allowedLateness" | "onOutside">;
  readonly ttlSeconds?: number;
  readonly added?: boolean;
  readonly service?: "reversed";
}) {
  const things = source("things", {
    files: change.files ?? "{date}.parquet",
    entity: item,
    columns: {
      id: string,
      a: change.from === undefined ? int64 : column(change.from, int64),
      b: float64,
      at: timestamp,
    },
    eventTime: "at",
    ...change.outside,
  });
  const { a, b } = things.columns;
  const plain = a.mul(change.formula ?? 2);
  const twice = change.note
    ? plain.describe("Twice").tag({ team: "x" }).expect(notNull(), { onFail: "warn" }).default(0)
    : plain;
  const total = sum(b);
  const share = b.div(total);
  const stores = [a, b, twice];
  const features = [twice, share];
  return buildCatalogue({
    things: {
      twice,
      total,
      share,
      ...(change.added
        ? { added: map("plus", { version: 1 }, { a }, int64, ({ a: v }) => v) }
        : {}),
      things_view: featureView("things", {
        source: things,
        stores:
          change.stores === "reversed"
            ? stores.reverse()
            : change.stores === "fewer"
              ? stores.slice(1)
              : stores,
        ...(change.ttlSeconds === undefined ? {} : { ttlSeconds: change.ttlSeconds }),
        ...(change.note ? { description: "Things" } : {}),
      }),
      model: featureService("model", change.service ? features.reverse() : features, {
        ...(change.note ? { description: "A model" } : {}),
      }),
    },
  });
}

function fingerprints(catalogue: Catalogue) {
  const { fingerprint, aggregatesFingerprint } = viewNamed(catalogue, "things");
  const service = serviceNamed(catalogue, "model").fingerprint;
  return { storage: fingerprint, aggregates: aggregatesFingerprint, service };
}

describe("fingerprints", () => {
  const base = fingerprints(variant({}));
  const moved = (change: Parameters<typeof variant>[0]) => {
    const now = fingerprints(variant(change));
    return (Object.keys(base) as (keyof typeof base)[]).filter((key) => base[key] !== now[key]);
  };

  it("are the same for the same definitions", () => {
    assert.deepEqual(moved({}), []);
    for (const fingerprint of Object.values(base)) assert.match(fingerprint, /^[0-9a-f]{32}$/);
  });

  it("do not move with descriptions, tags, expectations, defaults and TTL", () => {
    assert.deepEqual(moved({ note: true }), []);
    assert.deepEqual(moved({ ttlSeconds: 60 }), []);
  });

  it("do not move when a feature is added that nothing stores or lists", () => {
    assert.deepEqual(moved({ added: true }), []);
  });

  it("do not move when stores are listed in another order", () => {
    assert.deepEqual(moved({ stores: "reversed" }), []);
  });

  it("of storage move with a stored formula, and of the service that lists it", () => {
    assert.deepEqual(moved({ formula: 3 }), ["storage", "service"]);
  });

  it("of storage move with the set of stored columns, and of the service that reads them", () => {
    assert.deepEqual(moved({ stores: "fewer" }), ["storage", "service"]);
  });

  it("all move with the source", () => {
    assert.deepEqual(moved({ files: "{date}/elsewhere.parquet" }), [
      "storage",
      "aggregates",
      "service",
    ]);
  });

  it("all move with how far rows may lie from their file, and no more than the run with what then", () => {
    const { length } = Object.keys(base);
    assert.equal(moved({ outside: { allowedLateness: "1 day" } }).length, length);
    assert.deepEqual(moved({ outside: { allowedLateness: "0 days", onOutside: "warn" } }), []);
    const definition = (change: Parameters<typeof variant>[0]) =>
      viewNamed(variant(change), "things").definition;
    assert.notEqual(definition({ outside: { onOutside: "warn" } }), definition({}));
    assert.equal(definition({ outside: { onOutside: "fail" } }), definition({}));
  });

  it("do not move with what files call a column, and the hash that names runs does", () => {
    assert.deepEqual(moved({ from: "A (cm)" }), []);
    const runs = [{}, { from: "A (cm)" }, { from: "A (in)" }].map(
      (change) => viewNamed(variant(change), "things").definition,
    );
    assert.equal(new Set(runs).size, 3);
  });

  it("of the service alone move with its order", () => {
    assert.deepEqual(moved({ service: "reversed" }), ["service"]);
  });

  it("of the operations and of the example catalogue are those that were reviewed", () => {
    const { views, services } = buildCatalogue(example);
    const operations = operationNames.map((operation) => {
      const [first] = casesOf(operation);
      assert.ok(first);
      return [operation, fingerprintOf(first.node)];
    });
    const shown = {
      operations: Object.fromEntries(operations) as unknown,
      views: Object.fromEntries(
        [...views].map(([viewName, { fingerprint, aggregatesFingerprint, stores }]) => [
          viewName,
          {
            storage: fingerprint,
            stores: stores.map((column) => `${column.name} ${column.dtype}`),
            aggregates: aggregatesFingerprint,
          },
        ]),
      ),
      services: Object.fromEntries(
        [...services].map(([serviceName, { fingerprint, outputs }]) => [
          serviceName,
          { fingerprint, outputs: outputs.map((output) => output.name) },
        ]),
      ),
    };
    return assertReviewed(new URL("./fingerprints.snapshot.json", import.meta.url), () =>
      JSON.stringify(shown),
    );
  });
});
