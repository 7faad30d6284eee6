/** What is served of a view, comparable between stores that came to it in different ways. */
import { Redis } from "ioredis";
import { versionBytes } from "../../../store/rows/version.ts";
import { scanKeys } from "./server.ts";

/**
 * Rows without their versions, by entity, and the body of the latest snapshot under "snapshot". What
 * is withdrawn, by a tombstone or by a whole publish, is absent.
 */
export async function servedBytes(
  { redisUrl, prefix }: { readonly redisUrl: string; readonly prefix: string },
  view: string,
): Promise<ReadonlyMap<string, string>> {
  const client = new Redis(redisUrl, { protocol: 2 });
  try {
    const found = new Map<string, string>();
    const pointers = await client.hgetall(`${prefix}:{${view}}:pointers`);
    const named = (kind: string) =>
      Object.entries(pointers).find(([field]) => field.startsWith(`${kind}:`))?.[1];
    const [, , whole] = JSON.parse(named("published") ?? "[0,0,0]") as [number, number, number];
    found.set("snapshot", (named("latest") ?? "").split(" ").slice(2).join(" "));
    for (const key of await scanKeys(client, `${prefix}:entities`)) {
      // The shards' own keys end with their hash tags.
      if (!key.includes(`{${view}/`) || key.endsWith("}")) continue;
      for (const [entity, value] of Object.entries(await client.hgetallBuffer(key))) {
        if (entity === "" || value.length === versionBytes) continue;
        if (value.readUInt32BE() >= whole) found.set(entity, value.toString("hex", versionBytes));
      }
    }
    return found;
  } finally {
    client.disconnect();
  }
}
