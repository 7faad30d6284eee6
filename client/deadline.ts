/** Ends work that takes too long or is no longer wanted. */
import { OnceflowError } from "../engine/errors.ts";

/** How one call may be ended. */
export interface CallOptions {
  /** For the whole call, retries included; that of the client where it is left out. */
  readonly deadlineMs?: number;
  /** Aborts the call, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** What work is given: a signal of its own, and the time by which it must have ended. */
export interface Deadline {
  readonly signal: AbortSignal;
  /** Milliseconds of `performance.now()`. */
  readonly endMs: number;
}

/**
 * Does work until it ends, the deadline passes, or the signal aborts; it need not heed the signal.
 *
 * @throws DEADLINE_EXCEEDED, or the signal's reason
 */
export async function withDeadline<T>(
  { signal, deadlineMs: own }: CallOptions,
  deadlineMs: number,
  work: (deadline: Deadline) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const limitMs = own ?? deadlineMs;
  const controller = new AbortController();
  const late = () =>
    controller.abort(
      new OnceflowError(
        "DEADLINE_EXCEEDED",
        `the call did not end in ${limitMs} ms. Allow more (deadlineMs), or find out why the service is slow.`,
        { deadline_ms: limitMs },
      ),
    );
  const timer = setTimeout(late, limitMs);
  // By hand: on Node 20 `AbortSignal.any` keeps what a long-lived signal was joined with.
  const unwanted = () => controller.abort(signal?.reason);
  signal?.addEventListener("abort", unwanted, { once: true });
  const ended = controller.signal;
  const aborted = new Promise<never>((_, reject) => {
    ended.addEventListener("abort", () => reject(ended.reason as Error), { once: true });
  });
  try {
    return await Promise.race([
      work({ signal: ended, endMs: performance.now() + limitMs }),
      aborted,
    ]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", unwanted);
  }
}
