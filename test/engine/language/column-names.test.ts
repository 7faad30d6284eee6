import assert from "node:assert/strict";
import pl from "nodejs-polars";
import { aggregateOf } from "../../../engine/aggregates.ts";
import { compileBatch } from "../../../engine/compile/batch.ts";
import { compileStates } from "../../../engine/compile/states.ts";
import { toColumns, toSeries, valueAt } from "../../../engine/compile/frame.ts";
import { fingerprintOf } from "../../../engine/fingerprint.ts";
import { entity, float64, map, mean, source, string } from "../../../engine/index.ts";

/** Properties of polars frames and lazy frames, which a column of the same name hides. */
const names = ["height", "width", "shape", "columns", "select", "filter", "lazy", "schema", "head"];

describe("Columns named like properties of a frame", () => {
  const id = entity("thing", { key: "id" });
  const types = Object.fromEntries(names.map((name) => [name, float64]));
  const things = source("things", {
    files: "things.parquet",
    entity: id,
    columns: { id: string, ...types },
  });
  const frame = pl.DataFrame([
    toSeries("id", "string", ["a", "b", "c"]),
    ...names.map((name, i) => toSeries(name, "float64", [i, i + 1, i + 2])),
  ]);

  for (const [i, name] of names.entries())
    it(`compute, aggregate and go through a map: ${name}`, async () => {
      const column = (things.columns as Record<string, (typeof things.columns)["id"]>)[name];
      assert.ok(column);
      const value = column as unknown as Parameters<typeof mean>[0];
      const average = mean(value);
      const doubled = map(`double_${name}`, { version: 1 }, { value }, float64, (row) =>
        row.value === null ? null : Number(row.value) * 2,
      );
      const { node } = average;
      assert.ok(node.kind === "aggregate");
      const states = compileStates([
        { fingerprint: "f", aggregate: node.aggregate, input: node.input },
      ]);
      const state = (await states(frame)).get("f") ?? [];
      assert.deepEqual([state[0], aggregateOf("mean").value(state, "float64")], [3, i + 1]);
      const program = compileBatch([
        { name: "centred", node: value.sub(average).node },
        { name: "doubled", node: doubled.node },
      ]);
      const computed = await program.run(frame, new Map([[fingerprintOf(node), i + 1]]), [name]);
      const [kept, centred, twice] = toColumns(computed, [name, "centred", "doubled"]);
      assert.ok(kept && centred && twice);
      const rows = [0, 1, 2];
      assert.deepEqual(
        rows.map((row) => valueAt(kept, row)),
        [i, i + 1, i + 2],
      );
      assert.deepEqual(
        rows.map((row) => valueAt(centred, row)),
        [-1, 0, 1],
      );
      assert.deepEqual(
        rows.map((row) => valueAt(twice, row)),
        [2 * i, 2 * (i + 1), 2 * (i + 2)],
      );
    });
});
