/** Runs of single intervals, with definitions of the test's own. */
import { join } from "node:path";
import type { Task } from "../../../activities/tasks/task.ts";
import { termsOf } from "../../../filling/run-terms.ts";
import { pointerRequest } from "../../../store/ledger.ts";
import { withRedis } from "../../../cli/context.ts";
import { connectRuns } from "../../../cli/temporal.ts";
import { type Catalogue, viewNamed } from "../../../engine/catalogue.ts";
import type { CellState } from "../../../engine/calendar/grid.ts";
import { interval } from "../../../engine/calendar/interval.ts";
import type { Settings } from "../../../settings.ts";
import { readGrid } from "../../../status/read-grid.ts";
import { createLedger } from "../../../store/ledger.ts";
import type { Published } from "../../../store/published.ts";
import {
  idsOf,
  type MaterializeInput,
  type MaterializeResult,
} from "../../../workflows/contract.ts";
import type { Deployment } from "./deployment.ts";
import { day, iso, writeOrder, writeTotals } from "./dependent-views.ts";
import { type BeforeActivity, startOwnWorker } from "./own-worker.ts";

/** Runs work beside workers of its own, which end with it. */
export type WithWorker = ReturnType<typeof workersOf>;

/** Works in a deployment of one test, with a worker of the catalogue. */
export function workersOf(deployment: Deployment) {
  return async (
    catalogue: Catalogue,
    work: (at: ReturnType<typeof toolsOf>) => Promise<void>,
    tasks: Readonly<Record<string, Task>> = {},
    webhooks: Settings["webhooks"] = {},
    before?: BeforeActivity,
  ): Promise<void> => {
    const settings = deployment.withPrefix();
    const own = { ...settings, webhooks, dataDir: join(settings.offlineDir, "data") };
    writeTotals(own.dataDir);
    const stop = await startOwnWorker(own, catalogue, tasks, {}, before);
    try {
      await work(toolsOf(deployment, own, catalogue));
    } finally {
      await stop();
    }
  };
}

function toolsOf({ runs: { client } }: Deployment, settings: Settings, catalogue: Catalogue) {
  const inputOf = (view: string, date: number): MaterializeInput => {
    const { fingerprint, definition } = viewNamed(catalogue, view);
    return { view, start: iso(date), end: iso(date + 1), fingerprint, definition };
  };
  const handleOf = (view: string, date: number) =>
    client.workflow.getHandle(idsOf(settings.queue).interval(inputOf(view, date)));
  return {
    settings,
    handleOf,
    /** Starts the run of a day of January 2026, on the terms of its schedule. */
    start(view: string, date: number, more: Partial<MaterializeInput> = {}) {
      const { workflow, ...how } = termsOf(viewNamed(catalogue, view).schedule);
      const input = { ...inputOf(view, date), ...how, ...more };
      return client.workflow.start<(input: MaterializeInput) => Promise<MaterializeResult>>(
        workflow,
        {
          args: [input],
          taskQueue: settings.queue,
          workflowId: idsOf(settings.queue).interval(input),
        },
      );
    },
    /** Starts the backfill of some days of January 2026, the last one excluded. */
    async backfill(view: string, from: number, to: number) {
      const runs = await connectRuns(settings);
      const run = await runs.startBackfill({ view, from: iso(from), to: iso(to), maxParallel: 2 });
      return { ...run, result: () => run.result().finally(() => runs.close()) };
    },
    /** What is published of a view; null where nothing is. */
    published: (view: string): Promise<Published | null> =>
      withRedis(settings, "writing", async (redis) => {
        const request = pointerRequest(viewNamed(catalogue, view));
        const [pointers] = await createLedger(redis, settings).readPointers([request]);
        return pointers?.published ?? null;
      }),
    deliver: (date: number, x = 1) => writeOrder(settings.dataDir, date, x),
    /** The words of the run's page. */
    async details(view: string, date: number): Promise<string> {
      const metadata = await handleOf(view, date)
        .query<{ currentDetails?: string }>("__temporal_workflow_metadata")
        .catch(() => undefined);
      return metadata?.currentDetails ?? "";
    },
    states: (view: string, dates: readonly number[]): Promise<CellState[]> =>
      withRedis(settings, "writing", async (redis) => {
        const cells = await readGrid(
          createLedger(redis, settings),
          catalogue,
          viewNamed(catalogue, view),
          dates.map((date) => interval(day(date), day(date + 1))),
        );
        return cells.map(({ state }) => state);
      }),
  };
}
