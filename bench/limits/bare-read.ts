/** The limit of an embedded lookup: one read of a value by ioredis. */
import { Redis } from "ioredis";

/** Connects, and returns a function that reads a key. */
export async function openBareRead(url: string): Promise<(key: string) => Promise<Buffer | null>> {
  const redis = new Redis(url, { protocol: 2 });
  await redis.ping();
  return (key) => redis.getBuffer(key);
}
