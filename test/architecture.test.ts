import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));

/** Folders, and those of the project that each may import by value; the roots may import all. */
const sees: Readonly<Record<string, readonly string[]>> = {
  engine: [],
  features: ["engine"],
  store: ["engine"],
  serving: ["engine", "store"],
  activities: ["engine", "store", "serving"],
  workflows: [],
  client: ["engine", "store", "serving"],
  testing: ["engine", "store"],
};

/** Type imports that cross a boundary: the contract, and the activities that workflows call. */
const seesTypesOf: Readonly<Record<string, readonly string[]>> = {
  activities: ["workflows"],
  workflows: ["activities", "engine"],
};

/** Files of workflows/ that activities may import by value: names alone, and no workflow. */
const contract = ["workflows/contract.ts", "workflows/attributes.ts"];

/** The only files that load polars. */
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

/** The top folder, or root file, that a relative import leads to. */
function target({ file, from }: Import): string | undefined {
  if (!from.startsWith(".")) return undefined;
  return normalize(join(file, "..", from)).split("/")[0];
}

describe("The architecture", () => {
  for (const [folder, allowed] of Object.entries(sees))
    it(`lets ${folder}/ import ${allowed.join(", ") || "nothing of the project"} by value`, () => {
      const imports = importsOf(folder);
      assert.ok(imports.length > 0, `no import was found in ${folder}/`);
      for (const each of imports) {
        const to = target(each);
        if (to === undefined || to === folder || allowed.includes(to)) continue;
        if (
          folder === "activities" &&
          contract.includes(normalize(join(each.file, "..", each.from)))
        )
          continue;
        const isTypeOf = each.isType && (seesTypesOf[folder] ?? []).includes(to);
        assert.ok(isTypeOf, `${each.file} imports ${each.from}`);
      }
    });

  it("has no cycle of value imports between files", () => {
    const imports = new Map<string, string[]>();
    for (const each of Object.keys(sees).flatMap(importsOf)) {
      if (each.isType || !each.from.startsWith(".")) continue;
      const to = normalize(join(each.file, "..", each.from));
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
