/** `batch`: scan and compute of features, and pass 1 of a materialization, against polars by hand. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { overlap } from "../filling/pipelined.ts";
import type { Progress } from "../cli/progress.ts";
import { type Catalogue, serviceNamed, viewNamed } from "../engine/catalogue.ts";
import { type AggregateValues, compileBatch, type Frame } from "../engine/compile/batch.ts";
import { heightOf } from "../engine/compile/frame.ts";
import { fingerprintOf } from "../engine/fingerprint.ts";
import { interval } from "../engine/calendar/interval.ts";
import { readChunks } from "../sources/scan.ts";
import { listSourceFiles } from "../sources/files.ts";
import { example } from "./catalogues.ts";
import { writeDataSet } from "./data.ts";
import { activitiesOf, call, type Environment, planRun } from "./own-store.ts";
import { featuresByHand } from "./limits/polars-features.ts";
import { passOneByHand } from "./limits/polars-pass-one.ts";
import { type BenchOptions, measurePairs, secondsOf } from "./pairs.ts";
import { type Line, lineOf } from "./report.ts";

/** Measures 10 000 000 rows at full scale: seconds of each. */
export async function* benchBatch(
  environment: Environment,
  { pairs, scale }: BenchOptions,
  progress: Progress,
): AsyncGenerator<Line> {
  const rows = Math.floor(10_000_000 / scale);
  const pattern = await progress.step(`${rows} rows of data set (a) in one file`, () =>
    writeDataSet(environment.folder, { kind: "a", rows, files: 1 }),
  );
  const age = { mean: 42.5, std: 9.23 };
  const common = { bench: "batch", unit: "s", rows } as const;

  const features = serviceNamed(example, "absenteeism_training");
  const program = compileBatch(features.outputs);
  const values = valuesByName(example, { age_mean: age.mean, age_std_dev: age.std });
  const { source } = viewNamed(example, "absences");
  const all = interval("0001-01-01", "9999-12-31");
  const scanned = await progress.step("scan and compute", (detail) =>
    measurePairs(pairs, detail, {
      async figure() {
        const frames: Frame[] = [];
        const seconds = await secondsOf(async () => {
          const files = await listSourceFiles(source, all, {
            dataDir: environment.folder,
            overrides: { [source.name]: pattern },
          });
          for (const file of files) {
            const chunks = readChunks(source, file, all, { columns: program.columns });
            for await (const frame of overlap(chunks, (chunk) => program.run(chunk, values)))
              frames.push(frame);
          }
        });
        expectRows(
          frames.reduce((sum, frame) => sum + heightOf(frame), 0),
          rows,
        );
        return seconds;
      },
      async limit() {
        let height = 0;
        const seconds = await secondsOf(async () => {
          height = heightOf(await featuresByHand(pattern, age));
        });
        expectRows(height, rows);
        return seconds;
      },
    }),
  );
  yield lineOf(
    {
      ...common,
      case: "scan and compute the example's features",
      target: { max: 1.15 },
      config: { outputs: features.outputs.length, columns_read: program.columns.length, files: 1 },
    },
    scanned,
  );

  let run = 0;
  const passOne = await progress.step("pass 1", (detail) =>
    measurePairs(pairs, detail, {
      async figure() {
        const activities = activitiesOf(environment, example, { absences: pattern });
        const end = new Date(Date.UTC(2026, 0, 1) + run++ * 86_400_000).toISOString();
        const seconds = await secondsOf(async () => {
          const { run, slices } = await planRun(activities, example, { view: "absences", end });
          for (const slice of slices) await call(() => activities.readSlice(run, slice));
          expectRows((await call(() => activities.validateRun(run))).rows, rows);
        });
        rmSync(environment.settings.offlineDir, { recursive: true });
        return seconds;
      },
      async limit() {
        const into = join(environment.folder, "by-hand.parquet");
        let found = { rows: 0, violations: 0 };
        const seconds = await secondsOf(async () => {
          found = await passOneByHand(pattern, into);
        });
        rmSync(into);
        expectRows(found.rows, rows);
        expectRows(found.violations, 0);
        return seconds;
      },
    }),
  );
  yield lineOf(
    {
      ...common,
      case: "pass 1: checks, partial aggregates, offline rows",
      target: { max: 1.25 },
      config: { columns: 21, files: 1, offline_rows: "parquet, zstd, synced" },
    },
    passOne,
  );
}

function expectRows(found: number, expected: number): void {
  if (found !== expected) throw new Error(`${found} where ${expected} was due`);
}

/** Values for aggregates, as a batch program takes them. */
function valuesByName(
  { views }: Catalogue,
  values: Readonly<Record<string, number>>,
): AggregateValues {
  const features = [...views.values()].flatMap((view) => view.features);
  return new Map(
    Object.entries(values).map(([name, value]) => {
      const feature = features.find((each) => each.name === name);
      if (feature === undefined) throw new Error(`no feature is called ${name}`);
      return [fingerprintOf(feature.node), value];
    }),
  );
}
