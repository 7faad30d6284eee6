/** What the CLI says and does where a namespace of Temporal lacks the search attributes of runs. */
import assert from "node:assert/strict";
import { msToTs } from "@temporalio/common/lib/time.js";
import { toEnvironment } from "../../dev/application.ts";
import { searchAttributeKeys } from "../../workflows/search-attributes.ts";
import { cli, cliJson } from "../support/run-cli.ts";
import { type Deployment, startDeployment } from "../support/temporal/deployment.ts";
import { until } from "../support/until.ts";

interface Registered {
  readonly namespace: string;
  readonly registered: readonly string[];
  readonly present: readonly string[];
}

describe("search attributes of a namespace", function () {
  this.timeout(120_000);
  let deployment: Deployment;
  let env: NodeJS.ProcessEnv;
  let namespace: string;
  const names = searchAttributeKeys.map(({ name }) => name);
  const command = "npm run --silent cli -- register-search-attributes";

  before(async () => {
    deployment = await startDeployment();
    namespace = `bare-${deployment.settings.prefix}`;
    const { workflowService } = deployment.runs.client;
    await workflowService.registerNamespace({
      namespace,
      workflowExecutionRetentionPeriod: msToTs("1 day"),
    });
    await until("it is there", () =>
      workflowService.listWorkflowExecutions({ namespace }).then(
        () => true,
        () => false,
      ),
    );
    env = toEnvironment({ ...deployment.settings, temporalNamespace: namespace });
  });
  after(() => deployment.stop());

  it("are named where they are missing, with the command that registers them", async () => {
    for (const argv of [
      ["runs"],
      ["materialize", "absences", "--no-wait"],
      ["backfill", "badges", "--from", "2026-01-01", "--to", "2026-01-02", "--no-wait"],
      ["apply"],
    ]) {
      const { code, err } = await cli(argv, env);
      assert.equal(code, 1, argv.join(" "));
      assert.match(
        err,
        /^(✗.*\n)?CONFIG_INVALID the namespace "bare-.*OnceflowView/,
        argv.join(" "),
      );
      assert.ok(err.trimEnd().endsWith(`Register them once: ${command}`), err);
    }
    const planned = await cli(["plan"], env);
    assert.equal(planned.code, 2, planned.err);
    assert.match(planned.out, /✗ apply would refuse: CONFIG_INVALID the namespace/);
    assert.ok(
      planned.out.endsWith(`Make them: ${command}\n  then: npm run --silent cli -- apply\n`),
      planned.out,
    );
    const { out } = await cli(["status", "badges"], env);
    assert.match(out, /under way: not known, the namespace "bare-/);
  });

  it("are registered once, however often and by however many", async () => {
    const argv = ["register-search-attributes"];
    const all = await Promise.all([1, 2, 3].map(() => cliJson<Registered>(argv, env)));
    for (const each of all) {
      assert.equal(each.namespace, namespace);
      for (const name of [...each.registered, ...each.present]) assert.ok(names.includes(name));
    }
    assert.ok(all.some(({ registered }) => registered.length === names.length));
    assert.deepEqual(await cliJson<Registered>(argv, env), {
      namespace,
      registered: [],
      present: names,
    });
    const { code, out } = await cli(argv, env);
    assert.equal(code, 0);
    assert.match(out, /^nothing to register in namespace bare-.*\n {2}were there +OnceflowView, /);
    assert.match((await cli(["runs"], env)).out, /\nno runs/);
    assert.match((await cli(["plan"], env)).out, /Make them: npm run --silent cli -- apply\n$/);
  });

  it("are refused where one is there with another type", async () => {
    const other = `${namespace}-other`;
    const { workflowService } = deployment.runs.client;
    const { operatorService } = deployment.runs.client.connection;
    await workflowService.registerNamespace({
      namespace: other,
      workflowExecutionRetentionPeriod: msToTs("1 day"),
    });
    const int = 3;
    await until("it is there", () =>
      operatorService
        .addSearchAttributes({ namespace: other, searchAttributes: { OnceflowView: int } })
        .then(
          () => true,
          () => false,
        ),
    );
    const { code, err } = await cli(["register-search-attributes"], {
      ...env,
      TEMPORAL_NAMESPACE: other,
    });
    assert.equal(code, 1);
    assert.match(
      err,
      /CONFIG_INVALID OnceflowView, .* refuses it: OnceflowView is there, and is no/,
    );
  });
});
