/** `workflow`: rows/s of `materialize` through Temporal, against the activities called directly. */
import type { Progress } from "../cli/progress.ts";
import { viewNamed } from "../engine/catalogue.ts";
import { type MaterializeResult, queuesOf } from "../workflows/contract.ts";
import { example } from "./catalogues.ts";
import { writeDataSet } from "./data.ts";
import {
  activitiesOf,
  emptyStores,
  type Environment,
  materializeDirectly,
  startWorker,
} from "./own-store.ts";
import { type BenchOptions, measurePairs, secondsOf } from "./pairs.ts";
import { type Line, lineOf } from "./report.ts";

/** Materializes 10 000 000 rows in 16 files at full scale, in both ways. */
export async function* benchWorkflow(
  environment: Environment,
  { pairs, scale }: BenchOptions,
  progress: Progress,
): AsyncGenerator<Line> {
  const { folder } = environment;
  const rows = Math.floor(10_000_000 / scale);
  const files = 16;
  const pattern = await progress.step(`${rows} rows of data set (a) in ${files} files`, () =>
    writeDataSet(folder, { kind: "a", rows, files }),
  );
  const sources = { absences: pattern };
  const activities = activitiesOf(environment, example, sources);
  const { settings, runs, stop } = await startWorker(environment, activities, progress);
  let run = 0;
  const nextEnd = () => new Date(Date.UTC(2026, 0, 1) + run++ * 86_400_000).toISOString();
  const view = viewNamed(example, "absences");
  try {
    const measured = await progress.step("workflow and direct calls", (detail) =>
      measurePairs(pairs, detail, {
        async figure() {
          await emptyStores(environment);
          const end = nextEnd();
          const seconds = await secondsOf(async () => {
            const handle = await runs.client.workflow.start("materialize", {
              args: [
                {
                  view: view.name,
                  start: "1970-01-01T00:00:00.000Z",
                  end,
                  fingerprint: view.fingerprint,
                  definition: view.definition,
                },
              ],
              taskQueue: queuesOf(settings.queue).offline,
              workflowId: `bench/${end}`,
            });
            const { published } = (await handle.result()) as MaterializeResult;
            const written = published?.written ?? 0;
            if (written !== rows) throw new Error(`${written} of ${rows} rows were written`);
          });
          return rows / seconds;
        },
        async limit() {
          await emptyStores(environment);
          const request = { view: view.name, end: nextEnd() };
          const { seconds } = await materializeDirectly(environment, example, sources, request);
          return rows / seconds;
        },
      }),
    );
    yield lineOf(
      {
        bench: "workflow",
        case: `${files} partitions of data set (a), 1 worker`,
        unit: "rows/s",
        target: { min: 0.85 },
        rows,
        config: {
          files,
          workers: 1,
          limit: "the activities called directly, two at a time as in the worker",
        },
      },
      measured,
    );
  } finally {
    await stop();
  }
}
