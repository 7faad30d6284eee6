/** What an activity knows of its attempt: signs of life, and whether it is still wanted. */
import { Context } from "@temporalio/activity";

/** Time between heartbeats. A worker must not hold them back for longer. */
export const heartbeatMs = 2_000;

/** Functions that a worker registers as activities, by name. */
type Activities = Readonly<Record<string, (...args: never[]) => Promise<unknown>>>;

/**
 * The same activities, each heartbeating while it runs. A heartbeat only says that the attempt is
 * alive, and brings a cancellation back: what was done is known from the stores.
 */
export function withHeartbeats<A extends object>(activities: A & Activities): A {
  const wrapped = Object.entries<Activities[string]>(activities).map(([name, activity]) => [
    name,
    async (...args: never[]) => {
      const context = Context.current();
      const timer = setInterval(() => context.heartbeat(), heartbeatMs);
      try {
        return await activity(...args);
      } finally {
        clearInterval(timer);
      }
    },
  ]);
  return Object.fromEntries(wrapped) as A;
}

/** Ends as soon as the run is cancelled, whether or not the work heeds its signal. */
export function untilCancelled<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { cancellationSignal, cancelled } = Context.current();
  return Promise.race([work(cancellationSignal), cancelled]);
}

/** Throws once the run is cancelled; called between steps of long work. */
export function assertWanted(): void {
  Context.current().cancellationSignal.throwIfAborted();
}
