/**
 * Overload: a process works on so many requests at once, as many wait, and all others are refused
 * at once, so that those which are accepted are answered about as fast as in calm. Each has a
 * deadline, and one whose caller has gone is given up.
 */
import type { FastifyReply, FastifyRequest, onRequestHookHandler } from "fastify";
import { OnceflowError } from "../engine/errors.ts";

/** What one process takes on. */
export interface LoadLimits {
  /** Requests that are worked on at once; as many wait. */
  readonly concurrency: number;
  /** From the last byte of a request to its answer, waiting included. */
  readonly deadlineMs: number;
}

export const defaultLoadLimits: LoadLimits = { concurrency: 64, deadlineMs: 1_000 };

/** What is asked before and after a read whether its answer is still wanted. */
export type Cancellation = Pick<AbortSignal, "aborted">;

/** Gauges and counts since the start, for metrics. */
export interface LoadCounters {
  running: number;
  waiting: number;
  /** Requests refused as OVERLOADED. */
  refused: number;
  /** Requests answered DEADLINE_EXCEEDED. */
  late: number;
  /** Requests whose caller went away while they waited. */
  cancelled: number;
}

/** Holds the load of one process below its limits. */
export interface LoadLimiter {
  /** Hook of a limited route: refuses before the body is read where there is no place to wait. */
  readonly refuseEarly: onRequestHookHandler;
  /** Does the work of a request within the limits. @throws OVERLOADED, DEADLINE_EXCEEDED */
  readonly limited: <T>(
    request: FastifyRequest,
    reply: FastifyReply,
    work: (signal: Cancellation) => Promise<T>,
  ) => Promise<T>;
  readonly counters: LoadCounters;
}

/** What an answer of OVERLOADED tells the caller to wait for. */
const retryAfterSeconds = 1;

export function createLoadLimiter(limits: Partial<LoadLimits> = {}): LoadLimiter {
  const { concurrency, deadlineMs } = { ...defaultLoadLimits, ...limits };
  const counters: LoadCounters = { running: 0, waiting: 0, refused: 0, late: 0, cancelled: 0 };
  /** In the order of arrival. */
  const waiting = new Set<() => void>();
  const count = () => (counters.waiting = waiting.size);

  // Made once: under overload there is no time for stacks.
  const overloaded = new OnceflowError(
    "OVERLOADED",
    `this process works on ${concurrency} requests, and as many wait. Send the request again in ${retryAfterSeconds} s.`,
    { retry_after_seconds: retryAfterSeconds },
  );

  const beginNext = (): void => {
    const [next] = waiting;
    if (next === undefined || counters.running >= concurrency) return;
    waiting.delete(next);
    count();
    next();
  };

  return {
    counters,
    refuseEarly(_request, reply, done) {
      if (waiting.size < concurrency) return done();
      counters.refused++;
      reply.header("retry-after", retryAfterSeconds);
      done(overloaded);
    },
    limited: (request, reply, work) =>
      new Promise((resolve, reject) => {
        if (counters.running >= concurrency && waiting.size >= concurrency) {
          counters.refused++;
          reply.header("retry-after", retryAfterSeconds);
          reject(overloaded);
          return;
        }
        const { socket } = request.raw;
        const leave = (): void => {
          if (!waiting.delete(begin)) return;
          count();
          clearTimeout(timer);
          counters.cancelled++;
          reject(cancelled());
        };
        const begin = (): void => {
          reply.raw.off("close", leave);
          counters.running++;
          const end = () => {
            clearTimeout(timer);
            counters.running--;
            beginNext();
          };
          work({
            get aborted() {
              return socket.destroyed;
            },
          })
            .finally(end)
            .then(resolve, reject);
        };
        // Work that has begun keeps its place until it ends: Redis has deadlines of its own.
        const timer = setTimeout(() => {
          reply.raw.off("close", leave);
          if (waiting.delete(begin)) count();
          counters.late++;
          reject(late(deadlineMs));
        }, deadlineMs);
        if (counters.running < concurrency) return begin();
        waiting.add(begin);
        count();
        reply.raw.once("close", leave);
      }),
  };
}

/** REQUEST_CANCELLED; nobody is there to read it, but the log. */
export function cancelled(): OnceflowError {
  return new OnceflowError("REQUEST_CANCELLED", "the caller went away before the answer.");
}

function late(deadlineMs: number): OnceflowError {
  return new OnceflowError(
    "DEADLINE_EXCEEDED",
    `the answer was not ready within ${deadlineMs} ms. Send the request again, for fewer entities if there are many.`,
    { deadline_ms: deadlineMs },
  );
}
