/** A process that materializes data set (a) once and says what it took; see memory.ts. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as pause } from "node:timers/promises";
import { readSettings } from "../settings.ts";
import { connectRedis } from "../store/redis/connection.ts";
import { example } from "./catalogues.ts";
import { materializeDirectly } from "./own-store.ts";

const [redisUrl = "", offlineDir = "", pattern = ""] = process.argv.slice(2);
const settings = { ...readSettings({}), redisUrl, offlineDir, prefix: "bench" };
const redis = connectRedis(redisUrl, "writing");
await redis.ready();

const delay = monitorEventLoopDelay({ resolution: 1 });
const p99 = () => delay.percentile(99) / 1e6;
delay.enable();
await pause(1000);
const idleDelayMs = p99();
delay.reset();
const request = { view: "absences", end: "2026-01-01T00:00:00.000Z" };
const run = await materializeDirectly({ redis, settings }, example, { absences: pattern }, request);
const facts = {
  ...run,
  idleDelayMs,
  delayMs: p99(),
  longestDelayMs: delay.max / 1e6,
  peakBytes: process.resourceUsage().maxRSS * 1024,
};
process.stdout.write(`${JSON.stringify(facts)}\n`, () => process.exit());
