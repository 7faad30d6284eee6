import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { tasks as exampleTasks } from "../../activities/tasks/index.ts";
import { viewNamed } from "../../engine/catalogue.ts";
import { idsOf, poolMessages, type PoolState } from "../../workflows/contract.ts";
import {
  buildDependent,
  buildPipeline,
  writeBadgesOf,
} from "../support/temporal/dependent-views.ts";
import { type Deployment, startDeployment } from "../support/temporal/deployment.ts";
import { type WithWorker, workersOf } from "../support/temporal/interval-tools.ts";
import { until } from "../support/until.ts";

const secret = `whsec_${Buffer.from("twenty-four bytes of key").toString("base64")}`;

interface Call {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

describe("What a schedule says of its runs", function () {
  this.timeout(120_000);
  let deployment: Deployment;
  let withWorker: WithWorker;
  let server: Server;
  let calls: Call[];
  /** Status of the next answers; 204 after them. */
  let answers: number[];
  before(async () => {
    deployment = await startDeployment();
    withWorker = workersOf(deployment);
    server = createServer((request, response) => {
      let body = "";
      request.on("data", (bytes) => (body += String(bytes)));
      request.on("end", () => {
        calls.push({ headers: request.headers, body });
        response.writeHead(answers.shift() ?? 204).end();
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  });
  after(async () => {
    server.close();
    await deployment.stop();
  });
  beforeEach(() => {
    calls = [];
    answers = [];
  });
  const webhooks = () => ({
    oncall: { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`, secret },
  });

  it("bounds how often a step is tried, and marks the interval failed with its cause", async () => {
    const catalogue = buildDependent(() => ({ retry: { attempts: 2, initial: "1 s" } }));
    await withWorker(catalogue, async ({ start, settings, states, handleOf }) => {
      const source = join(settings.dataDir, "totals.csv");
      rmSync(source);
      const run = await start("totals", 1);
      await assert.rejects(run.result(), (error: Error) =>
        /totals\.csv does not exist/.test(String((error.cause as Error).cause)),
      );
      const { events } = await handleOf("totals", 1).fetchHistory();
      const begun = (events ?? []).flatMap(
        ({ activityTaskStartedEventAttributes: each }) => each?.attempt ?? [],
      );
      assert.deepEqual(begun.slice(0, 1), [2]);
      assert.deepEqual(await states("totals", [1]), ["failed"]);
    });
  });

  it("calls a webhook, signed, until it is taken, when a run fails", async () => {
    const catalogue = buildDependent(() => ({ onFailure: ["oncall"] }));
    answers = [500];
    await withWorker(
      catalogue,
      async ({ start, settings, handleOf }) => {
        writeFileSync(join(settings.dataDir, "totals.csv"), "id,at,y\na,never,1\n");
        const run = await start("totals", 1);
        await assert.rejects(run.result());
        assert.equal((await handleOf("totals", 1).describe()).status.name, "FAILED");
        assert.equal(calls.length, 2);
        const [first, second] = calls;
        assert.equal(first?.headers["webhook-id"], second?.headers["webhook-id"]);
        const { type, data } = JSON.parse(second?.body ?? "") as {
          type: string;
          data: Record<string, string>;
        };
        assert.equal(type, "interval.failed");
        assert.equal(data["view"], "totals");
        assert.match(data["reason"] ?? "", /never/);
        const signed = ["webhook-id", "webhook-timestamp"].map((name) =>
          String(second?.headers[name]),
        );
        const expected = createHmac("sha256", "twenty-four bytes of key")
          .update([...signed, second?.body].join("."))
          .digest("base64");
        assert.equal(second?.headers["webhook-signature"], `v1,${expected}`);
      },
      {},
      webhooks(),
    );
  });

  it("calls a webhook when a run is late, and lets it go on", async () => {
    await withWorker(
      buildDependent(),
      async ({ start, deliver }) => {
        const late = { at: new Date(Date.now() + 500).toISOString(), webhooks: ["oncall"] };
        answers = [500, 500, 500];
        const run = await start("totals", 1, { late });
        await until("somebody was told", () => calls.length === 1);
        assert.match(calls[0]?.body ?? "", /"type":"interval\.late"/);
        deliver(1);
        await (await start("orders", 1)).result();
        assert.equal((await run.result()).outcome, "committed");
        // Its work was done before the call was taken; it ended after it.
        assert.equal(calls.length, 4);
        // One that is in time tells nobody.
        const soon = { at: new Date(Date.now() + 60_000).toISOString(), webhooks: ["oncall"] };
        deliver(2);
        await (await start("orders", 2, { late: soon })).result();
        assert.equal(calls.length, 4);
      },
      {},
      webhooks(),
    );
  });

  it("goes on where what blocked it is mended while it still says so", async () => {
    const catalogue = buildDependent((orders) => ({ dependsOn: [orders], onFailure: ["oncall"] }));
    answers = [500, 500, 500];
    await withWorker(
      catalogue,
      async ({ start, settings, deliver, states }) => {
        writeFileSync(join(settings.dataDir, "orders", "2026-01-01.csv"), "id,at,x\na,never,1\n");
        await assert.rejects((await start("orders", 1)).result());
        const run = await start("totals", 1);
        await until("somebody was told", () => calls.length === 1);
        assert.match(calls[0]?.body ?? "", /"type":"interval\.blocked"/);
        deliver(1);
        await (await start("orders", 1)).result();
        assert.equal((await run.result()).outcome, "committed");
        assert.deepEqual(await states("totals", [1]), ["done"]);
        assert.equal(calls.length, 4);
      },
      {},
      webhooks(),
    );
  });

  it("counts a deadline from the slot of the newest interval", async () => {
    const catalogue = buildDependent(() => ({ deadline: "1 s", onLate: ["oncall"] }));
    await withWorker(
      catalogue,
      async ({ settings }) => {
        const { fingerprint, definition } = viewNamed(catalogue, "totals");
        const fire = (id: string) =>
          deployment.runs.client.workflow.execute("scheduled", {
            args: [{ view: "totals", fingerprint, definition }],
            taskQueue: settings.queue,
            workflowId: `${settings.queue}/fired/${id}`,
          });
        await fire("once");
        // The day ended at midnight, so this came late; again, nothing is due.
        assert.equal(calls.length, 1);
        const midnight = new Date().setUTCHours(0, 0, 1, 0);
        assert.match(calls[0]?.body ?? "", new RegExp(new Date(midnight).toISOString()));
        await fire("again");
        assert.equal(calls.length, 1);
      },
      {},
      webhooks(),
    );
  });

  for (const [what, name, schedule] of [
    ["a pool", "warehouse", { pool: { name: "warehouse", slots: 1 } }],
    ["its own number of active runs", "view/badges", { maxActiveRuns: 1 }],
  ] as const)
    it(`runs no more intervals at once than the slots of ${what}`, async () => {
      let [now, most] = [0, 0];
      const tasks = {
        ...exampleTasks,
        trainPresence: async () => {
          most = Math.max(most, ++now);
          await pause(300);
          now--;
        },
        publishReport: () => Promise.resolve(),
      };
      await withWorker(
        buildPipeline(schedule),
        async ({ start, settings, states }) => {
          const days = [1, 2, 3, 4];
          for (const date of days) writeBadgesOf(settings.dataDir, date);
          const runs = await Promise.all(days.map((date) => start("badges", date)));
          await Promise.all(runs.map((run) => run.result()));
          // The worker would do two.
          assert.equal(most, 1);
          assert.deepEqual(await states("badges", days), Array(days.length).fill("done"));
          const pool = deployment.runs.client.workflow.getHandle(idsOf(settings.queue).pool(name));
          await until(
            "the pool has ended",
            async () => (await pool.describe()).status.name === "COMPLETED",
          );
          // Each run has given its slot back itself: none was found to have ended.
          const { events } = await pool.fetchHistory();
          const released = (events ?? []).filter(
            ({ workflowExecutionSignaledEventAttributes: signal }) =>
              signal?.signalName === poolMessages.release,
          );
          assert.equal(released.length, days.length);
        },
        tasks,
      );
    });

  it("gives a run that asks twice its one slot, and nobody another", async () => {
    await withWorker(buildDependent(), async ({ settings }) => {
      const { client } = deployment.runs;
      // Runs that hear what the pool says, and never say anything.
      const members = await Promise.all(
        ["one", "two"].map(async (name) => {
          const { workflowId, firstExecutionRunId } = await client.workflow.start("materialize", {
            args: [{ view: "totals", start: "x", end: "y", fingerprint: "", definition: "" }],
            taskQueue: `${settings.queue}-nobody`,
            workflowId: `${settings.queue}/${name}`,
          });
          return { workflowId, runId: firstExecutionRunId };
        }),
      );
      const [one, two] = members;
      const acquire = (member: unknown) =>
        client.workflow.signalWithStart("pool", {
          args: [{ name: "asked", slots: 1 }],
          signal: poolMessages.acquire,
          signalArgs: [member, 1],
          taskQueue: settings.queue,
          workflowId: idsOf(settings.queue).pool("asked"),
        });
      const pool = await acquire(one);
      await acquire(two);
      await acquire(one);
      const state = () => pool.query<PoolState>("state");
      await until("all have been heard", async () => {
        const { events } = await pool.fetchHistory();
        return (
          (events ?? []).filter((e) => e.workflowExecutionSignaledEventAttributes).length === 3
        );
      });
      assert.deepEqual(await state(), { slots: 1, holding: [one], waiting: [two] });
      await Promise.all(
        [...members.map(({ workflowId }) => workflowId), idsOf(settings.queue).pool("asked")].map(
          (id) => client.workflow.getHandle(id).terminate("the test has seen it"),
        ),
      );
    });
  });

  it("takes a slot back from a run that was cancelled, or ended without a word", async () => {
    const catalogue = buildDependent(() => ({ pool: { name: "narrow", slots: 1 } }));
    await withWorker(catalogue, async ({ start, settings, details }) => {
      const source = join(settings.dataDir, "totals.csv");
      renameSync(source, `${source}.late`);
      const [first, second, third] = [
        await start("totals", 1),
        await start("totals", 2),
        await start("totals", 3),
      ];
      const pool = deployment.runs.client.workflow.getHandle(idsOf(settings.queue).pool("narrow"));
      await until("one holds and two wait", async () => {
        const state = await pool.query<PoolState>("state").catch(() => undefined);
        return state?.holding.length === 1 && state.waiting.length === 2;
      });
      await until("it says so", async () => {
        const words = await Promise.all([1, 2, 3].map((date) => details("totals", date)));
        return (
          words.filter((text) => text.includes("Waiting for a slot of pool `narrow`")).length === 2
        );
      });
      const holder = async () => (await pool.query<PoolState>("state")).holding[0]?.workflowId;
      const before = await holder();
      await deployment.runs.client.workflow.getHandle(before ?? "").cancel();
      await until("the next holds it", async () => (await holder()) !== before);
      const next = await holder();
      // It can say nothing any more.
      await deployment.runs.client.workflow.getHandle(next ?? "").terminate("by the test");
      renameSync(`${source}.late`, source);
      const left = [first, second, third].filter(
        ({ workflowId }) => workflowId !== before && workflowId !== next,
      );
      assert.equal(left.length, 1);
      assert.equal((await left[0]?.result())?.outcome, "committed");
    });
  });
});
