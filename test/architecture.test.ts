import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
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
  filling: ["workflows"],
  workflows: ["activities", "engine"],
  examples: ["serving"],
};

/** Files of workflows/ that others may import by value: names alone, and no workflow. */
const contract = ["workflows/contract.ts", "workflows/search-attributes.ts"];

/** Files side by side in a folder: more than these are no longer taken in at a glance. */
const mostFiles = 20;

/** Modules that import each other on purpose: the catalogue refuses them. */
const circle = "test/engine/fixtures/circle/";

/** The only files of the product that load polars; what develops and measures it may. */
const polarsFiles = [
  "engine/compile/batch.ts",
  "engine/compile/calls.ts",
  "engine/compile/states.ts",
  "engine/compile/frame.ts",
  "store/offline/offline-store.ts",
  "engine/compile/polars.ts",
  "sources/scan.ts",
  "store/offline/csv-export.ts",
  "sources/scan-csv.ts",
  "sources/scan-parquet.ts",
  "sources/parquet-types.ts",
  "sources/chunk.ts",
  "filling/keys.ts",
  "filling/rows.ts",
  "activities/tasks/presence.ts",
  "activities/training-set.ts",
  "testing/batch.ts",
];

/** The only files of the product that ask the file system, by what they ask it for. */
const fileSystemFiles: Readonly<Record<string, string>> = {
  // Data: what keeps the offline store, and what reads sources; a bucket would take their place.
  "store/offline/local-objects.ts": "the files of the offline store",
  "sources/files.ts": "source files",
  "sources/awaited-files.ts": "whether a source file that a run waits for is there",
  "activities/tasks/presence.ts": "an example of a user's task, which may do any I/O",
  // What the process itself is made of, or runs on.
  "project.ts": "where the features of the project are",
  "store/redis/scripts.ts": "the Lua scripts",
  "serving/telemetry/metrics.ts": "the version in package.json",
  "serving/auth/public-keys.ts": "keys by which callers are known",
  "activities/priority.ts": "the priority of its threads, in /proc",
  // What a person at a terminal names.
  "cli/request.ts": "a request in a file",
  "cli/commands/store/backup.ts": "the file of a backup",
  "cli/commands/types.ts": "the generated types",
};

interface Import {
  readonly file: string;
  readonly from: string;
  readonly isType: boolean;
}

/** Every import of the files below a folder, also `import type`, `export from` and `import()`. */
function importsOf(folder: string): Import[] {
  return trackedFiles()
    .filter((file) => file.endsWith(".ts") && (folder === "." || file.startsWith(`${folder}/`)))
    .flatMap((file) => {
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

/** Every file of the repository, by its path from the root. */
function trackedFiles(): string[] {
  return execFileSync("git", ["ls-files", "-coz", "--exclude-standard"], {
    cwd: root,
    encoding: "utf8",
  })
    .split("\0")
    .filter((file) => file !== "" && existsSync(join(root, file)));
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
        if (/^(activities|filling)$/.test(folder) && contract.includes(to)) continue;
        const isTypeOf = each.isType && isWithin(to, seesTypesOf[folder] ?? []);
        assert.ok(isTypeOf, `${each.file} imports ${each.from}`);
      }
    });

  it("has no cycle of imports between files, of types either", () => {
    const imports = new Map<string, string[]>();
    for (const each of importsOf(".")) {
      const to = target(each);
      if (to === undefined || each.file.startsWith(circle)) continue;
      imports.set(each.file, [...(imports.get(each.file) ?? []), to]);
    }
    const done = new Set<string>();
    const enter = (file: string, path: readonly string[]): void => {
      assert.ok(!path.includes(file), `cycle: ${[...path, file].join(" → ")}`);
      if (done.has(file)) return;
      for (const to of imports.get(file) ?? []) enter(to, [...path, file]);
      done.add(file);
    };
    assert.ok(imports.size > 300, "the imports were not found");
    for (const file of imports.keys()) enter(file, []);
  });

  it(`has no folder with more than ${mostFiles} files side by side`, () => {
    const counts = new Map<string, number>();
    for (const file of trackedFiles())
      counts.set(dirname(file), (counts.get(dirname(file)) ?? 0) + 1);
    assert.ok(counts.size > 40, "the files were not found");
    const full = [...counts].filter(([, count]) => count > mostFiles);
    assert.deepEqual(full, [], "divide it by what a newcomer looks for");
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

  for (const folder of ["filling", "status"])
    it(`keeps ${folder}/ free of Temporal, of its types too`, () => {
      for (const { file, from } of importsOf(folder))
        assert.ok(!from.startsWith("@temporalio/"), `${file} imports ${from}`);
    });

  it("asks the file system in the listed files only", () => {
    const users = importsOf(".")
      .filter(({ file }) => !isWithin(file, ["bench", "dev", "examples", "test"]))
      .filter(({ from }) => /^(node:)?fs(\/promises)?$/.test(from))
      .map(({ file }) => file);
    assert.deepEqual(
      [...new Set(users)].sort(),
      Object.keys(fileSystemFiles).sort(),
      "data goes through sources/files.ts and store/offline/objects.ts; see the list in this test",
    );
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
