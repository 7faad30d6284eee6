/**
 * A client in the process: it reads Redis by the lookup itself, without HTTP, and has the interface
 * of the HTTP client. The process must be of the build that filled the store.
 */
import { loadCatalogue } from "../engine/catalogue.ts";
import { createLookup } from "../serving/lookup.ts";
import { connectRedis } from "../store/redis/connection.ts";
import { withDeadline } from "./deadline.ts";
import type { AnyCatalogue, CatalogueTypes, FeatureClient } from "./typed.ts";
import { typedClient } from "./typed.ts";

export { OnceflowError } from "../engine/errors.ts";
export type { ErrorCode } from "../engine/errors.ts";
export type { Status } from "../serving/answer.ts";
export type { CallOptions } from "./deadline.ts";
export type * from "./typed.ts";
export { columnOf } from "./typed.ts";

/** Which definitions, and where their rows are. */
export interface EmbeddedClientOptions {
  /** Imports the modules of features: `() => import("./features/index.js")`. */
  readonly features: () => Promise<object>;
  /** redis://127.0.0.1:6379 by default; see docs/operations.md. */
  readonly redisUrl?: string;
  /** Beginning of every key in Redis; onceflow by default. */
  readonly prefix?: string;
  /** For a whole call; 3000 by default. */
  readonly deadlineMs?: number;
}

/**
 * Makes a client, once what is current in the store has been read. A call rejects with the errors
 * of the lookup, see docs/errors.md, or DEADLINE_EXCEEDED; nothing is tried again.
 *
 * @throws DEFINITION_INVALID, CONFIG_INVALID, STORE_UNAVAILABLE
 */
export async function createEmbeddedClient<C extends CatalogueTypes = AnyCatalogue>({
  features,
  redisUrl = "redis://127.0.0.1:6379",
  prefix,
  deadlineMs = 3_000,
}: EmbeddedClientOptions): Promise<FeatureClient<C>> {
  const catalogue = await loadCatalogue(features);
  const redis = connectRedis(redisUrl, "serving");
  const lookup = createLookup({ catalogue, redis, prefix });
  const close = async () => {
    lookup.close();
    await redis.close();
  };
  try {
    await lookup.refresh();
  } catch (error) {
    await close();
    throw error;
  }
  return typedClient<C>(
    (request, call = {}) => withDeadline(call, deadlineMs, () => lookup.answer(request)),
    close,
  );
}
