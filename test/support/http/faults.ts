/** What a real server answers under load while its Redis fails in every way. */
import { rm } from "node:fs/promises";
import { loadCatalogue, viewNamed } from "../../../engine/catalogue.ts";
import { connectRedis } from "../../../store/redis/connection.ts";
import { aggregateValues } from "./example-store.ts";
import { fillView } from "../redis/fill.ts";
import { type Load, outcomesOf, type Sample, startLoad } from "./load.ts";
import { startRedis } from "../redis/server.ts";
import { startSentinelSet } from "../redis/sentinel.ts";
import { memoryMb, type RunningServer, startServer } from "./server-process.ts";
import { startTcpProxy } from "../redis/tcp-proxy.ts";
import { until } from "../until.ts";

const prefix = "onceflow";
const body = { features: ["has_children"], entities: [{ id: "11" }] };

/** What one fault did. */
export interface FaultReport {
  readonly fault: string;
  /** How many requests, from the fault to the recovery, ended with each status and code. */
  readonly outcomes: Readonly<Record<string, number>>;
  readonly slowestMs: number;
  /** From the fault's end until every request is answered again. */
  readonly recoveryMs: number;
  /** How much more memory the server has than before all faults; NaN where nobody tells. */
  readonly memoryMb: number;
  /** Statuses of values in the answers that were given. */
  readonly statuses: readonly string[];
}

/** The load, and how long each fault lasts. */
export interface FaultOptions {
  readonly perSecond: number;
  /** How long each fault lasts. */
  readonly lastsMs: number;
}

/** Redis is killed and comes back with its data, hangs, is slow, and comes back empty. */
export async function redisFaults(options: FaultOptions): Promise<FaultReport[]> {
  const { lastsMs } = options;
  const persistent = ["--appendonly", "yes", "--appendfsync", "always"];
  let redis = await startRedis({ args: persistent });
  const { directory, port } = redis;
  const started: (() => Promise<unknown>)[] = [];
  const answersAll = (code: string) => (sample: Sample) => sample.code === code;
  try {
    const proxy = await startTcpProxy(port);
    started.push(proxy.stop);
    await fill(redis.url);
    const server = startServer({
      REDIS_URL: `redis://127.0.0.1:${proxy.port}`,
      ONCEFLOW_PREFIX: prefix,
    });
    started.push(server.kill);
    const address = await server.listening();
    const load = startLoad({ ...options, body, origin: () => address });
    started.push(load.stop);
    const fault = await watch(server, load, options);
    return [
      await fault("killed, and back with its data", async () => {
        await redis.kill();
        await pass(lastsMs);
        redis = await startRedis({ port, args: [...persistent, "--dir", directory] });
      }),
      await fault("hung", async () => {
        redis.signal("SIGSTOP");
        await pass(lastsMs);
        redis.signal("SIGCONT");
      }),
      await fault("slow by 200 ms", async () => {
        proxy.delayMs = 200;
        await pass(lastsMs);
        proxy.delayMs = 0;
      }),
      await fault("slow by 2 s", async () => {
        proxy.delayMs = 2_000;
        await pass(lastsMs);
        proxy.delayMs = 0;
      }),
      await fault(
        "killed, and back empty",
        async () => {
          await redis.kill();
          redis = await startRedis({ port });
        },
        answersAll("STORE_LOST"),
      ),
      await fault("filled again", () => fill(redis.url)),
    ];
  } finally {
    for (const stop of started.reverse()) await stop();
    await redis.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

/** The master dies, and then its successor hangs, while Sentinels watch. */
export async function failovers(options: FaultOptions): Promise<FaultReport[]> {
  const set = await startSentinelSet();
  const started: (() => Promise<unknown>)[] = [set.stop];
  try {
    await fill(set.url);
    const server = startServer({ REDIS_URL: set.url, ONCEFLOW_PREFIX: prefix });
    started.push(server.kill);
    const address = await server.listening();
    const load = startLoad({ ...options, body, origin: () => address });
    started.push(load.stop);
    const fault = await watch(server, load, options);
    const killed = await fault("its master was killed", async () => (await set.master()).kill());
    await set.untilOk();
    const master = await set.master();
    const hung = await fault("its master hangs", () => master.signal("SIGSTOP"));
    master.signal("SIGCONT");
    return [killed, hung];
  } finally {
    for (const stop of started.reverse()) await stop();
  }
}

async function fill(url: string): Promise<void> {
  const writing = connectRedis(url, "writing");
  const catalogue = await loadCatalogue(() => import("../../../features/index.ts"));
  const absences = viewNamed(catalogue, "absences");
  try {
    await fillView(writing, absences, {
      prefix,
      start: "2026-03-01",
      end: "2026-03-02",
      rows: [{ key: ["11"], values: { age: 33, has_children: 1 } }],
      aggregates: aggregateValues(absences, { mean: 36.5, std: 7 }),
    });
  } finally {
    await writing.close();
  }
}

/** Lets time pass in which a fault lasts. */
const pass = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** So many answers in a row that are as they should be are a recovery. */
const soundAnswers = 50;

/** Waits until a server answers its load; the answer reports what becomes of requests in a fault. */
async function watch(server: RunningServer, load: Load, { perSecond }: FaultOptions) {
  await until("it is warm", () => load.samples.length > 2 * perSecond);
  const memoryBefore = memoryMb(server.child.pid);

  return async function fault(
    name: string,
    happens: () => unknown,
    isSound: (sample: Sample) => boolean = ({ status }) => status === 200,
  ): Promise<FaultReport> {
    const beganMs = load.elapsedMs();
    await happens();
    const endedMs = load.elapsedMs();
    let soundFromMs = 0;
    await until(`recovery: ${name}`, () => {
      const since = load.samples
        .filter(({ atMs }) => atMs >= endedMs)
        .sort((a, b) => a.atMs - b.atMs);
      const from = since.findLastIndex((sample) => !isSound(sample)) + 1;
      soundFromMs = since[from]?.atMs ?? Infinity;
      return since.length - from >= soundAnswers;
    });
    // Those that were under way then.
    await pass(100);
    const samples = load.samples.filter(({ atMs }) => atMs >= beganMs);
    return {
      fault: name,
      outcomes: outcomesOf(samples),
      slowestMs: Math.max(...samples.map(({ latencyMs }) => latencyMs)),
      recoveryMs: soundFromMs - endedMs,
      memoryMb: memoryMb(server.child.pid) - memoryBefore,
      statuses: [
        ...new Set(
          samples.flatMap((sample) => /"statuses":\{"\w+":"(\w+)"/.exec(sample.body)?.[1] ?? []),
        ),
      ],
    };
  };
}
