/** What an activity needs to know of its attempt: signs of life, and whether it is still wanted. */
import { Context } from "@temporalio/activity";

const beatMs = 2_000;

/**
 * Heartbeats while work runs. A heartbeat only says that the attempt is alive: what was done is
 * known from the stores.
 *
 * @param work - gets `check`, which throws once the run is cancelled; call it between steps
 */
export async function whileAlive<T>(work: (check: () => void) => Promise<T>): Promise<T> {
  const context = Context.current();
  const timer = setInterval(() => context.heartbeat(), beatMs);
  try {
    return await work(() => context.cancellationSignal.throwIfAborted());
  } finally {
    clearInterval(timer);
  }
}
