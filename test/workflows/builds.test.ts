import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import { applyBuild } from "../../cli/worker-versions.ts";
import type { Settings } from "../../settings.ts";
import { type BackfillInput, type BackfillResult, poolMessages } from "../../workflows/contract.ts";
import {
  buildDependent,
  iso,
  writeOrder,
  writeTotals,
} from "../support/temporal/dependent-views.ts";
import { type Deployment, startDeployment } from "../support/temporal/deployment.ts";
import { startOwnWorker } from "../support/temporal/own-worker.ts";
import { until } from "../support/until.ts";

/** Workflows that cannot go on with what the present ones have begun. */
const changedWorkflows = fileURLToPath(new URL("./fixtures/changed/", import.meta.url));

/** VERSIONING_BEHAVIOR_AUTO_UPGRADE on the wire; 1 is pinned. */
const autoUpgrade = 2;

describe("A rolling deploy", function () {
  this.timeout(120_000);
  let deployment: Deployment;
  before(async () => {
    deployment = await startDeployment();
  });
  after(() => deployment.stop());

  it("leaves what is under way on its build, and sends what begins to the new one", async () => {
    const catalogue = buildDependent();
    const days = 8;
    const { client } = deployment.runs;
    const settings: Settings = {
      ...deployment.withPrefix(),
      build: "old",
    };
    writeTotals(settings.dataDir);
    for (let date = 1; date <= days; date++) writeOrder(settings.dataDir, date, 1);
    const stopOld = await startOwnWorker(settings, catalogue);
    await until("the old build is known", () => isCurrent(settings));
    const backfill = await client.workflow.start("backfill", {
      args: [
        { view: "orders", from: iso(1), to: iso(days + 1), maxParallel: 1, partitionsPerRun: 3 },
      ] satisfies [BackfillInput],
      taskQueue: settings.queue,
      workflowId: `${settings.queue}/rolling`,
    });
    const committed = () => backfill.query<{ committed: number }>("progress");
    await until("it is under way", async () => (await committed()).committed > 0);

    const next = { ...settings, build: "new" };
    const stopNew = await startOwnWorker(
      next,
      catalogue,
      {},
      {
        workflowsPath: changedWorkflows,
      },
    );
    await until("the new build is known", () => isCurrent(next));
    try {
      assert.ok((await committed()).committed < days, "the deploy came too late");
      const result = (await backfill.result()) as BackfillResult;
      assert.deepEqual([result.committed, result.failed], [days, 0]);
      const builds: (string | undefined)[] = [];
      for await (const { workflowId, runId, type } of client.workflow.list())
        if (workflowId.startsWith(settings.queue) && ["backfill", "materialize"].includes(type))
          builds.push(await buildOf(workflowId, runId));
      // The children, and the three executions of the backfill.
      assert.deepEqual(
        builds,
        Array.from({ length: days + 3 }, () => "old"),
      );

      const begun = await client.workflow.start("backfill", {
        args: [{ view: "orders", from: iso(1), to: iso(2) } satisfies BackfillInput],
        taskQueue: settings.queue,
        workflowId: `${settings.queue}/after`,
      });
      await until("it has begun", async () => {
        return (await buildOf(begun.workflowId, begun.firstExecutionRunId)) !== undefined;
      });
      assert.equal(await buildOf(begun.workflowId, begun.firstExecutionRunId), "new");
      await begun.terminate("the test has seen it");
    } finally {
      await Promise.all([stopOld(), stopNew()]);
    }
  });

  it("lets a pool move on, since runs of every build share it", async () => {
    const { client } = deployment.runs;
    const settings: Settings = { ...deployment.withPrefix(), build: "old" };
    const stop = await startOwnWorker(settings, buildDependent());
    await until("the build is known", () => isCurrent(settings));
    const pool = await client.workflow.signalWithStart("pool", {
      args: [{ name: "shared", slots: 1 }],
      signal: poolMessages.acquire,
      signalArgs: [{ workflowId: "nobody", runId: randomUUID() }, 1],
      taskQueue: settings.queue,
      workflowId: `${settings.queue}/pool/shared`,
    });
    const behavior = async () => {
      const { raw } = await pool.describe();
      return raw.workflowExecutionInfo?.versioningInfo?.behavior;
    };
    await until("it has begun", async () => Number((await behavior()) ?? 0) !== 0);
    assert.equal(Number(await behavior()), autoUpgrade);
    // Nobody holds a slot, which it notices.
    await pool.result();
    await stop();
  });

  async function isCurrent(settings: Settings): Promise<boolean> {
    return applyBuild(deployment.runs.client, settings).then(
      () => true,
      () => false,
    );
  }

  async function buildOf(workflowId: string, runId: string): Promise<string | undefined> {
    const { raw } = await deployment.runs.client.workflow.getHandle(workflowId, runId).describe();
    return raw.workflowExecutionInfo?.versioningInfo?.deploymentVersion?.buildId ?? undefined;
  }
});
