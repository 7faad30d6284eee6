/** What the routes by hand and the naive one read: a hash of twenty numbers for each entity. */
import { Redis } from "ioredis";

const script = `
for id = ARGV[1], ARGV[2] - 1 do
  for field = 0, 19 do
    redis.call('HSET', string.format('hash:%d', id), 'f' .. field, (id * 31 + field * 7) % 400)
  end
end`;

/** Writes hashes "hash:0", "hash:1" and on. */
export async function writePlainHashes(url: string, count: number): Promise<void> {
  const redis = new Redis(url, { protocol: 2 });
  for (let from = 0; from < count; from += 1000)
    await redis.eval(script, 0, from, Math.min(count, from + 1000));
  await redis.quit();
}
