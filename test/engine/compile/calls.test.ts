import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import pl from "nodejs-polars";
import { compileBatch, type Frame } from "../../../engine/compile/batch.ts";
import { toColumns, toSeries, valueAt } from "../../../engine/compile/frame.ts";
import { compileStates } from "../../../engine/compile/states.ts";
import { float64, map } from "../../../engine/index.ts";
import { operationNode } from "../../../engine/language/build.ts";
import { Expr } from "../../../engine/language/expression.ts";
import type { Value } from "../../../engine/language/dtypes.ts";
import type { Node } from "../../../engine/language/node.ts";
import { columnNode } from "../../support/engine/parity.ts";
import { foldState } from "../../support/redis/states.ts";

const x = columnNode("x", "float64");
const log = (node: Node) => operationNode("log", [node]);
const exp = (node: Node) => operationNode("exp", [node]);
const frameOf = (values: readonly Value[]): Frame =>
  pl.DataFrame([toSeries("x", "float64", values)]);

/** Values of a node over a frame. */
async function run(node: Node, frame: Frame): Promise<Value[]> {
  const answer = await compileBatch([{ name: "it", node }]).run(frame, new Map());
  return valuesOf(answer, "it");
}

function valuesOf(frame: Frame, name: string): Value[] {
  const [column] = toColumns(frame, [name]);
  assert.ok(column);
  return Array.from({ length: frame.height }, (_, row) => valueAt(column, row));
}

describe("functions of the mathematical library in batch", () => {
  const values = [1, null, 0, -0, -1, 0.3, NaN, Infinity, 5e-324, 745.2, null];
  const wanted = values.map((value) => (value === null ? null : Math.log(value)));

  it("are those of JavaScript over frames of every form, which they leave as they are", async () => {
    const whole = frameOf(values);
    const chunks = pl.concat([frameOf(values.slice(0, 3)), frameOf(values.slice(3))], {
      rechunk: false,
      how: "vertical",
    });
    for (const frame of [whole, chunks]) {
      assert.deepEqual(await run(log(x), frame), wanted);
      assert.deepEqual(await run(log(x), frame.slice(2, 5)), wanted.slice(2, 7));
      assert.deepEqual(valuesOf(frame, "x"), values);
    }
    for (const few of [[], [null], [null, null], [0.3]])
      assert.deepEqual(
        await run(log(x), frameOf(few)),
        few.map((value) => value && Math.log(value)),
      );
  });

  it("are taken of each other, and of functions of the user's, in any order", async () => {
    const half = map("half", { version: 1 }, { it: new Expr(log(x)) }, float64, ({ it }) =>
      it === null ? -1 : Number(it) / 2,
    ).node;
    const node = operationNode("add", [exp(half), log(exp(operationNode("add", [half, log(x)])))]);
    const online = (value: number | null) => {
      const own = value === null ? -1 : Math.log(value) / 2;
      if (value === null) return null;
      return Math.exp(own) + Math.log(Math.exp(own + Math.log(value)));
    };
    assert.deepEqual(await run(node, frameOf(values)), values.map(online));
  });

  it("feed aggregates", async () => {
    const numbers = [1.1, null, 0.3, 745.2, 5e-324];
    const states = await compileStates([{ fingerprint: "s", aggregate: "sum", input: log(x) }])(
      frameOf(numbers),
    );
    const logs = numbers.map((value) => (value === null ? null : Math.log(value)));
    assert.deepEqual(states.get("s"), foldState({ name: "sum", dtype: "float64" }, logs));
  });

  it("give the bits that were recorded; where they do not, raise the version of both operations", () => {
    const hash = (call: (value: number) => number, least: number, span: number) => {
      const bits = Float64Array.from({ length: 10_000 }, (_, i) => call(least + (span * i) / 9973));
      return createHash("sha256").update(bits).digest("hex").slice(0, 16);
    };
    assert.deepEqual(
      [
        hash(Math.log, 1e-3, 1),
        hash(Math.log, 1, 1e6),
        hash(Math.exp, -700, 1400),
        hash(Math.exp, -1, 2),
      ],
      ["5f9fe05e9170acc7", "f4b67da529f00c86", "2f4a7a40cdffb959", "6e787eae6a684251"],
    );
  });
});
