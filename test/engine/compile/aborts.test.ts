import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import pl from "nodejs-polars";
import { compileBatch } from "../../../engine/compile/batch.ts";
import { toColumns, toSeries, valueAt } from "../../../engine/compile/frame.ts";
import { compileOnline } from "../../../engine/compile/online.ts";
import { callMap } from "../../../engine/compile/program.ts";
import { operationNode } from "../../../engine/language/build.ts";
import { int64, map, timestamp } from "../../../engine/index.ts";
import type { MapNode, Node } from "../../../engine/language/node.ts";
import { columnNode } from "../../support/engine/parity.ts";

const everyOperation = fileURLToPath(new URL("../fixtures/every-operation.ts", import.meta.url));

describe("no expression", () => {
  it("aborts its process or differs, for values at and beyond the edges of every dtype", async () => {
    const ended = await new Promise<{ code: unknown; said: string }>((resolve) => {
      execFile(process.execPath, ["--import", "tsx", everyOperation], (error, stdout, stderr) => {
        const code = error === null ? 0 : (error.signal ?? error.code);
        resolve({ code, said: `${stdout}${stderr.slice(0, 2000)}` });
      });
    });
    assert.equal(ended.code, 0, ended.said);
    assert.equal(ended.said, "done\n");
  });

  it("takes longer in batch the oftener it uses what lies below", async () => {
    const n = columnNode("n", "int64");
    let node: Node = n;
    for (let level = 0; level < 40; level++)
      node = operationNode(level % 2 === 0 ? "add" : "sub", [node, level % 3 === 0 ? node : n]);
    const frame = pl.DataFrame([toSeries("n", "int64", [0, 1, -7, 2n ** 60n, null])]);
    const answer = await compileBatch([{ name: "deep", node }]).run(frame, new Map());
    const [batch] = toColumns(answer, ["deep"]);
    const online = compileOnline([node], (each) => (each === n ? 0 : undefined));
    assert.ok(batch);
    for (const [row, value] of [0, 1, -7, 2n ** 60n, null].entries())
      assert.deepEqual([valueAt(batch, row)], online([value]));
  });

  it("gets a timestamp of a function that is none", () => {
    const made = map("far", { version: 1 }, {}, timestamp, () => 2n ** 62n);
    assert.throws(() => callMap(made.node as MapNode)(), { code: "VALUE_INVALID" });
    const number = map("far", { version: 1 }, {}, int64, () => 2n ** 62n);
    assert.equal(callMap(number.node as MapNode)(), 2n ** 62n);
  });
});
