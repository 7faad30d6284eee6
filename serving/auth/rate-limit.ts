/**
 * Rate limits: a token bucket for each caller, in the memory of the process. A bucket is one number,
 * the time at which it will be full again (the generic cell rate algorithm), so that a request
 * costs one look-up.
 */
import { createLru } from "../../engine/lru.ts";

/** Requests a second in the long run, and at once after a pause. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

/** Takes a token; 0 where there was one, else the milliseconds until there is. */
export type RateLimit = (caller: string) => number;

/** Callers whose buckets are kept; the one not heard of for longest begins anew, with a full one. */
const callerLimit = 10_000;

/** Makes the buckets of one kind of caller. @param now - milliseconds, never going back */
export function createRateLimit(
  { perSecond, burst }: Rate,
  now: () => number = () => performance.now(),
): RateLimit {
  const fullAt = createLru<string, number>(callerLimit);
  const tokenMs = 1000 / perSecond;
  const depthMs = burst * tokenMs;
  return (caller) => {
    const nowMs = now();
    const full = Math.max(fullAt.peek(caller) ?? 0, nowMs);
    // Sums of fractions are not exact.
    const waitMs = Math.max(0, full + tokenMs - nowMs - depthMs - 1e-6);
    fullAt.set(caller, waitMs > 0 ? full : full + tokenMs);
    return waitMs;
  };
}
