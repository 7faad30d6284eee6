/**
 * `node --import tsx test/support/temporal/record-histories.ts`: runs every workflow to every outcome on a
 * real deployment, and writes the histories that test/workflows/replay.test.ts replays. Record anew
 * when a workflow is meant to change; histories of a released version stay replayable by `patched`.
 */
import assert from "node:assert/strict";
import { realpathSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { format, resolveConfig } from "prettier";
import { releaseAll } from "../../../dev/owned.ts";
import { writeAbsences, writeBadges } from "../../../dev/example-data.ts";
import type { OwnedProcess } from "../../../dev/processes.ts";
import { type Catalogue, loadCatalogue, viewNamed } from "../../../engine/catalogue.ts";
import { termsOf } from "../../../filling/run-terms.ts";
import {
  type BackfillInput,
  idsOf,
  type MaterializeInput,
  type PublishInput,
  queuesOf,
} from "../../../workflows/contract.ts";
import {
  fileOf,
  historiesFolder,
  type OutcomeName,
  outcomeNames,
  problemsOf,
} from "../../workflows/fixtures/outcomes.ts";
import { connectRuns } from "../../../cli/temporal.ts";
import { tasks } from "../../../activities/tasks/index.ts";
import type { Settings } from "../../../settings.ts";
import {
  buildDependent,
  buildPipeline,
  writeBadgesOf,
  writeOrder,
  writeTotals,
} from "./dependent-views.ts";
import { type BeforeActivity, holdPublishes, startOwnWorker } from "./own-worker.ts";
import { changing, without } from "../files/changed-files.ts";
import { cleaned } from "../../workflows/fixtures/clean-history.ts";
import { historyToJson } from "../../workflows/fixtures/history-json.ts";
import { type Deployment, startDeployment, stopTestTemporal } from "./deployment.ts";
import { until } from "../until.ts";

const msPerDay = 86_400_000;
const firstDayMs = Date.parse("2026-01-01T00:00:00Z");
const days = 20;
const day = (count: number) => new Date(firstDayMs + count * msPerDay).toISOString();

/** One execution, to be recorded once it has ended. */
interface Execution {
  readonly workflowId: string;
  readonly runId: string;
}

type Recordings = Readonly<Record<OutcomeName, () => Promise<Execution>>>;

/** How each outcome is brought about. Each takes days of its own, but for those it builds on. */
function recordingsOf(
  deployment: Deployment,
  named: (view: string) => { fingerprint: string; definition: string },
  killWorker: () => Promise<void>,
  hookUrl: string,
): Recordings {
  const { runs, settings } = deployment;
  const { client } = runs;
  const ids = idsOf(settings.queue);
  const absences = join(settings.dataDir, "absences.csv");
  const badgesOf = (count: number) =>
    join(settings.dataDir, "badges", `date=${day(count).slice(0, 10)}.parquet`);

  const ended = (execution: Execution): Promise<unknown> =>
    client.workflow
      .getHandle(execution.workflowId, execution.runId)
      .result()
      .catch(() => undefined);
  const materialize = (view: string, start: string, end: string) =>
    runs.startMaterialize({ view, start, end, ...named(view) });
  const publish = (view: string, how: Partial<PublishInput> = {}) =>
    runs.startPublish({ view, ...named(view), ...how });
  const refresh = (count: number) =>
    materialize("absences", "1970-01-01T00:00:00.000Z", day(count));
  const detailsOf = async ({ workflowId }: Execution): Promise<string> => {
    const metadata = await client.workflow
      .getHandle(workflowId)
      .query<{ currentDetails?: string }>("__temporal_workflow_metadata")
      .catch(() => undefined);
    return metadata?.currentDetails ?? "";
  };
  /** Works with a deployment and a worker of other definitions. */
  async function others<T>(
    catalogue: Catalogue,
    work: (at: {
      settings: Settings;
      start: (view: string, date: number, more?: Partial<MaterializeInput>) => Promise<Execution>;
    }) => Promise<T>,
    before?: BeforeActivity,
  ): Promise<T> {
    const prefixed = deployment.withPrefix();
    const own = {
      ...prefixed,
      dataDir: join(prefixed.offlineDir, "data"),
      webhooks: { oncall: { url: hookUrl, secret: "whsec_MDEyMzQ1Njc4OWFiY2RlZg==" } },
    };
    writeTotals(own.dataDir);
    const stop = await startOwnWorker(own, catalogue, tasks, {}, before);
    const ownRuns = await connectRuns(own);
    try {
      return await work({
        settings: own,
        start: (name, date, more = {}) => {
          const view = viewNamed(catalogue, name);
          const { fingerprint, definition, schedule } = view;
          const [start, end] = [day(date - 1), day(date)];
          const { workflow, ...how } = termsOf(schedule);
          const input = { view: name, start, end, fingerprint, definition, ...how, ...more };
          return ownRuns.startMaterialize(input, workflow);
        },
      });
    } finally {
      await ownRuns.close();
      await stop();
    }
  }
  const done = async <T extends Execution>(starting: Promise<T>): Promise<T> => {
    const execution = await starting;
    await ended(execution);
    return execution;
  };
  const firstFailure = ({ workflowId }: Execution) =>
    until("the first attempt has failed", async () => {
      const { raw } = await client.workflow.getHandle(workflowId).describe();
      return raw.pendingActivities?.[0]?.lastFailure != null;
    });
  /** Waits until an activity has begun. */
  const underWay = ({ workflowId }: Execution, name: string) =>
    until(`${name} is under way`, async () => {
      const { raw } = await client.workflow.getHandle(workflowId).describe();
      return (raw.pendingActivities ?? []).some(
        ({ activityType, state }) => activityType?.name === name && Number(state) === 2,
      );
    });
  const tooOld = (bytes: Buffer) => {
    const lines = bytes.toString().split("\n");
    const cells = lines[100]?.split(";") ?? [];
    cells[8] = "90";
    lines[100] = cells.join(";");
    return lines.join("\n");
  };

  /** Fires the slot at which a day is complete, and waits for its start. */
  async function fire(count: number): Promise<Execution> {
    const scheduleId = `${ids.schedule("badges")}-${count}-${Date.now()}`;
    const workflowId = `${ids.scheduled("badges")}/${count}`;
    const schedule = await client.schedule.create({
      scheduleId,
      spec: { intervals: [{ every: "1 day", offset: "2 hours" }] },
      policies: { overlap: "ALLOW_ALL", catchupWindow: "1 minute" },
      action: {
        type: "startWorkflow",
        workflowType: "scheduled",
        workflowId,
        taskQueue: queuesOf(settings.queue).offline,
        args: [{ view: "badges", ...named("badges") }],
      },
      state: { paused: true },
    });
    try {
      const midnightMs = firstDayMs + (count + 1) * msPerDay;
      await schedule.backfill({
        start: new Date(midnightMs),
        end: new Date(midnightMs + 3 * 3_600_000),
        overlap: "ALLOW_ALL",
      });
      let found: Execution | undefined;
      await until("the slot has fired", async () => {
        const { info } = await schedule.describe();
        const action = info.recentActions.at(-1)?.action;
        if (action !== undefined)
          found = {
            workflowId: action.workflow.workflowId,
            runId: action.workflow.firstExecutionRunId,
          };
        return found !== undefined;
      });
      assert.ok(found);
      return found;
    } finally {
      await schedule.delete();
    }
  }
  const backfill = (from: number, to: number, options: Partial<BackfillInput> = {}) =>
    runs.startBackfill({
      view: "badges",
      from: day(from),
      to: day(to),
      maxParallel: 2,
      ...options,
    });
  const last = async ({ workflowId }: Execution): Promise<Execution> => {
    const { runId } = await client.workflow.getHandle(workflowId).describe();
    return { workflowId, runId };
  };
  let chain: Execution | undefined;
  let handedOut: Execution | undefined;

  return {
    "materialize.committed": () => done(refresh(0)),
    "materialize.covered": () => done(refresh(0)),
    "materialize.joined": () => {
      const held = holdPublishes("totals");
      return others(
        buildDependent(() => ({})),
        async ({ start }) => {
          const first = await start("totals", 1);
          await until("its publish is under way", () => held.begun === 1);
          const run = await start("totals", 2);
          await until("the second asks for it", async () => {
            const { raw } = await client.workflow.getHandle(run.workflowId).describe();
            return (raw.pendingActivities ?? []).some(
              ({ activityType, lastFailure }) =>
                activityType?.name === "joinPublish" && lastFailure != null,
            );
          });
          held.letGo();
          await ended(first);
          await ended(run);
          return run;
        },
        held.before,
      );
    },
    "materialize.failed": () => changing(absences, tooOld, () => done(refresh(1))),
    "materialize.retried": async () => {
      const run = await without(absences, async () => {
        const begun = await refresh(2);
        await firstFailure(begun);
        return begun;
      });
      await ended(run);
      return run;
    },
    "materialize.killed": async () => {
      const run = await materialize("badges", day(0), day(1));
      await underWay(run, "readSlice");
      await killWorker();
      await ended(run);
      return run;
    },
    "materialize.cancelled": () =>
      without(absences, async () => {
        const run = await refresh(3);
        await firstFailure(run);
        await run.cancel();
        await ended(run);
        return run;
      }),
    "materialize.waited": () =>
      others(buildDependent(), async ({ settings: own, start }) => {
        const run = await start("totals", 1);
        await until("it waits", async () => (await detailsOf(run)).includes("comes first"));
        writeOrder(own.dataDir, 1);
        await ended(await start("orders", 1));
        await ended(run);
        return run;
      }),
    "materialize.blocked": () =>
      others(buildDependent(), async ({ settings: own, start }) => {
        writeFileSync(join(own.dataDir, "orders", "2026-01-01.csv"), "id,at,x\na,never,1\n");
        await ended(await start("orders", 1));
        return done(start("totals", 1));
      }),
    "materialize.sensed": () =>
      others(
        buildDependent(() => ({ waitFor: [{ file: "mark", every: "1 s" }] })),
        async ({ settings: own, start }) => {
          const run = await start("totals", 1);
          await firstFailure(run);
          const mark = join(own.dataDir, "mark");
          writeFileSync(mark, "");
          utimesSync(mark, 0, 0);
          await ended(run);
          return run;
        },
      ),
    "materialize.not-ready": () =>
      others(
        buildDependent(() => ({ waitFor: [{ file: "mark", every: "1 s", timeout: "2 s" }] })),
        ({ start }) => done(start("totals", 1)),
      ),
    "materialize.late": () =>
      others(buildDependent(), async ({ settings: own, start }) => {
        const late = { at: new Date(Date.now() + 500).toISOString(), webhooks: ["oncall"] };
        const run = await start("totals", 1, { late });
        await firstFailure(run);
        writeOrder(own.dataDir, 1);
        await ended(await start("orders", 1));
        await ended(run);
        return run;
      }),
    "materialize.failed-and-told": () =>
      others(
        buildDependent(() => ({ onFailure: ["oncall"] })),
        ({ settings: own, start }) => {
          writeFileSync(join(own.dataDir, "totals.csv"), "id,at,y\na,never,1\n");
          return done(start("totals", 1));
        },
      ),
    "materialize.pooled": () =>
      others(
        buildDependent(() => ({ pool: { name: "narrow", slots: 1 } })),
        async ({ settings: own, start }) => {
          const [, run] = [await start("totals", 1), await start("totals", 2)];
          await ended(run);
          handedOut = await last({ workflowId: idsOf(own.queue).pool("narrow"), runId: "" });
          await ended(handedOut);
          return run;
        },
      ),
    "publish.published": () => done(publish("absences", { whole: true })),
    "publish.frozen": async () => {
      await done(publish("absences", { freeze: "wrong ages" }));
      const run = await done(publish("absences"));
      await done(publish("absences", { resume: true }));
      return run;
    },
    "publish.failed": () => done(publish("absences", { backTo: 99 })),
    "publish.killed": async () => {
      const run = await publish("badges", { whole: true });
      await underWay(run, "publishView");
      await killWorker();
      await ended(run);
      return run;
    },
    "pool.done": () => {
      assert.ok(handedOut, "the run that was in it is recorded first");
      return Promise.resolve(handedOut);
    },
    "presenceDaily.done": () =>
      others(buildPipeline(), ({ settings: own, start }) => {
        writeBadgesOf(own.dataDir, 1);
        return done(start("badges", 1));
      }),
    "presenceDaily.failed": () => others(buildPipeline(), ({ start }) => done(start("badges", 1))),
    "trainingSet.done": () => done(runs.startTrainingSet({ service: "absenteeism_training" })),
    "trainingSet.failed": () => done(runs.startTrainingSet({ service: "absenteeism_trainin" })),
    "scheduled.done": () => done(fire(1)),
    "scheduled.nothing-due": () => done(fire(1)),
    "scheduled.failed": () =>
      changing(
        badgesOf(2),
        () => "no parquet",
        () => done(fire(2)),
      ),
    "scheduled.joined": async () => {
      const fired = await without(badgesOf(3), async () => {
        await firstFailure(await materialize("badges", day(3), day(4)));
        const firing = await fire(3);
        // It waits for the run that someone else has started.
        await firstFailure(firing);
        return firing;
      });
      await ended(fired);
      return fired;
    },
    "backfill.done": () => done(backfill(4, 7)),
    "backfill.failed-interval": () =>
      changing(
        badgesOf(8),
        () => "no parquet",
        () => done(backfill(7, 10)),
      ),
    "backfill.cancelled": async () => {
      // Nobody has written these days, so their runs wait.
      const run = await backfill(days, days + 3);
      await until("two are under way", async () => (await run.progress()).running.length === 2);
      await run.cancel();
      await ended(run);
      return run;
    },
    "backfill.steered": async () => {
      const run = await without(badgesOf(10), async () => {
        const begun = await backfill(10, 13, { maxParallel: 1 });
        await until("one is under way", async () => (await begun.progress()).running.length === 1);
        await begun.pause();
        await begun.setMaxParallel(3);
        await until("it is paused", async () => (await begun.progress()).paused);
        await begun.resume();
        await until("two are committed", async () => (await begun.progress()).committed === 2);
        return begun;
      });
      await ended(run);
      return run;
    },
    "backfill.continued-as-new": async () => {
      // The first day is late, so the first execution hands it on to the second.
      const run = await without(badgesOf(13), async () => {
        const begun = await backfill(13, 17, { partitionsPerRun: 3 });
        await until("it has continued", async () => (await last(begun)).runId !== begun.runId);
        const next = await last(begun);
        await until("it joins what is under way", async () => {
          const { raw } = await client.workflow.getHandle(next.workflowId, next.runId).describe();
          return (raw.pendingActivities ?? []).some(
            ({ activityType }) => activityType?.name === "joinRun",
          );
        });
        return begun;
      });
      await client.workflow.getHandle(run.workflowId).result();
      chain = await last(run);
      return run;
    },
    "backfill.carried": () => {
      assert.ok(chain, "the execution before it is recorded first");
      return Promise.resolve(chain);
    },
  };
}

async function main(): Promise<void> {
  const deployment = await startDeployment();
  const { settings, runs } = deployment;
  let asked = 0;
  // The first call is refused, so that a run is seen to wait for it.
  const hook = createServer((_, response) => response.writeHead(asked++ === 0 ? 500 : 204).end());
  hook.listen(0, "127.0.0.1");
  await once(hook, "listening");
  const hookUrl = `http://127.0.0.1:${(hook.address() as AddressInfo).port}/`;
  const folder = dirname(settings.dataDir);
  try {
    writeAbsences(settings.dataDir, 120);
    // The first day is large: its worker is killed while it reads or publishes it.
    writeBadges(settings.dataDir, firstDayMs, 1, 30_000);
    writeBadges(settings.dataDir, firstDayMs + msPerDay, days - 1, 20);
    const catalogue = await loadCatalogue(() => import("../../../features/index.ts"));
    const named = (view: string) => {
      const { fingerprint, definition } = viewNamed(catalogue, view);
      return { fingerprint, definition };
    };
    let worker: OwnedProcess = await deployment.startWorker();
    const recordings = recordingsOf(
      deployment,
      named,
      async () => {
        process.kill(-worker.pid, "SIGKILL");
        await worker.exited;
        worker = await deployment.startWorker();
      },
      hookUrl,
    );
    const replaced = new Map([
      // A temporary folder may be a link.
      [realpathSync(folder), "/data"],
      [folder, "/data"],
      [settings.queue, "onceflow"],
    ]);
    const written = new Map<OutcomeName, string>();
    for (const name of outcomeNames) {
      const { workflowId, runId } = await recordings[name]();
      const history = await runs.client.workflow.getHandle(workflowId, runId).fetchHistory();
      // A deployment of its own has a queue, and a folder, of its own.
      const queue = workflowId.split("/")[0] ?? "";
      const own = new Map([[`${folder}/${queue}`, "/data"], [queue, "onceflow"], ...replaced]);
      const recorded = cleaned(historyToJson(history), own);
      assert.deepEqual(problemsOf(name, recorded), [], name);
      const path = fileOf(name);
      const options = { ...(await resolveConfig(path)), filepath: path };
      const text = await format(JSON.stringify(recorded), options);
      written.set(name, text);
      console.log(`${name}: ${recorded.events.length} events, ${text.length} characters`);
    }
    // Only once all are there: histories of two versions would say nothing.
    rmSync(historiesFolder, { recursive: true, force: true });
    for (const [name, text] of written) {
      await mkdir(dirname(fileOf(name)), { recursive: true });
      writeFileSync(fileOf(name), text);
    }
  } finally {
    hook.close();
    await deployment.stop();
    await stopTestTemporal();
    await releaseAll();
  }
}

await main();
