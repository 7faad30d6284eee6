import assert from "node:assert/strict";
import { buildCatalogue, type Catalogue } from "../../engine/catalogue.ts";
import type { Value } from "../../engine/language/dtypes.ts";
import { type ErrorCode, OnceflowError } from "../../engine/errors.ts";
import {
  between,
  entity,
  featureService,
  featureView,
  float64,
  int64,
  mean,
  nullable,
  source,
  string,
  timestamp,
} from "../../engine/index.ts";
import type { BoundPart } from "../../engine/plan-parts.ts";
import { plan } from "../../engine/planner.ts";
import * as example from "../../features/index.ts";
import { deepSharing } from "../support/engine/deep-sharing.ts";

const catalogue = buildCatalogue(example);
const modelX = plan(catalogue, { service: "model_x" });

const rawInputs = ["age", "day_of_the_week", "month_of_absence", "pet", "son"];
const ids = (...columns: string[]) => new Set(columns.map((column) => `absences.${column}`));
const noKeys = new Set<string>();
const byId = new Set(["id"]);

/** Which columns a bound plan takes from the request, and which from each view's stored row. */
function readsOf(parts: readonly BoundPart[]) {
  const reads = parts.flatMap(({ read }) => read ?? []);
  return {
    request: parts.flatMap(({ request }) => request.map(({ input }) => input.column)).sort(),
    store: Object.fromEntries(reads.map(({ view, columns }) => [view.name, [...columns].sort()])),
  };
}

/** Runs a bound plan on named values of the request, of stored rows and of the aggregates. */
function answer(
  parts: readonly BoundPart[],
  given: {
    readonly request?: Readonly<Record<string, Value>>;
    readonly stored?: Readonly<Record<string, Value>>;
    readonly aggregate?: Value;
    readonly eventTime?: Value;
  },
): Value[] {
  const values: Value[] = [];
  for (const { registerCount, request, read, aggregates, program, outputs } of parts) {
    const registers = Array.from({ length: registerCount }, (): Value => null);
    for (const { input, register } of request)
      registers[register] = given.request?.[input.column] ?? null;
    read?.columns.forEach((column, i) => {
      registers[read.registers[i] ?? -1] = given.stored?.[column] ?? null;
    });
    if (read?.eventTimeRegister !== undefined)
      registers[read.eventTimeRegister] = given.eventTime ?? null;
    for (const { register } of aggregates) registers[register] = given.aggregate ?? null;
    const results = program(registers);
    outputs.forEach(({ place }, i) => (values[place] = results[i] ?? null));
  }
  return values;
}

/** The one part of a bound plan. */
function onlyPart(parts: readonly BoundPart[]): BoundPart {
  const [part, ...others] = parts;
  assert.ok(part);
  assert.deepEqual(others, []);
  return part;
}

function assertThrows(code: ErrorCode, run: () => unknown, said: RegExp): void {
  assert.throws(run, (error) => {
    assert.ok(error instanceof OnceflowError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, said);
    return true;
  });
}

