/** `memory`: bytes of Redis a row, peak memory of a worker, and how long its event loop is blocked. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Progress } from "../cli/progress.ts";
import { textOf } from "../store/redis/connection.ts";
import { example, floatsCatalogue } from "./catalogues.ts";
import { writeDataSet } from "./data.ts";
import { versionBytes } from "../store/rows/version.ts";
import { emptyStores, type Environment, materializeDirectly, valueBytes } from "./own-store.ts";
import { writePlainKeys } from "./limits/plain-keys.ts";
import { type BenchOptions, measurePairs } from "./pairs.ts";
import { type Line, lineOf } from "./report.ts";

/** Measures 1 000 000 rows in Redis and 10 000 000 in a worker, at full scale. */
export async function* benchMemory(
  environment: Environment,
  { pairs, scale }: BenchOptions,
  progress: Progress,
): AsyncGenerator<Line> {
  yield* redisMemory(environment, { pairs, scale }, progress);
  yield* workerMemory(environment, { pairs, scale }, progress);
}

async function* redisMemory(
  { folder, redis, settings }: Environment,
  { scale, pairs }: BenchOptions,
  progress: Progress,
): AsyncGenerator<Line> {
  const rows = Math.floor(1_000_000 / scale);
  const floats = floatsCatalogue(20);
  const cases = [
    { kind: "a", catalogue: example, view: "absences", listpackValue: 64, budget: 120 },
    { kind: "b", catalogue: floats, view: "floats", listpackValue: 512, budget: 1.4 * 160 },
    { kind: "b", catalogue: floats, view: "floats", listpackValue: 64, budget: 1.4 * 160 },
  ] as const;
  for (const { kind, catalogue, view, listpackValue, budget } of cases) {
    const pattern = await writeDataSet(folder, { kind, rows, files: 1 });
    let payload = 0;
    await redis.send(["config", "SET", "hash-max-listpack-value", listpackValue]);
    const bytesOf = async (write: () => Promise<unknown>): Promise<number> => {
      await emptyStores({ redis, settings });
      const before = await usedMemory(redis);
      await write();
      return ((await usedMemory(redis)) - before) / rows;
    };
    const measured = await progress.step(`Redis memory of data set (${kind})`, (detail) =>
      // The bytes are the same each time, give or take the buckets' sizes.
      measurePairs(
        pairs,
        detail,
        {
          figure: async () => {
            const bytes = await bytesOf(() =>
              materializeDirectly(
                { redis, settings },
                catalogue,
                { [view]: pattern },
                { view, end: "2026-01-01T00:00:00.000Z" },
              ),
            );
            payload = (await valueBytes({ redis, settings }, view)) - versionBytes;
            return bytes;
          },
          limit: () => bytesOf(() => writePlainKeys(settings.redisUrl, rows, payload)),
        },
        { warmUp: false },
      ),
    );
    yield lineOf(
      {
        bench: "memory",
        case: `Redis, data set (${kind}), hash-max-listpack-value ${listpackValue}`,
        unit: "bytes/row",
        target: { budget },
        rows,
        config: { limit: `a plain key for each row, with a value of ${payload} bytes` },
      },
      measured,
    );
  }
  await redis.send(["config", "SET", "hash-max-listpack-value", 512]);
}

/** Without the buffers of clients and of the append-only file. */
async function usedMemory(redis: Environment["redis"]): Promise<number> {
  const info = textOf(await redis.send(["info", "memory"])) ?? "";
  const of = (name: string) => Number(new RegExp(`^${name}:(\\d+)`, "m").exec(info)?.[1] ?? 0);
  return of("used_memory") - of("mem_clients_normal") - of("mem_aof_buffer");
}

/** What a process that materializes, or only scans, says of itself. */
interface ProcessFacts {
  readonly peakBytes: number;
  readonly delayMs: number;
  readonly idleDelayMs: number;
  readonly longestDelayMs: number;
}

async function* workerMemory(
  { folder, settings, redis }: Environment,
  { scale, pairs }: BenchOptions,
  progress: Progress,
): AsyncGenerator<Line> {
  const rows = Math.floor(10_000_000 / scale);
  for (const files of [1, 200]) {
    const pattern = await writeDataSet(folder, { kind: "a", rows, files });
    const delays: { figure: number; limit: number }[] = [];
    let longestMs = 0;
    const peaks = await progress.step(`a worker's memory, ${rows} rows, ${files} files`, (detail) =>
      measurePairs(
        pairs,
        detail,
        {
          async figure() {
            await emptyStores({ redis, settings });
            const facts = await runProgram("./materialize-once.ts", [
              settings.redisUrl,
              settings.offlineDir,
              pattern,
            ]);
            delays.push({ figure: facts.delayMs, limit: facts.idleDelayMs });
            longestMs = Math.max(longestMs, facts.longestDelayMs);
            return facts.peakBytes / 1e6;
          },
          async limit() {
            const facts = await runProgram("./limits/polars-memory.ts", [pattern]);
            return facts.peakBytes / 1e6;
          },
        },
        { warmUp: false },
      ),
    );
    const common = { bench: "memory", rows } as const;
    yield lineOf(
      {
        ...common,
        case: `peak RSS of a worker, ${files} ${files === 1 ? "file" : "files"}`,
        unit: "MB",
        target: { budget: 1500 },
        config: { files, limit: "polars reads the same columns and keeps them" },
      },
      peaks,
    );
    yield lineOf(
      {
        ...common,
        case: `event-loop delay, p99, ${files} ${files === 1 ? "file" : "files"}`,
        unit: "ms",
        target: { budget: 50 },
        config: {
          files,
          resolution_ms: 1,
          longest_ms: Math.round(longestMs),
          heartbeat_timeout_ms: 10_000,
          limit: "the same process before it begins",
        },
      },
      delays,
    );
  }
}

async function runProgram(file: string, args: readonly string[]): Promise<ProcessFacts> {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [
    "--import",
    "tsx",
    path,
    ...args,
  ]);
  return JSON.parse(stdout) as ProcessFacts;
}
