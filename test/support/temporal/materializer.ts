/** The activities of `materialize`, called in the order of the commit protocol without Temporal. */
import { MockActivityEnvironment } from "@temporalio/testing";
import { DefaultLogger } from "@temporalio/worker";
import { createOfflineActivities } from "../../../activities/offline.ts";
import { type Catalogue, viewNamed } from "../../../engine/catalogue.ts";
import type { RedisConnection } from "../../../store/redis/types.ts";
import {
  type PublishInput,
  type RowsRead,
  type RunRef,
  slicesOf,
} from "../../../workflows/contract.ts";

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

  /** Writes down that a run has committed. */
  const record = (run: RunRef, counts: RowsRead = { rows: 0, warnings: [] }) =>
    call(activities.recordCommit, run, counts);

  /** Makes what is committed of a view what is served. */
  function publish(view: string, how: Partial<PublishInput> = {}) {
    const { fingerprint, definition } = viewNamed(catalogue, view);
    return call(activities.publishView, { view, fingerprint, definition, ...how });
  }

  /** A run up to its end, without the publish. */
  async function commit(
    view: string,
    start: string,
    end: string,
  ): Promise<{ readonly run: RunRef; readonly read: RowsRead }> {
    const { run, slices } = await plan(view, start, end);
    const warnings: string[] = [];
    for (const slice of slices)
      warnings.push(...(await call(activities.readSlice, run, slice)).warnings);
    const { rows } = await call(activities.validateRun, run);
    await call(activities.commitRun, run);
    await record(run, { rows, warnings });
    return { run, read: { rows, warnings } };
  }

  return {
    activities,
    call,
    plan,
    record,
    publish,
    commit,
    /** The whole of a run, as the workflow does it. */
    async materialize(view: string, start: string, end: string): Promise<RowsRead> {
      const { read } = await commit(view, start, end);
      await publish(view);
      return read;
    },
  };
}
