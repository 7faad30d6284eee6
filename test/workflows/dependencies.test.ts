import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Task } from "../../activities/tasks/task.ts";
import { tasks as exampleTasks } from "../../activities/tasks/index.ts";
import {
  buildDependent,
  buildPipeline,
  day,
  writeBadgesOf,
} from "../support/temporal/dependent-views.ts";
import { type Deployment, startDeployment } from "../support/temporal/deployment.ts";
import { type WithWorker, workersOf } from "../support/temporal/interval-tools.ts";
import { until } from "../support/until.ts";

describe("A view that depends on another", function () {
  this.timeout(120_000);
  let deployment: Deployment;
  let withWorker: WithWorker;
  before(async () => {
    deployment = await startDeployment();
    withWorker = workersOf(deployment);
  });
  after(() => deployment.stop());

  it("waits, and runs as soon as what comes first is committed, without polling", async () => {
    await withWorker(
      buildDependent(),
      async ({ start: run, deliver, details, states, handleOf }) => {
        const after = await run("totals", 1);
        await until("it says what it waits for", async () =>
          (await details("totals", 1)).includes("orders [2026-01-01T"),
        );
        deliver(1);
        const first = await run("orders", 1);
        await first.result();
        const { outcome, rows } = await after.result();
        assert.deepEqual([outcome, rows], ["committed", 1]);
        assert.deepEqual(await states("totals", [1]), ["done"]);
        // Asked twice: once before the commit, and once after it.
        const { events } = await handleOf("totals", 1).fetchHistory();
        const planned = (events ?? []).filter(
          ({ activityTaskScheduledEventAttributes: scheduled }) =>
            scheduled?.activityType?.name === "planRun",
        );
        assert.equal(planned.length, 2);
      },
    );
  });

  it("is blocked by one that failed, never runs on it, and runs once that is mended", async () => {
    await withWorker(
      buildDependent(),
      async ({ start: run, deliver, settings, states, handleOf }) => {
        writeFileSync(join(settings.dataDir, "orders", `${day(1)}.csv`), "id,at,x\na,never,1\n");
        const after = await run("totals", 1);
        const first = await run("orders", 1);
        await assert.rejects(first.result());
        await assert.rejects(after.result(), (error: Error) =>
          /orders \[2026-01-01T.* comes first and failed: /.test(
            String((error.cause as Error).cause),
          ),
        );
        assert.deepEqual(await states("totals", [1]), ["blocked"]);
        deliver(1);
        await (await run("orders", 1)).result();
        await until(
          "it has run by itself",
          async () => (await handleOf("totals", 1).describe()).status.name === "COMPLETED",
        );
        assert.deepEqual(await states("totals", [1]), ["done"]);
      },
    );
  });

  it("is stale once what comes first is computed again, and says so", async () => {
    await withWorker(buildDependent(), async ({ start: run, deliver, states, details }) => {
      for (const date of [1, 2]) {
        deliver(date);
        await (await run("orders", date)).result();
        await (await run("totals", date)).result();
      }
      deliver(1, 2);
      await (await run("orders", 1, { reprocess: true })).result();
      assert.deepEqual(await states("totals", [1, 2]), ["stale", "done"]);
      assert.match(await details("orders", 1), /1 of view totals rest.*--reprocess stale/);
      await (await run("totals", 1, { reprocess: true })).result();
      assert.deepEqual(await states("totals", [1, 2]), ["done", "done"]);
    });
  });

  it("waits for earlier intervals as well, where it asks for them", async () => {
    const catalogue = buildDependent((orders) => ({ dependsOn: [{ view: orders, earlier: 2 }] }));
    await withWorker(catalogue, async ({ start: run, deliver, details }) => {
      for (const date of [2, 3, 4]) deliver(date);
      const after = await run("totals", 4);
      await (await run("orders", 4)).result();
      await (await run("orders", 2)).result();
      await until("it waits for the one in between alone", async () =>
        /comes first:\n\n- orders \[2026-01-03T\S+ \S+\)$/.test(await details("totals", 4)),
      );
      await (await run("orders", 3)).result();
      assert.equal((await after.result()).outcome, "committed");
    });
  });

  it("waits for a file that is complete, and for a task that says ready", async () => {
    let ready = false;
    const catalogue = buildDependent(() => ({
      waitFor: [
        { file: "marks/{date}", every: "1 s" },
        { task: "isReady", every: "1 s" },
      ],
      pool: { name: "narrow", slots: 1 },
    }));
    // Once it was ready, nobody asks again.
    const tasks = {
      isReady: () => {
        const answer = ready;
        ready = false;
        return Promise.resolve(answer);
      },
    };
    await withWorker(
      catalogue,
      async ({ start: run, settings, details, handleOf }) => {
        const waiting = await run("totals", 1);
        await until("it says what it waits for", async () =>
          /marks\/\{date\}`\n- `isReady`/.test(await details("totals", 1)),
        );
        const mark = join(settings.dataDir, "marks", day(1));
        mkdirSync(dirname(mark), { recursive: true });
        writeFileSync(mark, "");
        const lastFailure = async () => {
          const { raw } = await handleOf("totals", 1).describe();
          return (raw.pendingActivities ?? []).map((each) => each.lastFailure?.message ?? "");
        };
        await until("a young file is not taken", async () =>
          (await lastFailure()).some((text) => text.includes("still being written")),
        );
        const longAgo = new Date(Date.now() - 60_000);
        await utimes(mark, longAgo, longAgo);
        await until("the task alone is left", async () => (await lastFailure()).length === 1);
        ready = true;
        assert.equal((await waiting.result()).outcome, "committed");
      },
      tasks,
    );
  });

  it("fails where a sensor is not ready in time", async () => {
    const catalogue = buildDependent(() => ({
      waitFor: [{ file: "marks/{date}", every: "1 s", timeout: "2 s" }],
    }));
    await withWorker(catalogue, async ({ start: run, states }) => {
      const waiting = await run("totals", 1);
      await assert.rejects(waiting.result(), (error: Error) =>
        /marks\/\{date\} was not ready within 2 s/.test(String(error.cause)),
      );
      assert.deepEqual(await states("totals", [1]), ["failed"]);
    });
  });

  it("may be a pipeline: five tasks around the materialization, in one place of the grid", async () => {
    const catalogue = buildPipeline();
    let isDown = true;
    const tasks = {
      ...exampleTasks,
      publishReport: (...[interval, folders]: Parameters<Task>) => {
        if (isDown) throw Object.assign(new Error("the printer is down"), { name: "Down" });
        return exampleTasks.publishReport(interval, folders);
      },
    };
    await withWorker(
      catalogue,
      async ({ start: run, settings, states, handleOf }) => {
        const landing = join(settings.dataDir, "landing");
        const missing = await run("badges", 1);
        await assert.rejects(missing.result(), (error: Error) =>
          /was not delivered/.test(String(error.cause)),
        );
        assert.deepEqual(await states("badges", [1]), ["failed"]);

        writeBadgesOf(settings.dataDir, 1);
        const delivered = await run("badges", 1);
        await until("the last step is tried again", async () => {
          const { raw } = await handleOf("badges", 1).describe();
          return (raw.pendingActivities?.[0]?.lastFailure?.message ?? "").includes("printer");
        });
        isDown = false;
        assert.equal((await delivered.result()).rows, 2);
        assert.deepEqual(await states("badges", [1]), ["done"]);
        const report = readFileSync(
          join(settings.offlineDir, "reports", `presence-${day(1)}.md`),
          "utf8",
        );
        assert.match(report, /2 events, 20\.0 minutes/);
        assert.ok(existsSync(join(landing, "done", `badges-${day(1)}.parquet`)));
      },
      tasks,
    );
  });

  it("ends within two heartbeats of its cancellation, also in a task that does not heed it", async () => {
    const tasks = { ...exampleTasks, extractBadges: () => pause(60_000) };
    await withWorker(
      buildPipeline(),
      async ({ start: run, settings, states, handleOf }) => {
        writeBadgesOf(settings.dataDir, 1);
        const begun = await run("badges", 1);
        await until("the task is under way", async () => {
          const { raw } = await handleOf("badges", 1).describe();
          const [activity] = raw.pendingActivities ?? [];
          // Its first heartbeat is out, so the cancellation waits for the next.
          return (
            activity?.activityType?.name === "extractBadges" && activity.lastHeartbeatTime != null
          );
        });
        await begun.cancel();
        let isOver = false;
        const ended = assert.rejects(begun.result()).then(() => (isOver = true));
        const heartbeats = new Set<string>();
        await until("it has ended", async () => {
          const { raw } = await handleOf("badges", 1).describe();
          const time = raw.pendingActivities?.[0]?.lastHeartbeatTime;
          if (time != null) heartbeats.add(JSON.stringify(time));
          return isOver;
        });
        await ended;
        // The one before the cancellation is the first.
        assert.ok(heartbeats.size <= 1 + 2, `it ended after ${heartbeats.size - 1} heartbeats`);
        assert.deepEqual(await states("badges", [1]), ["cancelled"]);
        assert.deepEqual(await states("badges", [2]), ["missing"]);
      },
      tasks,
    );
  });
});
