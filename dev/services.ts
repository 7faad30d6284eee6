/** Redis and Temporal, found or started, for the demo, `npm run dev` and the tests. */
import { openProgress } from "../cli/progress.ts";
import type { Release } from "./owned.ts";
import type { OwnedProcess } from "./processes.ts";
import { startRedis } from "./redis.ts";
import type { ServiceOptions } from "./service.ts";
import { startTemporal } from "./temporal.ts";

/** Both services, ready for use. */
export interface Services {
  readonly redisUrl: string;
  /** Host and port. */
  readonly temporalAddress: string;
  /** The URL of Temporal's UI, when this process started it. */
  readonly temporalUiUrl?: string;
  /** Whether the Temporal server can run an activity without a workflow. */
  readonly standaloneActivities: boolean;
  /** Which of the two this process started. */
  readonly owned: { readonly redis: boolean; readonly temporal: boolean };
  /** Those without which they do not run, of those that this process started. */
  readonly processes: readonly OwnedProcess[];
  /** Stops what this process started and removes its temporary data. Safe to call again. */
  readonly stop: Release;
}

/**
 * Finds or starts Redis, then Temporal, and says what it does. What it starts ends with `stop`, on
 * Ctrl-C, and when this process dies in any way.
 *
 * @throws SETUP_FAILED with the ways out, or CONFIG_INVALID; neither leaves anything running.
 */
export async function startServices(options: ServiceOptions = {}): Promise<Services> {
  const withProgress = { ...options, progress: options.progress ?? openProgress() };
  const redis = await startRedis(withProgress);
  try {
    const temporal = await startTemporal(withProgress);
    return {
      redisUrl: redis.url,
      temporalAddress: temporal.address,
      ...(temporal.uiUrl === undefined ? {} : { temporalUiUrl: temporal.uiUrl }),
      standaloneActivities: temporal.standaloneActivities,
      owned: { redis: redis.processes.length > 0, temporal: temporal.processes.length > 0 },
      processes: [...redis.processes, ...temporal.processes],
      async stop() {
        await temporal.stop();
        await redis.stop();
      },
    };
  } catch (error) {
    await redis.stop();
    throw error;
  }
}
