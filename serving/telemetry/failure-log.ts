/** Lines about features whose functions threw: callers learn no more than which they are. */
import { createRateLimit } from "../auth/rate-limit.ts";
import type { Logger } from "./logging.ts";
import type { LookupObserver } from "../observer.ts";

/** Lines of one feature, at most: a function that always throws must not fill the disk. */
const lineRate = { perSecond: 1, burst: 10 };

/** An observer that logs why a value failed; what there is no room for is counted. */
export function createFailureLog(log: Pick<Logger, "error">): LookupObserver {
  const room = createRateLimit(lineRate);
  let left = 0;
  return {
    failed({ feature, error }) {
      if (room(feature) > 0) return void left++;
      log.error({ err: error, feature, left_out: left }, "a function of a feature threw");
      left = 0;
    },
  };
}