describe("the planner", () => {
  it("lists the raw columns that would answer a service without a store", () => {
    assert.deepEqual(
      modelX
        .requiredInputs()
        .map(({ id, dtype }) => `${id} ${dtype}`)
        .sort(),
      rawInputs.map((column) => `absences.${column} int64`),
    );
    const pet = modelX.inputNamed("pet");
    assert.deepEqual(pet?.features, ["has_pet"]);
    assert.deepEqual(modelX.entityKeys, ["id"]);
  });

  it("scenario 1: computes everything from a request that carries all raw columns", () => {
    const bound = modelX.bind(ids(...rawInputs), noKeys);
    assert.deepEqual(readsOf(bound), { request: rawInputs, store: {} });
    const { aggregates, read } = onlyPart(bound);
    assert.equal(aggregates.length, 2);
    assert.equal(read, undefined);
    const request = { age: 30, day_of_the_week: 3, month_of_absence: 12, pet: 0, son: 2 };
    assert.deepEqual(answer(bound, { request, aggregate: 10 }), [1, 0, 1, 0, 1, 0, 0, 0, 2]);
  });

  it("scenario 2: reads from the stored row what is stored, and no other column", () => {
    const bound = modelX.bind(new Set(), byId);
    assert.deepEqual(readsOf(bound), {
      request: [],
      store: {
        absences: ["age", "day_of_the_week", "has_children", "has_pet", "month_of_absence"],
      },
    });
    const stored = {
      age: 30,
      day_of_the_week: 6,
      month_of_absence: 7,
      has_pet: 1,
      has_children: 0,
    };
    assert.deepEqual(answer(bound, { stored, aggregate: 10 }), [0, 1, 0, 0, 0, 0, 0, 1, 2]);
  });

  it("a column of the request overrides the stored one", () => {
    const bound = modelX.bind(ids("age"), byId);
    assert.deepEqual(readsOf(bound), {
      request: ["age"],
      store: { absences: ["day_of_the_week", "has_children", "has_pet", "month_of_absence"] },
    });
  });

  it("recomputes a stored feature where all its raw inputs are in the request", () => {
    const bound = modelX.bind(ids("pet"), byId);
    assert.deepEqual(readsOf(bound).request, ["pet"]);
    assert.deepEqual(readsOf(bound).store, {
      absences: ["age", "day_of_the_week", "has_children", "month_of_absence"],
    });
  });

  it("reads no view when the request has all that is needed, even with the entity beside it", () => {
    const bound = modelX.bind(ids(...rawInputs), byId);
    assert.equal(onlyPart(bound).read, undefined);
  });

  it("lists all missing inputs by feature, and what to do", () => {
    assert.throws(
      () => modelX.bind(ids("age", "pet"), noKeys),
      (error: OnceflowError) => {
        assert.equal(error.code, "MISSING_INPUT");
        assert.match(
          error.message,
          /is_summer needs month_of_absence; has_children needs son; day_of_the_week_2 needs day_of_the_week/,
        );
        assert.match(
          error.message,
          /Send them as inputs, or send the entity \(id\) to read its stored row\.$/,
        );
        const missing = error.details["missing"] as Record<string, string[]>;
        assert.deepEqual(missing["day_of_the_week_6"], ["day_of_the_week"]);
        assert.equal("has_pet" in missing, false);
        return true;
      },
    );
  });

  it("knows inputs by column and by source, and refuses what is none", () => {
    assert.equal(modelX.inputNamed("age"), modelX.inputNamed("absences.age"));
    // A column of the source that the service does not need is let through unread.
    assert.equal(modelX.inputNamed("weight"), undefined);
    assert.equal(modelX.inputNamed("absences.weight"), undefined);
    assertThrows(
      "UNKNOWN_INPUT",
      () => modelX.inputNamed("agee"),
      /^input "agee" is no column of source "absences"\. Did you mean "age"\?$/,
    );
    for (const name of ["__proto__", "constructor", "absences.__proto__", "badges.door", ""])
      assertThrows(
        "UNKNOWN_INPUT",
        () => modelX.inputNamed(name),
        /is no column of source "absences"/,
      );
  });

  it("refuses names that do not exist", () => {
    assertThrows(
      "UNKNOWN_SERVICE",
      () => plan(catalogue, { service: "model_y" }),
      /Did you mean "model_x"\?/,
    );
    assertThrows(
      "UNKNOWN_FEATURE",
      () => plan(catalogue, { features: ["has_pets"] }),
      /Did you mean "has_pet"\?/,
    );
    assertThrows(
      "UNKNOWN_FEATURE",
      () => plan(catalogue, { features: ["nowhere.age"] }),
      /no feature is named/,
    );
  });
});

