/** What README.md and docs/serving.md show, run as it stands there. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { buildCatalogue, loadCatalogue, serviceNamed } from "../engine/catalogue.ts";
import { featureView, valueColumns } from "../engine/index.ts";
import type { Source } from "../engine/language/definitions.ts";
import * as features from "../features/index.ts";
import { buildApp } from "../serving/http/app.ts";
import { createLookup } from "../serving/lookup.ts";
import { connectRedis } from "../store/redis/connection.ts";
import { evaluateOnline, type Features } from "../testing/evaluate.ts";
import { hideHashes } from "./support/hide-hashes.ts";
import { describeFile, readAll } from "./support/files/source-files.ts";
import { createMaterializer } from "./support/temporal/materializer.ts";
import { testRedis } from "./support/redis/server.ts";

const root = fileURLToPath(new URL("../", import.meta.url));

/** The block of a kind in a page, which is the only one or the first that holds a text. */
function blockOf(page: string, kind: string, holding = ""): string {
  const blocks = [
    ...readFileSync(join(root, page), "utf8").matchAll(
      new RegExp(`^\`\`\`${kind}\\n([^]*?)^\`\`\`$`, "gm"),
    ),
  ].map(([, text = ""]) => text);
  const found = blocks.find((text) => text.includes(holding));
  assert.ok(found, `${page} has no block of ${kind} with ${holding}`);
  if (holding === "") assert.equal(blocks.length, 1, page);
  return found;
}

describe("The pages", () => {
  let folder: string;
  before(() => (folder = mkdtempSync(join(tmpdir(), "onceflow-pages-"))));
  after(() => rmSync(folder, { recursive: true, force: true }));

  it("show in docs/sources.md a source, and a file that it reads", async () => {
    const file = join(folder, "visits.csv");
    writeFileSync(file, blockOf("docs/sources.md", "csv"));
    const code = blockOf("docs/sources.md", "ts");
    const names = [...code.matchAll(/\b(?:column|entity|source)(?=\()|\b(?:nullable|[a-z]+64)\b/g)];
    const imported = new Set([...names.map(([name]) => name), "string", "timestamp"]);
    const engine = pathToFileURL(join(root, "engine/index.ts")).href;
    const module = join(folder, "sources.mts");
    writeFileSync(module, `import { ${[...imported].join(", ")} } from "${engine}";\n${code}`);
    const { visits } = (await import(pathToFileURL(module).href)) as { visits: Source };
    buildCatalogue({
      visits: { view: featureView("visits", { source: visits, stores: valueColumns(visits) }) },
    });
    assert.deepEqual(await readAll(visits, await describeFile(file)), {
      user_id: ["7f3", "0c1"],
      seen_at: [1_767_256_200_000_000, 1_767_254_400_000_000],
      height_cm: [181.5, null],
      steps_per_day: [9000, 12_500],
      __ordinal: [0, 1],
    });
  });

  it("show in README.md features that compute, and a service of them", async () => {
    const code = blockOf("README.md", "ts");
    const names = [...code.matchAll(/\b(?:between|featureService|int64|mean)\b/g)].map(([n]) => n);
    const engine = pathToFileURL(join(root, "engine/index.ts")).href;
    const source = pathToFileURL(join(root, "features/absences.ts")).href;
    const module = join(folder, "readme.mts");
    writeFileSync(
      module,
      `import { ${[...new Set(names)].join(", ")} } from "${engine}";
import { absences } from "${source}";
const { age, son } = absences.columns;
${code}`,
    );
    const shown = (await import(pathToFileURL(module).href)) as Features & object;
    const { absences } = features.absences;
    const view = featureView("shown", { source: absences, stores: valueColumns(absences) });
    const catalogue = buildCatalogue({ readme: { ...shown, absences, view } });
    assert.deepEqual(
      serviceNamed(catalogue, "model_x").outputs.map(({ name }) => name),
      ["has_children", "age_zero_mean"],
    );
    const { age_zero_mean, has_children } = shown;
    assert.ok(age_zero_mean && has_children);
    const rows = [
      { age: 30, son: 2 },
      { age: 50, son: 0 },
    ];
    assert.deepEqual(evaluateOnline({ age_zero_mean, has_children }, rows), [
      { age_zero_mean: -10, has_children: 1 },
      { age_zero_mean: 10, has_children: 0 },
    ]);
  });

  it("show in docs/serving.md the answer that its request gets from the example data", async () => {
    const page = "docs/serving.md";
    const script = /^npm run (example-data)$/m.exec(blockOf(page, "sh", "example-data"))?.[1] ?? "";
    const [dataDir, offlineDir] = [join(folder, "data"), join(folder, "offline")];
    await promisify(execFile)("npm", ["run", "--silent", script], {
      cwd: root,
      env: { ...process.env, ONCEFLOW_DATA: dataDir },
    });
    const [, payload = ""] = /-d '(.*)'/.exec(blockOf(page, "sh", "curl")) ?? [];
    const expected = JSON.parse(blockOf(page, "json", '"results"')) as {
      readonly results: readonly {
        readonly event_times: Readonly<Record<string, string | null>>;
        readonly ages: Readonly<Record<string, number | null>>;
      }[];
    };
    // A full refresh has the time at which it was asked for, which the page chose.
    const { event_times, ages } = expected.results[0] ?? { event_times: {}, ages: {} };
    const end = event_times["has_children"] ?? "";
    const askedMs = Date.parse(end) + (ages["has_children"] ?? NaN) * 1000;
    const redis = await testRedis();
    const connection = connectRedis(redis.url, "writing");
    const { prefix } = redis;
    const catalogue = await loadCatalogue(() => import("../features/index.ts"));
    try {
      await createMaterializer({
        catalogue,
        redis: connection,
        prefix,
        dataDir,
        offlineDir,
      }).materialize("absences", "1970-01-01T00:00:00Z", end);
      const lookup = createLookup({ catalogue, redis: connection, prefix, clock: () => askedMs });
      const app = buildApp({ catalogue, lookup, log: "silent" });
      const response = await app.inject({
        method: "POST",
        url: "/v1/features",
        headers: { "content-type": "application/json" },
        payload,
      });
      await app.close();
      lookup.close();
      assert.equal(
        JSON.stringify(hideHashes(response.json()), null, 2),
        JSON.stringify(expected, null, 2),
      );
    } finally {
      await connection.close();
      await redis.stop();
    }
  });
});
