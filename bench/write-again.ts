/**
 * A process that materializes data set (a) again and again, as a worker does, until its input ends;
 * it prints rows and seconds of each run. See online-while-writing.ts.
 */
import { readSettings } from "../settings.ts";
import { connectRedis } from "../store/redis.ts";
import { example } from "./catalogues.ts";
import { materializeDirectly } from "./environment.ts";

const [redisUrl = "", prefix = "", offlineDir = "", pattern = "", firstDay = "0"] =
  process.argv.slice(2);
const settings = { ...readSettings({}), redisUrl, offlineDir, prefix };
const redis = connectRedis(redisUrl, "writing");
await redis.ready();
process.stdin.on("end", () => process.exit()).resume();
for (let day = Number(firstDay); ; day++) {
  const end = new Date(Date.UTC(2026, 0, 1) + day * 86_400_000).toISOString();
  const request = { view: "absences", end };
  const { written, seconds } = await materializeDirectly(
    { redis, settings },
    example,
    { absences: pattern },
    request,
  );
  process.stdout.write(`${JSON.stringify({ written, seconds })}\n`);
}
