import assert from "node:assert/strict";
import * as fc from "fast-check";
import { dtypes } from "../../engine/language/dtypes.ts";
import type { AnswerTable } from "../../serving/answer.ts";
import { statuses } from "../../serving/answer.ts";
import { answerInColumns, answerInRows, answerJson } from "../../serving/answer-form.ts";
import { anyValueOf } from "../support/engine/arbitrary.ts";
import { runsOf } from "../support/property.ts";

const times = fc.option(fc.constantFrom(0, 1, 1.7e15, 1.7e15 + 1));

const table: fc.Arbitrary<AnswerTable> = fc
  .record({
    dtypes: fc.array(fc.constantFrom(...dtypes), { minLength: 1, maxLength: 5 }),
    rows: fc.integer({ min: 1, max: 4 }),
    service: fc.option(fc.string({ unit: "binary" }), { nil: undefined }),
    nowMs: fc.integer({ min: 0, max: 2e12 }),
  })
  .chain(({ dtypes, rows, service, nowMs }) => {
    const cells = dtypes.length * rows;
    const perRow = fc.integer({ min: 0, max: rows - 1 });
    const name = fc.constantFrom(...dtypes.map((_, i) => `feature_${i}`));
    return fc.record({
      head: fc.constant({
        ...(service === undefined ? {} : { service }),
        fingerprint: "f",
        snapshot: { view: "s" },
        as_of: { view: "2026-03-01T00:00:00.000Z" },
        ...(service === undefined ? {} : { uncovered: ["view"] }),
      }),
      names: fc.constant(dtypes.map((_, i) => `feature_${i}`)),
      dtypes: fc.constant(dtypes),
      entities: fc.array(
        fc.option(fc.record({ id: fc.string({ unit: "binary" }) }), { nil: undefined }),
        {
          minLength: rows,
          maxLength: rows,
        },
      ),
      values: fc
        .tuple(...Array.from({ length: rows }, () => dtypes.map(anyValueOf)).flat())
        .map((all) => [...all]),
      statuses: fc
        .array(fc.integer({ min: 0, max: statuses.length - 1 }), {
          minLength: cells,
          maxLength: cells,
        })
        .map((codes) => Uint8Array.from(codes)),
      eventTimesUs: fc.array(times, { minLength: cells, maxLength: cells }),
      violations: fc
        .dictionary(name, fc.array(fc.string(), { minLength: 1 }), {
          minKeys: 1,
          noNullPrototype: true,
        })
        .chain((noted) =>
          fc.oneof(
            perRow.map((row) => new Map([[row, noted]])),
            fc.constant(new Map<number, typeof noted>()),
          ),
        ),
      errors: fc
        .dictionary(name, fc.string(), { minKeys: 1, noNullPrototype: true })
        .chain((noted) =>
          fc.oneof(
            perRow.map((row) => new Map([[row, noted]])),
            fc.constant(new Map<number, typeof noted>()),
          ),
        ),
      nowMs: fc.constant(nowMs),
    });
  });

describe("the forms of an answer", () => {
  it("are the same as ASCII and as objects", () => {
    const sent = (json: Buffer): string => {
      assert.ok(json.every((byte) => byte < 128));
      return JSON.stringify(JSON.parse(json.toString("latin1")));
    };
    fc.assert(
      fc.property(table, (each) => {
        assert.equal(sent(answerJson(each, "rows")), JSON.stringify(answerInRows(each)));
        assert.equal(sent(answerJson(each, "columns")), JSON.stringify(answerInColumns(each)));
      }),
      runsOf(500),
    );
  });

  it("hold the same in rows and in columns", () => {
    fc.assert(
      fc.property(table, (each) => {
        const { results } = answerInRows(each);
        const columns = answerInColumns(each);
        results.forEach((row, i) => {
          assert.deepEqual(columns.entities[i], row.entity ?? null);
          columns.features.forEach((name, place) => {
            assert.deepEqual(columns.values[place]?.[i], row.features[name]);
            assert.equal(columns.statuses[place]?.[i], row.statuses[name]);
            assert.equal(columns.event_times[place]?.[i], row.event_times[name]);
            assert.equal(columns.ages[place]?.[i], row.ages[name]);
            const ofCell = { row: i, feature: name };
            const expectations = row.violations?.[name];
            assert.deepEqual(
              columns.violations?.filter((note) => note.row === i && note.feature === name) ?? [],
              expectations === undefined ? [] : [{ ...ofCell, expectations }],
            );
            const message = row.errors?.[name];
            assert.deepEqual(
              columns.errors?.filter((note) => note.row === i && note.feature === name) ?? [],
              message === undefined ? [] : [{ ...ofCell, message }],
            );
          });
        });
      }),
      runsOf(100),
    );
  });

  it("never say that a value is from the future", () => {
    const early: AnswerTable = {
      head: { fingerprint: "f", snapshot: {}, as_of: {} },
      names: ["x"],
      dtypes: ["int64"],
      entities: [undefined],
      values: [1],
      statuses: new Uint8Array(1),
      eventTimesUs: [2_000_500],
      violations: new Map(),
      errors: new Map(),
      nowMs: 1000,
    };
    assert.equal(answerInRows(early).results[0]?.ages["x"], 0);
    assert.equal(answerInRows({ ...early, nowMs: 3000 }).results[0]?.ages["x"], 1);
  });
});
