import assert from "node:assert/strict";
import { buildApp } from "../../serving/http/app.ts";
import type { FeatureAnswer } from "../../serving/answer.ts";
import { createLookup } from "../../serving/lookup.ts";
import { type ExampleStore, fillExampleStore } from "../support/http/example-store.ts";
import { fillView } from "../support/redis/fill.ts";
import { randomPrefix } from "../support/redis/server.ts";
import { cli, cliJson, storeEnv } from "../support/run-cli.ts";
import { withoutAges } from "../support/http/without-ages.ts";

let example: ExampleStore;
before(async () => {
  example = await fillExampleStore();
});
after(() => example.stop());

const envOf = (prefix: string) => storeEnv(example.redis.url, prefix);
const exampleEnv = () => envOf(example.redis.prefix);

describe("get", () => {
  it("shows a table for each entity, and gives an unknown one as a status", async () => {
    const { code, out, err } = await cli(
      "get --features has_pet,age_zero_mean --entity id=11 --entity id=nobody".split(" "),
      exampleEnv(),
    );
    assert.equal(err, "");
    assert.equal(code, 0);
    assert.equal(
      out,
      `id=11
feature        value  status   event time
has_pet            1  PRESENT  2026-03-02
age_zero_mean   -3.5  PRESENT  2026-03-02

id=nobody
feature        value  status     event time
has_pet        null   NOT_FOUND
age_zero_mean  null   NOT_FOUND

snapshot of absences: ${example.snapshots.absences}
`,
    );
  });

  it("computes from inputs, a file's rows and a pinned snapshot", async () => {
    const asked = ["get", "--features", "has_pet,age_zero_mean"];
    const { results } = await cliJson<FeatureAnswer>(
      [
        ...asked,
        "--input",
        "pet=2",
        "--input",
        "age=33",
        "--snapshot",
        `absences=${example.snapshots.absences}`,
      ],
      exampleEnv(),
    );
    assert.deepEqual(results[0]?.features, { has_pet: 1, age_zero_mean: -3.5 });
    const rows = '{"pet":0,"age":40}\n{"pet":1,"age":30}\n';
    const { code, out } = await cli([...asked, "--inputs-file", "-"], exampleEnv(), {
      input: rows,
    });
    assert.equal(code, 0);
    assert.match(out, /^row 1\n.*\nhas_pet +0 .*\nage_zero_mean +3\.5 .*\n\nrow 2\n/);
  });

  it("shows values beyond their TTL and violated expectations", async () => {
    const badges = await cli(["get", "--service", "presence", "--entity", "id=11"], exampleEnv());
    assert.match(badges.out, /long_stay +null +OUTSIDE_MAX_AGE +2026-03-02T21:30:00Z\n/);
    const aged = ["get", "--features", "age_zero_mean", "--input", "age=900"];
    const { code, out } = await cli(aged, exampleEnv());
    assert.equal(code, 0);
    assert.match(out, /! age_zero_mean violates between\(-120, 120\)/);
  });

  it("names the views of which an interval is missing", async () => {
    const prefix = randomPrefix();
    const rows = [{ key: ["11"], values: { door: 2 } }];
    const day = { prefix, start: "2026-03-02", end: "2026-03-03", rows };
    await fillView(example.writing, example.badges, { ...day, published: { covered: false } });
    const argv = ["get", "--features", "badges.door", "--entity", "id=11"];
    const { out } = await cli(argv, envOf(prefix));
    assert.match(out, /\n\n! an interval of badges is missing: what is served lacks its rows\n$/);
    const { as_of, uncovered } = await cliJson<FeatureAnswer>(argv, envOf(prefix));
    assert.deepEqual([as_of, uncovered], [{ badges: "2026-03-03T00:00:00.000Z" }, ["badges"]]);
  });

  it("paints statuses on a terminal", async () => {
    const argv = ["get", "--features", "has_pet", "--entity", "id=11"];
    const { out } = await cli(argv, exampleEnv(), { colours: true });
    assert.match(out, /\u001b\[32mPRESENT\u001b\[39m/);
  });

  it("answers the same by way of the HTTP service, and passes its errors on", async () => {
    const {
      catalogue,
      serving: redis,
      redis: { prefix },
    } = example;
    const lookup = createLookup({ catalogue, redis, prefix });
    const app = buildApp({ catalogue, lookup, log: "silent" });
    const url = await app.listen({ host: "127.0.0.1", port: 0 });
    try {
      const argv = ["get", "--service", "model_x", "--entity", "id=11", "--url", url, "--via"];
      const byHttp = await cliJson<FeatureAnswer>([...argv, "http"]);
      const byStore = await cliJson<FeatureAnswer>(
        ["get", ...argv.slice(1), "store"],
        exampleEnv(),
      );
      assert.deepEqual(withoutAges(byHttp), withoutAges(byStore));
      const { code, err } = await cli([
        "get",
        "--service",
        "model_y",
        "--via",
        "http",
        "--url",
        url,
      ]);
      assert.equal(code, 1);
      assert.match(err, /^UNKNOWN_SERVICE .*Did you mean "model_x"/);
      const own = ["get", "--service", "model_y", "--entity", "id=11"];
      const refusal = async (argv: readonly string[], env?: NodeJS.ProcessEnv) => {
        type Refusal = { readonly error: { readonly code: string; readonly message: string } };
        const { code, message } = (await cliJson<Refusal>([...argv], env)).error;
        return { code, message };
      };
      assert.deepEqual(
        await refusal([...own, "--via", "http", "--url", url]),
        await refusal(own, exampleEnv()),
      );
    } finally {
      await app.close();
      lookup.close();
    }
  });

  it("explains live with the bytes that it read", async () => {
    const argv = ["explain", "--service", "model_x", "--live", "--entity", "id=11"];
    const { out } = await cli(argv, exampleEnv());
    assert.match(out, /^1 row\nfeature .*\n(.*\n)+decodes 5 of 22 columns of absences/);
    assert.match(
      out,
      new RegExp(
        `\n\n\\d+ bytes of stored rows read\nsnapshot of absences: ${example.snapshots.absences}\n$`,
      ),
    );
    const { bytes } = await cliJson<{ bytes: number }>(argv, exampleEnv());
    assert.ok(bytes > 19);
  });
});
