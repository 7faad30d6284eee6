import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));

/**
 * Folders, and what of the project each may import by value; ESLint reads the same list. Tests and
 * the programs at the root may import all.
 */
const sees = JSON.parse(readFileSync(join(root, "test/boundaries.json"), "utf8")) as Readonly<
  Record<string, readonly string[]>
>;

/**
 * Type imports that cross a boundary: the contract, the activities that workflows call, and what an
 * example sends and gets.
 */
const seesTypesOf: Readonly<Record<string, readonly string[]>> = {
  activities: ["workflows"],
  workflows: ["activities", "engine"],
  examples: ["serving"],
};

/** Files of workflows/ that activities may import by value: names alone, and no workflow. */
const contract = ["workflows/contract.ts", "workflows/attributes.ts"];

/** The only files of the product that load polars; what develops and measures it may. */
const polarsFiles = [
  "engine/compile/batch.ts",
  "engine/compile/frame.ts",
  "store/offline-store.ts",
  "store/polars.ts",
  "store/scan.ts",
  "store/csv-export.ts",
  "store/scan-csv.ts",
  "store/scan-parquet.ts",
  "store/source-chunk.ts",
  "activities/materialization.ts",
  "activities/rows.ts",
  "activities/tasks/presence.ts",
  "activities/training-set.ts",
  "testing/batch.ts",
];

interface Import {
  readonly file: string;
  readonly from: string;
  readonly isType: boolean;
}

function importsOf(folder: string): Import[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .flatMap((name) => {
      const file = normalize(join(folder, name));
      const text = readFileSync(join(root, file), "utf8");
      const found = text.matchAll(
        /^(?:import|export)\s+(type\s+)?(?:[^;"']*?\bfrom\s+)?["']([^"']+)["'];|import\(\s*["']([^"']+)["']/gm,
      );
      return [...found].map(([, isType, fixed, dynamic]) => ({
        file,
        from: fixed ?? dynamic ?? "",
        isType: isType !== undefined,
      }));
    });
}

/** The path that a relative import leads to. */
function target({ file, from }: Import): string | undefined {
  return from.startsWith(".") ? normalize(join(file, "..", from)) : undefined;
}
const isWithin = (path: string, folders: readonly string[]) =>
  folders.some((folder) => path === folder || path.startsWith(`${folder}/`));

describe("The architecture", () => {
  it("has a row for each folder that holds sources", () => {
    const folders = readdirSync(root, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !/^\.|^(node_modules|dist|test)$/.test(entry.name))
      .map(({ name }) => name)
      .filter((name) => importsOf(name).length > 0);
    assert.deepEqual(
      folders.sort(),
      Object.keys(sees)
        .filter((folder) => !folder.includes("/"))
        .sort(),
    );
  });

  for (const [folder, allowed] of Object.entries(sees))
    it(`lets ${folder}/ import ${allowed.join(", ") || "nothing of the project"} by value`, () => {
      const imports = importsOf(folder);
      assert.ok(imports.length > 0, `no import was found in ${folder}/`);
      for (const each of imports) {
        const to = target(each);
        if (to === undefined || isWithin(to, [folder, ...allowed])) continue;
        if (folder === "activities" && contract.includes(to)) continue;
        const isTypeOf = each.isType && isWithin(to, seesTypesOf[folder] ?? []);
        assert.ok(isTypeOf, `${each.file} imports ${each.from}`);
      }
    });

  it("has no cycle of value imports between files", () => {
    const imports = new Map<string, string[]>();
    for (const each of Object.keys(sees).flatMap(importsOf)) {
      const to = target(each);
      if (each.isType || to === undefined) continue;
      imports.set(each.file, [...(imports.get(each.file) ?? []), to]);
    }
    const done = new Set<string>();
    const enter = (file: string, path: readonly string[]): void => {
      assert.ok(!path.includes(file), `cycle: ${[...path, file].join(" → ")}`);
      if (done.has(file)) return;
      for (const to of imports.get(file) ?? []) enter(to, [...path, file]);
      done.add(file);
    };
    assert.ok(imports.size > 50, "the imports were not found");
    for (const file of imports.keys()) enter(file, []);
  });

  it("loads polars in the listed files only", () => {
    const users = Object.keys(sees)
      .filter((folder) => !isWithin(folder, ["dev", "bench"]))
      .flatMap(importsOf)
      .filter(({ from, isType }) => from === "nodejs-polars" && !isType)
      .map(({ file }) => file);
    for (const file of users)
      assert.ok(polarsFiles.includes(file), `${file} loads polars; see the list in this test`);
  });

  it("gives workflows only the workflow SDK by value", () => {
    for (const { file, from, isType } of importsOf("workflows"))
      assert.ok(
        isType ||
          from.startsWith("./") ||
          from === "../pipeline.ts" ||
          /^@temporalio\/(workflow|common)$/.test(from),
        `${file} imports ${from} by value`,
      );
  });

  it("keeps features free of I/O and of packages", () => {
    for (const { file, from } of importsOf("features"))
      assert.ok(from.startsWith("."), `${file} imports the package ${from}`);
  });
});
