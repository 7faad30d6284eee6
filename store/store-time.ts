/** The time of Redis: what is kept there is dated by its clock, since those of machines differ. */
import type { RedisConnection, RedisReply } from "./redis/types.ts";

/** How far the clock of a machine may be from that of Redis, in milliseconds. */
export const longestSkewMs = 30_000;

/** The time of Redis, in milliseconds since the epoch; of a Cluster that of its earliest master. */
export async function readStoreTime(redis: Pick<RedisConnection, "masters">): Promise<number> {
  const masters = await redis.masters();
  const times = await Promise.all(
    masters.map(async ({ send }) => {
      const [seconds, microseconds] = ((await send(["time"])) as RedisReply[]).map(Number);
      return (seconds ?? NaN) * 1000 + Math.floor((microseconds ?? NaN) / 1000);
    }),
  );
  return Math.min(...times);
}
