/** `materialize`: rows/s from a parquet file into Redis, the publish included, against redis-benchmark. */
import type { Progress } from "../cli/progress.ts";
import { viewNamed } from "../engine/catalogue.ts";
import { example } from "./catalogues.ts";
import { writeDataSet } from "./data.ts";
import { emptyStores, type Environment, materializeDirectly, valueBytes } from "./own-store.ts";
import { setsPerSecond } from "./limits/redis-benchmark.ts";
import { type BenchOptions, measurePairs } from "./pairs.ts";
import { type Line, lineOf } from "./report.ts";

/** Materializes 1 000 000 rows at full scale: new ones, newer ones and equal ones. */
export async function* benchMaterialize(
  environment: Environment,
  { pairs, scale }: BenchOptions,
  progress: Progress,
): AsyncGenerator<Line> {
  const { folder, settings } = environment;
  const rows = Math.floor(1_000_000 / scale);
  const [one, other] = await progress.step(`${rows} rows of data set (a), twice`, async () => [
    await writeDataSet(folder, { kind: "a", rows, files: 1, seed: 1 }),
    await writeDataSet(folder, { kind: "a", rows, files: 1, seed: 2 }),
  ]);
  let runs = 0;
  const write = async (pattern: string): Promise<number> => {
    const end = new Date(Date.UTC(2026, 0, 1) + runs++ * 86_400_000).toISOString();
    const { written, seconds } = await materializeDirectly(
      environment,
      example,
      { absences: pattern },
      { view: "absences", end },
    );
    if (written !== rows) throw new Error(`${written} of ${rows} rows were written`);
    return rows / seconds;
  };
  const clear = () => emptyStores(environment);

  await progress.step("warm up", () => write(one));
  const rowBytes = await valueBytes(environment, "absences");
  const cases = [
    { name: "new rows", before: [], pattern: one, min: 0.4 },
    { name: "every row there and older", before: [one], pattern: other, min: 0.3 },
    { name: "every row there, equal but for its version", before: [one], pattern: one, min: 0.3 },
  ];
  for (const { name, before, pattern, min } of cases) {
    const measured = await progress.step(name, (detail) =>
      measurePairs(pairs, detail, {
        async figure() {
          await clear();
          for (const each of before) await write(each);
          return write(pattern);
        },
        async limit() {
          await clear();
          return setsPerSecond(settings.redisUrl, rows, rowBytes);
        },
      }),
    );
    yield lineOf(
      {
        bench: "materialize",
        case: `data set (a), ${name}`,
        unit: "rows/s",
        target: { min },
        rows,
        config: {
          columns: viewNamed(example, "absences").stores.length,
          value_bytes: rowBytes,
          redis: "appendonly, everysec",
          limit: `redis-benchmark -t set -P 50 -r ${rows} -n ${rows} -d ${Math.round(rowBytes)}`,
        },
      },
      measured,
    );
  }
}
