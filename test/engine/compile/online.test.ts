import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { buildCatalogue } from "../../../engine/catalogue.ts";
import { compileOnline } from "../../../engine/compile/online.ts";
import type { Value } from "../../../engine/language/dtypes.ts";
import { entity, featureView, float64, int64, map, source, string } from "../../../engine/index.ts";
import type { Node } from "../../../engine/language/node.ts";
import { plan } from "../../../engine/planner.ts";
import { columnNode } from "../../support/engine/parity.ts";

describe("generated code", () => {
  const hostile = [
    "];process.exit(7)//",
    "`${process.exit(7)}`",
    "\u2028process.exit(7)\u2029",
    '"+x+"',
    "\\",
    "*/",
  ];

  /** Runs `compile` with every text that it hands to `Function`. */
  function sourcesOf<T>(compile: () => T): { made: T; sources: string[] } {
    const original = globalThis.Function;
    const sources: string[] = [];
    globalThis.Function = new Proxy(original, {
      construct(target, parts: string[]) {
        sources.push(parts.join("\n"));
        return Reflect.construct(target, parts);
      },
    });
    try {
      return { made: compile(), sources };
    } finally {
      globalThis.Function = original;
    }
  }

  it("holds no text of a user's, whatever names and literals are", () => {
    const columns = hostile.map((name) => columnNode(name, "string"));
    const outputs: Node[] = columns.flatMap((column, i) => {
      const literal = {
        kind: "literal",
        dtype: "string",
        shape: "scalar",
        value: hostile[i] ?? "",
      } as const;
      const operation = (
        name: "concat" | "eq" | "starts_with",
        dtype: "string" | "bool",
      ): Node => ({
        kind: "operation",
        operation: name,
        inputs: [column, literal],
        dtype,
        shape: "column",
      });
      const opaque: Node = {
        kind: "map",
        name: hostile[i] ?? "",
        version: 1,
        inputs: [{ name: hostile[i] ?? "", node: column }],
        dtype: "string",
        shape: "column",
        compute: (inputs) => inputs[hostile[i] ?? ""] ?? null,
      };
      return [
        operation("concat", "string"),
        operation("eq", "bool"),
        operation("starts_with", "bool"),
        opaque,
      ];
    });
    const registerOf = (node: Node) =>
      node.kind === "column" ? hostile.indexOf(node.name) : undefined;
    const { made, sources } = sourcesOf(() => compileOnline(outputs, registerOf, "generated"));
    assert.equal(sources.length, 1);
    assert.match(sources[0] ?? "", /^[\w\s"=;:?|[\]().,{}<>!&*/+-]+$/);
    assert.doesNotMatch(sources[0] ?? "", /process|exit/);
    const closures = compileOnline(outputs, registerOf, "closures");
    assert.deepStrictEqual(made(hostile), closures(hostile));
    assert.deepStrictEqual(made(hostile.map(() => null)), closures(hostile.map(() => null)));
    assert.equal(made(hostile)[0], (hostile[0] ?? "").repeat(2));
  });

  it("has the values of literals as they are", () => {
    const literals = [-0, 0, -4, 1e21, 5e-324, NaN, -Infinity];
    const outputs = literals.map((value): Node => ({
      kind: "operation",
      operation: "sub",
      inputs: [
        columnNode("x", "float64"),
        { kind: "literal", dtype: "float64", shape: "scalar", value },
      ],
      dtype: "float64",
      shape: "column",
    }));
    const registerOf = ({ kind }: Node) => (kind === "column" ? 0 : undefined);
    const program = compileOnline(outputs, registerOf, "generated");
    for (const x of [-0, 0, 1.5])
      assert.deepStrictEqual(
        program([x]),
        literals.map((value) => x - value),
      );
  });

  it("is not made where the process forbids it, and the answers are the same", async () => {
    const script = fileURLToPath(
      new URL("../fixtures/without-code-generation.ts", import.meta.url),
    );
    const run = promisify(execFile);
    const flags = ["--import", "tsx"];
    const [allowed, forbidden] = await Promise.all([
      run(process.execPath, [...flags, script]),
      run(process.execPath, ["--disallow-code-generation-from-strings", ...flags, script]),
    ]);
    const read = ({ stdout }: { stdout: string }) =>
      JSON.parse(stdout) as { generates: boolean; answers: string };
    assert.equal(read(allowed).generates, true);
    assert.equal(read(forbidden).generates, false);
    assert.equal(read(forbidden).answers, read(allowed).answers);
    assert.match(read(allowed).answers, /^\[\[/);
  });
});

describe("user functions", () => {
  const n = columnNode("n", "int64");
  const run = (compute: (n: Value) => unknown, value: Value): Value => {
    const node: Node = {
      kind: "map",
      name: "mine",
      version: 3,
      inputs: [{ name: "n", node: n }],
      dtype: "int64",
      shape: "column",
      compute: ({ n: input = null }) => compute(input) as Value,
    };
    return (
      compileOnline([node], (each) => (each.kind === "column" ? 0 : undefined))([value])[0] ?? null
    );
  };

  it("get null as null, and may give it", () => {
    assert.equal(
      run((value) => (value === null ? 7 : null), null),
      7,
    );
    assert.equal(
      run((value) => (value === null ? 7 : null), 1),
      null,
    );
  });

  it("may give an integer in any form of it", () => {
    assert.deepStrictEqual(
      run(() => Math.round(-0.3), 1),
      0,
    );
    assert.deepStrictEqual(
      run(() => 5n, 1),
      5,
    );
    assert.deepStrictEqual(
      run(() => 2n ** 60n, 1),
      2n ** 60n,
    );
  });

  it("fail by name where they throw, or give what is no value of their dtype", () => {
    for (const [value, shown] of [
      [1.5, "1.5"],
      [2 ** 53, "9007199254740992"],
      [2n ** 63n, "9223372036854775808"],
      ["1", '"1"'],
      [undefined, "undefined"],
      [{ n: 1n }, "an object"],
      [NaN, "NaN"],
    ] as const)
      assert.throws(() => run(() => value, 1), {
        code: "VALUE_INVALID",
        message: `map "mine" version 3 returned ${shown}, which is no int64.`,
      });
    const failing = () =>
      run(() => {
        throw new TypeError("no such thing");
      }, 1);
    assert.throws(failing, {
      code: "VALUE_INVALID",
      message: 'map "mine" version 3 threw: no such thing',
    });
  });

  it("fail by name where they are async, and leave no rejection behind", async () => {
    const left: unknown[] = [];
    const keep = (error: unknown) => void left.push(error);
    process.on("unhandledRejection", keep);
    try {
      for (const promise of [Promise.resolve(1), Promise.reject(new Error("late"))])
        assert.throws(() => run(() => promise, 1), {
          code: "VALUE_INVALID",
          message: 'map "mine" version 3 returned a promise; its function must not be async.',
        });
      // Node tells of rejections once the microtasks are done.
      await new Promise(setImmediate);
    } finally {
      process.off("unhandledRejection", keep);
    }
    assert.deepEqual(left, []);
  });

  it("fail by name whatever they throw", () => {
    for (const [thrown, message] of [
      [null, "null"],
      [Object.create(null), "an error that has no text"],
      [
        Object.defineProperty(new Error(), "message", { get: assert.fail }),
        "an error that has no text",
      ],
    ] as const)
      assert.throws(
        () =>
          run(() => {
            throw thrown;
          }, 1),
        { code: "VALUE_INVALID", message: `map "mine" version 3 threw: ${message}` },
      );
  });

  it("get each input by its name", () => {
    const item = source("items", {
      files: "items.parquet",
      entity: entity("item", { key: "id" }),
      columns: { id: string, n: int64, x: float64 },
    });
    const { n: count, x } = item.columns;
    const built = buildCatalogue({
      items: {
        items_view: featureView("items", { source: item, stores: [] }),
        next: map("next", { version: 1 }, { x, count }, int64, ({ x: step, count: from }) =>
          from === null || step === null ? null : BigInt(from) + BigInt(step),
        ),
      },
    });
    for (const form of ["closures", "generated"] as const) {
      const [part] = plan(built, { features: ["next"] }, { form }).bind(
        new Set(["items.n", "items.x"]),
        new Set(),
      );
      assert.ok(part);
      const registers: Value[] = [];
      for (const { input, register } of part.request)
        registers[register] = input.column === "n" ? Number.MAX_SAFE_INTEGER : 2;
      assert.deepStrictEqual(part.program(registers), [2n ** 53n + 1n]);
    }
  });
});
