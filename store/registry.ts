/** Where the registry is kept: one key beside the rows, replaced whole. */
import { emptyRegistry, type Registry } from "../engine/registry.ts";
import { createKeys } from "./keys.ts";
import { type RedisConnection, textOf } from "./redis.ts";

/** What was applied last; empty before the first `apply`. */
export async function readRegistry(
  redis: RedisConnection,
  { prefix }: { readonly prefix?: string | undefined } = {},
): Promise<Registry> {
  const text = textOf(await redis.send(["get", createKeys(prefix).registry]));
  return text === null ? emptyRegistry : (JSON.parse(text) as Registry);
}

/** Keeps what is applied now. */
export async function writeRegistry(
  redis: RedisConnection,
  registry: Registry,
  { prefix }: { readonly prefix?: string | undefined } = {},
): Promise<void> {
  await redis.send(["set", createKeys(prefix).registry, JSON.stringify(registry)]);
}