describe("a plan over two sources", () => {
  const item = entity("item", { key: "id" });
  const plain = source("plain", {
    files: "plain.parquet",
    entity: item,
    columns: { id: string, n: int64, note: nullable(string) },
  });
  const events = source("events", {
    files: "events.parquet",
    entity: item,
    eventTime: "at",
    columns: { id: string, at: timestamp, n: int64, x: float64 },
  });
  const both: Catalogue = buildCatalogue({
    things: {
      plain_view: featureView("plain", { source: plain, stores: [plain.columns.n] }),
      events_view: featureView("events", { source: events, stores: [events.columns.n] }),
      twice: plain.columns.n.mul(2).expect(between(0, 10), { onFail: "warn" }),
      thrice: events.columns.n.mul(3),
      hour: events.columns.at.hour(),
      id_length: plain.columns.id.length(),
      note_length: plain.columns.note.length(),
      above: events.columns.x.sub(mean(events.columns.x)),
      pair: featureService("pair", [plain.columns.n.mul(2), events.columns.n.mul(3)]),
    },
  });

  it("wants the source with a column that both have", () => {
    const pair = plan(both, { service: "pair" });
    assertThrows(
      "UNKNOWN_INPUT",
      () => pair.inputNamed("n"),
      /is a column of sources "plain" and "events"; write "plain\.n" or "events\.n"/,
    );
    assert.equal(pair.inputNamed("events.n")?.source, "events");
    const bound = pair.bind(new Set(["plain.n"]), byId);
    assert.deepEqual(readsOf(bound), { request: ["n"], store: { events: ["n"] } });
    assert.deepEqual(answer(bound, { request: { n: 5 }, stored: { n: 7 } }), [10, 21]);
    assert.deepEqual(
      bound.map(({ read, outputs }) => [read?.view.name, outputs.map(({ place }) => place)]),
      [
        [undefined, [0]],
        ["events", [1]],
      ],
    );
  });

  it("takes a stored feature as it is where the request has only some of its inputs", () => {
    const wide = source("wide", {
      files: "wide.parquet",
      entity: item,
      columns: { id: string, a: int64, b: int64 },
    });
    const { a, b } = wide.columns;
    const total = a.add(b);
    const view = featureView("wide", { source: wide, stores: [a, b, total] });
    const wider = plan(buildCatalogue({ wide: { view, total } }), { features: ["total"] });
    const some = wider.bind(new Set(["wide.a"]), byId);
    assert.deepEqual(readsOf(some), { request: [], store: { wide: ["total"] } });
    const all = wider.bind(new Set(["wide.a", "wide.b"]), byId);
    assert.deepEqual(readsOf(all), { request: ["a", "b"], store: {} });
  });

  it("takes the event time from the row, or from the request", () => {
    const hour = plan(both, { features: ["hour"] });
    const stored = hour.bind(new Set(), byId);
    assert.deepEqual(onlyPart(stored).read?.columns, []);
    assert.deepEqual(answer(stored, { eventTime: 3_600_000_000 * 5 }), [5]);
    const sent = hour.bind(new Set(["events.at"]), noKeys);
    assert.equal(onlyPart(sent).read, undefined);
    assert.deepEqual(answer(sent, { request: { at: 3_600_000_000 * 6 } }), [6]);
  });

  it("takes the entity key as an input of features", () => {
    const keyed = plan(both, { features: ["id_length"] });
    const bound = keyed.bind(new Set(), byId);
    assert.deepEqual(readsOf(bound), { request: ["id"], store: {} });
    assert.deepEqual(answer(bound, { request: { id: "ab👩" } }), [3]);
  });

  it("says that a column is neither sent nor stored", () => {
    const note = plan(both, { features: ["note_length"] });
    assertThrows(
      "MISSING_INPUT",
      () => note.bind(new Set(), byId),
      /note_length needs note\. These columns are not stored: send them as inputs, or add them to what the view stores\.$/,
    );
  });

  it("lets a default stand for inputs that come from nowhere, and asks for the others", () => {
    const thing = entity("thing", { key: "id" });
    const things = source("things", {
      files: "things.parquet",
      entity: thing,
      columns: { id: string, a: float64, b: float64 },
    });
    const { a, b } = things.columns;
    const with_default = a.add(b).default(7).expect(between(0, 1));
    const without = b.mul(2);
    const view = featureView("things", { source: things, stores: [b] });
    const made = plan(buildCatalogue({ things: { with_default, without, view } }), {
      features: ["with_default", "without"],
    });
    const bound = made.bind(new Set(["things.b"]), new Set());
    assert.deepEqual(answer(bound, { request: { b: 3 } }), [7, 6]);
    const { outputs, expectations } = onlyPart(bound);
    assert.deepEqual(
      outputs.map(({ defaulted }) => defaulted),
      [true, false],
    );
    assert.deepEqual(expectations, []);
    assert.deepEqual(readsOf(bound), { request: ["b"], store: {} });
    const whole = made.bind(new Set(["things.a", "things.b"]), new Set());
    assert.deepEqual(answer(whole, { request: { a: 1, b: 3 } }), [4, 6]);
    assertThrows("MISSING_INPUT", () => made.bind(new Set(), new Set()), /without needs b\./);
  });

  it("says where each input comes from in a row that names its entity", () => {
    const item = entity("item", { key: "sku" });
    const goods = source("goods", {
      files: "goods.parquet",
      entity: item,
      eventTime: "at",
      columns: { sku: string, at: timestamp, kept: int64, base: int64, spare: int64, sent: int64 },
    });
    const { sku, at, kept, base, spare, sent } = goods.columns;
    const doubled = base.mul(2);
    const wanted = {
      code: sku.lower(),
      hour: at.hour(),
      doubled,
      more: kept.add(spare).default(0),
      most: spare.add(1).default(0),
      sum: sent.add(kept),
    };
    const shop = buildCatalogue({
      goods: { ...wanted, view: featureView("goods", { source: goods, stores: [kept, doubled] }) },
    });
    const { inputOrigins } = plan(shop, { features: Object.keys(wanted) });
    assert.deepEqual(
      Object.fromEntries([...inputOrigins()].map(([{ column }, from]) => [column, from])),
      {
        sku: "entity",
        at: "store",
        kept: "store",
        base: "store",
        spare: "default",
        sent: "request",
      },
    );
  });

  it("takes columns as outputs by view and name", () => {
    const raw = plan(both, { features: ["plain.n", "twice"] });
    const bound = raw.bind(new Set(), byId);
    assert.deepEqual(answer(bound, { stored: { n: 4 } }), [4, 8]);
    assert.deepEqual(readsOf(bound).store, { plain: ["n"] });
  });

  it("computes the violations of expectations beside the outputs", () => {
    const inputs = new Set(["plain.n", "events.n"]);
    const bound = onlyPart(plan(both, { features: ["thrice", "twice"] }).bind(inputs, noKeys));
    const [expectation] = bound.expectations;
    assert.equal(expectation?.output, 1);
    const registers = bound.request.map(() => 7);
    assert.equal(bound.program(registers)[expectation.place], true);
    assert.equal(bound.program(registers.map(() => 5))[expectation.place], false);
  });

  it("reads one aggregate once, whatever rests on it", () => {
    const bound = plan(both, { features: ["above"] }).bind(new Set(["events.x"]), noKeys);
    assert.equal(onlyPart(bound).aggregates.length, 1);
    assert.deepEqual(answer(bound, { request: { x: 3.5 }, aggregate: 1 }), [2.5]);
  });

  it("binds a formula of which each level uses the one below twice, as many as there are", () => {
    const { planned, sum } = deepSharing();
    const bound = planned.bind(new Set(["deep.x"]), noKeys);
    assert.deepEqual(answer(bound, { request: { x: 1 } }), [sum]);
    assert.deepEqual(readsOf(planned.bind(new Set(), byId)), {
      request: [],
      store: { deep: ["x"] },
    });
    assert.throws(() => planned.bind(new Set(), noKeys), { code: "MISSING_INPUT" });
  });
});
