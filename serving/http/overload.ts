/**
 * Overload: a process works on so many requests at once, as many wait, and all others are refused
 * at once, so that those which are accepted are answered about as fast as in calm. Each has a
 * deadline, and one whose caller has gone is given up.
 */
import type { FastifyReply, FastifyRequest, onRequestHookHandler } from "fastify";
import { createDeadlines } from "../../engine/shared-timer.ts";
import { OnceflowError } from "../../engine/errors.ts";
import { cancelled, type IsUnwanted } from "../cancellation.ts";

/** What one process takes on. */
export interface LoadLimits {
  /** Requests that are worked on at once; as many wait. */
  readonly concurrency: number;
  /** From the last byte of a request to its answer, waiting included. */
  readonly deadlineMs: number;
}

export const defaultLoadLimits: LoadLimits = { concurrency: 64, deadlineMs: 1_000 };

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
    work: (isUnwanted: IsUnwanted) => Promise<T>,
  ) => Promise<T>;
  readonly counters: LoadCounters;
}

/** What an answer of OVERLOADED tells the caller to wait for. */
const retryAfterSeconds = 1;

/** A request that has a place, to work or to wait. */
interface Job {
  readonly begin: () => void;
  readonly reject: (error: unknown) => void;
  isLate: boolean;
}

/** Makes the limiter of a process. */
export function createLoadLimiter(limits: Partial<LoadLimits> = {}): LoadLimiter {
  const { concurrency, deadlineMs } = { ...defaultLoadLimits, ...limits };
  const counters: LoadCounters = { running: 0, waiting: 0, refused: 0, late: 0, cancelled: 0 };
  /** In the order of arrival. */
  const waiting = new Set<Job>();

  // Made once: under overload there is no time for stacks.
  const overloaded = new OnceflowError(
    "OVERLOADED",
    `this process works on ${concurrency} requests, and as many wait. Send the request again in ${retryAfterSeconds} s.`,
    { retry_after_seconds: retryAfterSeconds },
  );

  function refuse(reply: FastifyReply): OnceflowError {
    counters.refused++;
    reply.header("retry-after", retryAfterSeconds);
    return overloaded;
  }

  function leave(job: Job): boolean {
    const isWaiting = waiting.delete(job);
    counters.waiting = waiting.size;
    return isWaiting;
  }

  const deadlines = createDeadlines<Job>(deadlineMs, (job) => {
    leave(job);
    job.isLate = true;
    counters.late++;
    job.reject(late(deadlineMs));
  });

  function beginNext(): void {
    const [next] = waiting;
    if (next === undefined || counters.running >= concurrency) return;
    leave(next);
    next.begin();
  }

  return {
    counters,
    refuseEarly(_request, reply, done) {
      if (waiting.size < concurrency) done();
      else done(refuse(reply));
    },
    limited: ({ raw: { socket } }, reply, work) =>
      new Promise((resolve, reject) => {
        if (counters.running >= concurrency && waiting.size >= concurrency)
          return reject(refuse(reply));
        // Work that has begun keeps its place until it ends: Redis has deadlines of its own.
        const begin = (): void => {
          counters.running++;
          const end = <R>(settle: (outcome: R) => void, outcome: R): void => {
            deadlines.forget(job);
            counters.running--;
            beginNext();
            settle(outcome);
          };
          work(() => job.isLate || socket.destroyed).then(
            (answer) => end(resolve, answer),
            (error: unknown) => end(reject, error),
          );
        };
        const job: Job = { begin, reject, isLate: false };
        deadlines.watch(job);
        if (counters.running < concurrency) return begin();
        waiting.add(job);
        counters.waiting = waiting.size;
        reply.raw.once("close", () => {
          if (!leave(job)) return;
          deadlines.forget(job);
          counters.cancelled++;
          reject(cancelled());
        });
      }),
  };
}

function late(deadlineMs: number): OnceflowError {
  return new OnceflowError(
    "DEADLINE_EXCEEDED",
    `the answer was not ready within ${deadlineMs} ms. Send the request again, for fewer entities if there are many.`,
    { deadline_ms: deadlineMs },
  );
}
