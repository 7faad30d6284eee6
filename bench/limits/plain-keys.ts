/** The limit of memory in Redis: a plain key for each row. */
import { Redis } from "ioredis";

const script = `
for id = ARGV[1], ARGV[2] - 1 do redis.call('SET', string.format('%d', id), ARGV[3]) end`;

/** Writes keys "0", "1" and on, with values of so many bytes. */
export async function writePlainKeys(url: string, count: number, bytes: number): Promise<void> {
  const redis = new Redis(url, { protocol: 2 });
  const value = "x".repeat(bytes);
  for (let from = 0; from < count; from += 10_000)
    await redis.eval(script, 0, from, Math.min(count, from + 10_000), value);
  await redis.quit();
}
