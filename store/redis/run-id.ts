/** Which Redis processes hold the keys: one that restarted may have lost what it had acknowledged. */
import type { RedisConnection } from "./types.ts";

/** The ids of the processes, of a Cluster those of all masters; a text to be kept and compared. */
export async function readRunId(redis: RedisConnection): Promise<string> {
  const masters = await redis.masters();
  const infos = await Promise.all(masters.map(({ send }) => send(["info", "server"])));
  return infos
    .map((info) => /^run_id:(\S+)/m.exec(String(info))?.[1] ?? "")
    .sort()
    .join(",");
}

/**
 * Whether no process is a new one. Of a Cluster, one more master counts as one that restarted; one
 * that has gone does not, since its hash slots were moved away first.
 */
export function isSameRun(before: string, now: string): boolean {
  const known = new Set(before.split(","));
  return now.split(",").every((id) => known.has(id));
}

/**
 * Whether every master appends what it acknowledges to a file; else a crash may cost all since its
 * last snapshot of itself.
 */
export async function isDurable(redis: RedisConnection): Promise<boolean> {
  const masters = await redis.masters();
  const infos = await Promise.all(masters.map(({ send }) => send(["info", "persistence"])));
  return infos.every((info) => /^aof_enabled:1/m.test(String(info)));
}
