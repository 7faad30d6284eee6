/** The activities of `materialize`, called in the order of the commit protocol without Temporal. */
import { MockActivityEnvironment } from "@temporalio/testing";
import { DefaultLogger } from "@temporalio/worker";
import { createOfflineActivities } from "../../../activities/offline.ts";
import { type Catalogue, viewNamed } from "../../../engine/catalogue.ts";
import type { RedisConnection } from "../../../store/redis/types.ts";
import { type RowsRead, type RunRef, slicesOf } from "../../../workflows/contract.ts";

/** Definitions, and where rows come from and go to. */
export interface MaterializerOptions {
  readonly catalogue: Catalogue;
  readonly redis: RedisConnection;
  readonly prefix: string;
  readonly dataDir: string;
  readonly offlineDir: string;
}

let runs = 0;

/** A worker's activities; two over one store are two workers. */
export function createMaterializer(options: MaterializerOptions) {
  const { catalogue, redis, ...own } = options;
  const settings = { ...own, sources: {}, webhooks: {} };
  const activities = createOfflineActivities({ catalogue, redis, settings });
  // Attempts that fail on purpose would fill the report.
  const environment = new MockActivityEnvironment({}, { logger: new DefaultLogger("ERROR") });

  /** Calls one as an attempt of its own. */
  const call = <A extends unknown[], R>(
    activity: (...args: A) => Promise<R>,
    ...args: A
  ): Promise<R> => environment.run<A, R, typeof activity>(activity, ...args);

  /** Begins a run of an interval, committed or not. */
  async function plan(view: string, start: string, end: string) {
    const { fingerprint, definition } = viewNamed(catalogue, view);
    const request = { view, start, end, fingerprint, definition, runId: `run-${runs++}` };
    const planned = await call(activities.planRun, { ...request, reprocess: true, sensed: false });
    if (planned.due === "waiting") throw new Error("nothing comes first");
    if (planned.due === "nothing") throw new Error("it is to be computed again");
    const run: RunRef = { ...request, generation: planned.generation };
    return { run, slices: slicesOf(planned.files) };
  }

  /** Writes what a committed run leaves behind. */
  const publish = (run: RunRef, counts: RowsRead = { rows: 0, warnings: [] }) =>
    call(activities.publishRun, run, true, { ...counts, written: 0, superseded: 0 });

  return {
    activities,
    call,
    plan,
    publish,
    /** The whole of a run, as the workflow does it. */
    async materialize(view: string, start: string, end: string): Promise<RowsRead> {
      const { run, slices } = await plan(view, start, end);
      const warnings: string[] = [];
      for (const slice of slices)
        warnings.push(...(await call(activities.readSlice, run, slice)).warnings);
      const { rows } = await call(activities.validateRun, run);
      const store = await call(activities.openStore, run, rows);
      for (const slice of slices) await call(activities.writeSlice, run, slice, store);
      await call(activities.commitRun, run, store);
      await publish(run, { rows, warnings });
      return { rows, warnings };
    },
  };
}
