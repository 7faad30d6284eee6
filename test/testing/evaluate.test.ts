import assert from "node:assert/strict";
import { int64, map, mean, std } from "../../engine/index.ts";
import * as features from "../../features/index.ts";
import { evaluateBatch, evaluateOnline } from "../../testing/evaluate.ts";

const { absences, age_mean, age_std_dev, age_zero_mean_unit_variance, has_pet, is_summer } =
  features.absences;
const { age, pet, son } = absences.columns;

describe("evaluating features in a test", () => {
  const rows = [
    { age: 20, pet: 0, month_of_absence: 1 },
    { age: 30, pet: 2, month_of_absence: 7 },
    { age: 40, pet: null, month_of_absence: 12 },
  ];
  const expected = [
    { age_mean: 30, age_std_dev: 10, age_zero_mean_unit_variance: -1, has_pet: 0, is_summer: 1 },
    { age_mean: 30, age_std_dev: 10, age_zero_mean_unit_variance: 0, has_pet: 1, is_summer: 0 },
    { age_mean: 30, age_std_dev: 10, age_zero_mean_unit_variance: 1, has_pet: null, is_summer: 1 },
  ];
  const asked = { age_mean, age_std_dev, age_zero_mean_unit_variance, has_pet, is_summer };

  it("gives the values of both compilers, with the aggregates of the rows", async () => {
    assert.deepEqual(evaluateOnline(asked, rows), expected);
    assert.deepEqual(await evaluateBatch(asked, rows), expected);
  });

  it("takes the aggregates of other rows", async () => {
    const options = { aggregatesOf: [{ age: 18 }, { age: 22 }, { age: null }] };
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
    assert.throws(() => evaluateOnline(both, [{ son: 1.5 }]), {
      ...{ code: "VALUE_INVALID" },
      message: /^rows\[0\]\.son is 1\.5; expected int64/,
    });
  });

  it("has no rows for no rows", async () => {
    assert.deepEqual(evaluateOnline({ spread: std(age) }, []), []);
    assert.deepEqual(await evaluateBatch({ spread: std(age) }, []), []);
  });

  it("refuses a feature that is none", () => {
    const wrong = (absences.columns as unknown as Record<string, typeof age>)["ages"]!;
    assert.throws(() => evaluateOnline({ wrong }, []), { code: "DEFINITION_INVALID" });
  });
});
