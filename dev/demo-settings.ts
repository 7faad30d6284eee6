/** Where the demo works: names of its own, which it leaves as it found them. */
import { join, resolve } from "node:path";
import type { Progress } from "../cli/progress.ts";
import { readSettings, type Settings } from "../settings.ts";
import { connectRedis } from "../store/redis/connection.ts";
import { own } from "./owned.ts";
import type { Services } from "./services.ts";

/** Settings of the demo's own: on services that were given, names that nothing else uses. */
export function demoSettings(
  data: string | undefined,
  folder: string,
  services: Services,
  progress: Progress,
): Settings {
  const unique = `onceflow-demo-${process.pid}-${Date.now().toString(36)}`;
  const settings: Settings = {
    ...readSettings({}),
    temporalNamespace: readSettings().temporalNamespace,
    redisUrl: services.redisUrl,
    temporalAddress: services.temporalAddress,
    prefix: services.owned.redis ? "onceflow" : unique,
    queue: services.owned.temporal ? "onceflow" : unique,
    dataDir: join(folder, "data"),
    offlineDir: join(folder, "offline"),
    sources: data === undefined ? {} : { absences: resolve(data) },
  };
  if (!services.owned.redis) {
    progress.say(`  Keys in that Redis begin with ${settings.prefix} and are removed at the end.`);
    own(() => removeKeys(settings));
  }
  return settings;
}

/** Removes the demo's own keys from a Redis that it did not start. */
export async function removeKeys(settings: Settings): Promise<void> {
  const redis = connectRedis(settings.redisUrl, "writing");
  try {
    for (const { send } of await redis.masters()) {
      let cursor = "0";
      do {
        const reply = await send(["scan", cursor, "match", `${settings.prefix}*`, "count", 1000]);
        const [next, keys] = reply as [Buffer, Buffer[]];
        await redis.pipeline(keys.map((key) => ["unlink", key] as const));
        cursor = next.toString();
      } while (cursor !== "0");
    }
  } finally {
    await redis.close();
  }
}
