import assert from "node:assert/strict";
import {
  entity,
  float64,
  int64,
  map,
  mean,
  nullable,
  source,
  std,
  string,
} from "../../engine/index.ts";
import * as features from "../../features/index.ts";
import { evaluateBatch, evaluateOnline } from "../../testing/evaluate.ts";

const { absences, age_mean, age_std_dev, age_zero_mean_unit_variance, has_pet, is_summer } =
  features.absences;
const { age, pet, son } = absences.columns;

describe("evaluating features in a test", () => {
  const rows = [
    { age: 20, pet: 0, month_of_absence: 1 },
    { age: 30, pet: 2, month_of_absence: 7 },
    { age: 40, pet: 1, month_of_absence: 12 },
  ];
  const expected = [
    { age_mean: 30, age_std_dev: 10, age_zero_mean_unit_variance: -1, has_pet: 0, is_summer: 1 },
    { age_mean: 30, age_std_dev: 10, age_zero_mean_unit_variance: 0, has_pet: 1, is_summer: 0 },
    { age_mean: 30, age_std_dev: 10, age_zero_mean_unit_variance: 1, has_pet: 1, is_summer: 1 },
  ];
  const asked = { age_mean, age_std_dev, age_zero_mean_unit_variance, has_pet, is_summer };

  it("gives the values of both compilers, with the aggregates of the rows", async () => {
    assert.deepEqual(evaluateOnline(asked, rows), expected);
    assert.deepEqual(await evaluateBatch(asked, rows), expected);
  });

  it("takes the aggregates of other rows", async () => {
    const options = { aggregatesOf: [{ age: 18 }, { age: 22 }] };
    const one = { centred: age.sub(mean(age)) };
    assert.deepEqual(evaluateOnline(one, [{ age: 21 }], options), [{ centred: 1 }]);
    assert.deepEqual(await evaluateBatch(one, [{ age: 21 }], options), [{ centred: 1 }]);
  });

  it("reads and gives values as they travel, functions of the user included", async () => {
    const doubled = map("doubled", { version: 1 }, { son }, int64, ({ son: n }) =>
      n === null ? null : BigInt(n) * 2n,
    );
    const rowsOfText = [
      { son: "4611686018427387903", pet: 1 },
      { son: 1, pet: 1 },
    ];
    const wanted = [
      { doubled: "9223372036854775806", ratio: 1 },
      { doubled: 2, ratio: 1 },
    ];
    const both = { doubled, ratio: pet.div(mean(pet)) };
    assert.deepEqual(evaluateOnline(both, rowsOfText), wanted);
    assert.deepEqual(await evaluateBatch(both, rowsOfText), wanted);
    assert.throws(() => evaluateOnline(both, [{ son: 1.5, pet: 1 }]), {
      code: "VALUE_INVALID",
      message: /^rows\[0\]\.son is 1\.5; expected int64/,
    });
  });

  it("has no rows for no rows", async () => {
    assert.deepEqual(evaluateOnline({ spread: std(age) }, []), []);
    assert.deepEqual(await evaluateBatch({ spread: std(age) }, []), []);
  });

  it("refuses what the service refuses: a column that is none, and a null where none may be", async () => {
    const strict = source("visits", {
      files: "visits.csv",
      entity: entity("visitor", { key: "id" }),
      columns: { id: string, age: int64, fee: float64, spare: nullable(float64) },
    });
    const { age: years, fee, spare } = strict.columns;
    const features = { above: years.sub(mean(years)), high: fee.gt(1) };
    const row = { id: "1", age: 20, fee: 2 };
    const wrong = [
      [{ ...row, agee: 20 }, "UNKNOWN_INPUT", 'no column of source "visits". Did you mean "age"?'],
      [{ ...row, constructor: 1 }, "UNKNOWN_INPUT", 'no column of source "visits".'],
      [{ ...row, age: null }, "VALUE_INVALID", "age is null, and column visits.age is declared"],
      [{ age: 20 }, "MISSING_INPUT", "rows[1].fee is left out, and column visits.fee is declared"],
    ] as const;
    for (const [given, code, said] of wrong) {
      const isSaid = (error: { code?: string; message?: string }) =>
        error.code === code && error.message?.includes(said) === true;
      assert.throws(() => evaluateOnline(features, [row, given]), isSaid);
      await assert.rejects(evaluateBatch(features, [row, given]), isSaid);
    }
    const rest = { rest: spare.sub(mean(spare)) };
    const [nulls, values] = [
      [{ spare: 1 }, { spare: null }, {}],
      [0, null, null],
    ];
    assert.deepEqual(
      evaluateOnline(rest, nulls),
      values.map((value) => ({ rest: value })),
    );
    // Of a row that only aggregates are taken of, what they are not of may be left out.
    const options = { aggregatesOf: [{ age: 30 }] };
    assert.deepEqual(evaluateOnline(features, [row], options), [{ above: -10, high: true }]);
    assert.throws(() => evaluateOnline(features, [row], { aggregatesOf: [{ fee: 1 }] }), {
      code: "MISSING_INPUT",
    });
  });

  it("refuses a feature that is none", () => {
    const wrong = (absences.columns as unknown as Record<string, typeof age>)["ages"]!;
    assert.throws(() => evaluateOnline({ wrong }, []), { code: "DEFINITION_INVALID" });
  });
});
