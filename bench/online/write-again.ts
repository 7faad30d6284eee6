/**
 * A process that materializes data set (a) again and again, as an offline worker does, until it is
 * ended; it prints rows and seconds of each run. See while-writing.ts.
 */
import { yieldToOthers } from "../../activities/priority.ts";
import { readSettings } from "../../settings.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import { example } from "../catalogues.ts";
import { materializeDirectly } from "../own-store.ts";

yieldToOthers();
const [pattern = "", firstDay = ""] = process.argv.slice(2);
const settings = readSettings();
const redis = connectRedis(settings.redisUrl, "writing");
await redis.ready();
for (let day = Number(firstDay); ; day++) {
  const end = new Date(Date.UTC(2026, 0, 1) + day * 86_400_000).toISOString();
  const { written, seconds } = await materializeDirectly(
    { redis, settings },
    example,
    { absences: pattern },
    { view: "absences", end },
  );
  process.stdout.write(`${JSON.stringify({ written, seconds })}\n`);
}
