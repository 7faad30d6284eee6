/** Where the registry is kept: one field beside the rows, compared and set. */
import { OnceflowError } from "../engine/errors.ts";
import { emptyRegistry, type Registry } from "../engine/registry.ts";
import { createKeys } from "./keys.ts";
import { textOf } from "./redis/connection.ts";
import type { RedisConnection } from "./redis/types.ts";

type Prefixed = { readonly prefix?: string | undefined };

const field = "applied";

/** What was applied last; empty before the first `apply`. */
export async function readRegistry(
  redis: RedisConnection,
  settings: Prefixed = {},
): Promise<Registry> {
  const text = await readText(redis, settings);
  return text === "" ? emptyRegistry : (JSON.parse(text) as Registry);
}

/**
 * Keeps what is applied now in place of what it was compared with.
 *
 * @throws APPLY_CONFLICT where another build was applied in between
 */
export async function writeRegistry(
  redis: RedisConnection,
  { before, after }: { readonly before: Registry; readonly after: Registry },
  { prefix }: Prefixed = {},
): Promise<void> {
  const [expected, wanted] = [before, after].map((registry) =>
    registry === emptyRegistry ? "" : JSON.stringify(registry),
  ) as [string, string];
  const key = createKeys(prefix).registry;
  const held = textOf(await redis.send(["swapField", key, field, expected, wanted]));
  if (held !== wanted) throw conflict();
}

/** @throws APPLY_CONFLICT where what is applied is not this */
export async function assertApplied(
  redis: RedisConnection,
  registry: Registry,
  settings: Prefixed = {},
): Promise<void> {
  if ((await readText(redis, settings)) !== JSON.stringify(registry)) throw conflict();
}

async function readText(redis: RedisConnection, { prefix }: Prefixed): Promise<string> {
  return textOf(await redis.send(["hget", createKeys(prefix).registry, field])) ?? "";
}

function conflict(): OnceflowError {
  return new OnceflowError(
    "APPLY_CONFLICT",
    "another build was applied in the meantime. See with `plan` what differs now, and apply again if this is the build that is to stay.",
  );
}
