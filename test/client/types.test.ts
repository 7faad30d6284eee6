/**
 * The types that `onceflow types` writes. What stands before the tests is not run: `npm run types`
 * holds it. Each line under `@ts-expect-error` is an error of the type checker; were it to compile,
 * the directive would be one.
 */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { format } from "prettier";
import { declareCatalogue } from "../../client/declarations.ts";
import { columnOf, createClient } from "../../client/http.ts";
import { loadCatalogue } from "../../engine/catalogue.ts";
import { hostileCatalogue } from "../support/engine/hostile-catalogue.ts";
import { assertReviewed } from "../support/reviewed.ts";
import { cli, cliJson } from "../support/run-cli.ts";
import type { Catalogue as Example } from "./fixtures/example-types.ts";
import type { Catalogue as Hostile, Float64, Int64 } from "./fixtures/hostile-types.ts";

/** Fails to compile unless both are the same type. */
const sameType = <A, B>(..._: [A] extends [B] ? ([B] extends [A] ? [] : [never]) : [never]): void =>
  undefined;

/** Compiles a use of a client, and never runs it. */
const compiles = (_: () => Promise<unknown>): void => undefined;

const example = createClient<Example>({ url: "http://127.0.0.1:1" });
const hostile = createClient<Hostile>({ url: "http://127.0.0.1:1" });
const untyped = createClient({ url: "http://127.0.0.1:1" });

const entities = [{ id: 11 }];
const keys = [{ id: "a", part: 1 }];

// They take what the service takes.
compiles(() => example.features("model_x", { entities }));
compiles(() => example.features("model_x", { entities, inputs: { pet: 1 }, max_age: 60 }));
compiles(() => example.features("model_x", { entities, inputs: [{ pet: 1 }, {}] }));
compiles(() => example.features("presence", { inputs: { minutes_inside: "NaN", left_at: 0 } }));
compiles(() => example.features(["has_pet", "absences.age"], { entities }));
compiles(() => example.columns("model_x", { entities, snapshots: { absences: "id" } }));
compiles(() => example.features("model_x", { entities }, { deadlineMs: 5 }));
compiles(() => hostile.features("all", { entities: keys, inputs: { x: 1 } }));
compiles(() => hostile.features("stored", { entities: keys }));
compiles(() => hostile.features("both", { inputs: { "rows.x": 1, "others.x": "-0" } }));
compiles(() => untyped.features("anything", { entities: [{ id: 1 }], inputs: { a: [1] } }));
compiles(() => untyped.features(["anything"], { inputs: { a: null } }));

// They refuse what the service refuses.
// @ts-expect-error a misspelt service
compiles(() => example.features("model_y", { entities }));
// @ts-expect-error a misspelt feature in a list
compiles(() => example.features(["has_pets"], { entities }));
// @ts-expect-error a misspelt column
compiles(() => example.features(["absences.ages"], { entities }));
// @ts-expect-error neither entities nor inputs
compiles(() => example.features("model_x", {}));
// @ts-expect-error a misspelt key column
compiles(() => example.features("model_x", { entities: [{ ids: 11 }] }));
// @ts-expect-error a key that is neither text nor a number
compiles(() => example.features("model_x", { entities: [{ id: true }] }));
// @ts-expect-error an input is missing, and no entity is named
compiles(() => example.features("presence", { inputs: { minutes_inside: 1 } }));
// @ts-expect-error an input of the wrong type
compiles(() => example.features("model_x", { entities, inputs: { pet: true } }));
// @ts-expect-error a misspelt input
compiles(() => example.features("model_x", { entities, inputs: { pets: 1 } }));
// @ts-expect-error null where the column is declared without nulls
compiles(() => example.features("model_x", { entities, inputs: { pet: null } }));
// @ts-expect-error the form is that of the method
compiles(() => example.features("model_x", { entities, form: "columns" }));
// @ts-expect-error the store does not have x
compiles(() => hostile.features("all", { entities: keys }));
// @ts-expect-error the store does not have x, and it is not among the inputs
compiles(() => hostile.features("all", { entities: keys, inputs: { name: "a" } }));
// @ts-expect-error a part of the key is missing
compiles(() => hostile.features("stored", { entities: [{ id: "a" }] }));
// @ts-expect-error two sources have a column x
compiles(() => hostile.features("both", { inputs: { x: 1 } }));
// @ts-expect-error an element of a list is null
compiles(() => hostile.features("stored", { inputs: { name: "a", vector: [null] } }));

// They give values their type, with null.
type Row = Awaited<ReturnType<typeof rowOf>>;
const rowOf = async () => {
  const { results } = await hostile.features("all", { entities: keys, inputs: { x: 1 } });
  return results[0]!;
};
sameType<Row["features"]["class"], boolean | null>();
sameType<Row["features"]["delete"], Int64 | null>();
sameType<Row["features"]["x"], Float64 | null>();
sameType<Row["features"]["name"], string | null>();
sameType<Row["features"]["at"], string | null>();
sameType<Row["features"]["vector"], readonly Float64[] | null>();
compiles(async () => {
  const row = await rowOf();
  // @ts-expect-error a feature that the service does not have
  const halved: unknown = row.features.halved;
  // @ts-expect-error a value that may be null
  const length: number = row.features.name.length;
  return [halved, length, row.statuses.delete === "PRESENT" && row.ages.at];
});
compiles(async () => {
  const columns = await hostile.columns("both", { entities: keys, inputs: { "rows.x": 1 } });
  const halved: readonly (Float64 | null)[] | undefined = columnOf(columns, "halved");
  // @ts-expect-error a column that the service does not have
  columnOf(columns, "vector");
  const status = columns.statuses[0]?.[0];
  // @ts-expect-error no status
  return [halved, status === "MISSING"];
});

describe("the types of a catalogue", () => {
  for (const [file, catalogue] of [
    ["example-types.ts", () => loadCatalogue(() => import("../../features/index.ts"))],
    ["hostile-types.ts", () => Promise.resolve(hostileCatalogue())],
  ] as const)
    it(`are those of ${file}; set UPDATE_SNAPSHOTS=1 to write them anew`, async () => {
      const text = declareCatalogue(await catalogue());
      assert.equal(await format(text, { parser: "typescript" }), text, "it is not formatted");
      await assertReviewed(new URL(`./fixtures/${file}`, import.meta.url), () => text);
    });

  it("are written by the command, which tells with --check whether they are outdated", async () => {
    const folder = await mkdtemp(join(tmpdir(), "onceflow-types-"));
    const file = join(folder, "types.ts");
    const check = ["types", "--check", "--out", file];
    try {
      assert.equal((await cli(check)).code, 3);
      await assert.rejects(readFile(file));
      const written = await cli(["types", "--out", file]);
      assert.deepEqual([written.code, written.out], [0, `${file} is written.\n`]);
      assert.equal(
        await readFile(file, "utf8"),
        declareCatalogue(await loadCatalogue(() => import("../../features/index.ts"))),
      );
      assert.deepEqual(await cliJson(check), { file, outdated: false, written: false });
      await writeFile(file, "export {};\n");
      const outdated = await cli(check);
      assert.equal(outdated.code, 3);
      assert.match(outdated.out, /is not what this build says: run types --out /);
      const nowhere = await cli(["types", "--out", join(folder, "none", "types.ts")]);
      assert.match(nowhere.err, /^CONFIG_INVALID --out .*types\.ts cannot be read or written/);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
