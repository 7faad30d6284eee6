/** What a lookup tells of its work, for metrics and traces; the lookup knows neither. */
import type { OnlineStore } from "../store/online-store.ts";
import type { AnswerTable } from "./answer.ts";
import type { Planned } from "./planned.ts";

/** One read of stored rows. */
export interface ReadFacts {
  /** When it began and when it ended, in milliseconds by `performance.now()`. */
  readonly startMs: number;
  readonly endMs: number;
  /** Rows asked for, whether they exist or not. */
  readonly rows: number;
  /** Bytes of the stored rows that Redis sent; 0 where it failed. */
  readonly bytes: number;
  /** What was thrown, where it failed. */
  readonly error?: unknown;
}

/** A request that was answered. */
export interface AnswerFacts {
  readonly planned: Planned;
  readonly table: AnswerTable;
}

/** A value that has none, since a function of its feature threw. */
export interface FailureFacts {
  readonly feature: string;
  readonly error: unknown;
}

/** Is told of each read, answer and failed value, once and at once, so it must be quick. */
export interface LookupObserver {
  readonly read?: (facts: ReadFacts) => void;
  /** Of a request whose read failed, and failed again where it was tried again: once. */
  readonly readFailed?: (error: unknown) => void;
  readonly answered?: (facts: AnswerFacts) => void;
  readonly failed?: (facts: FailureFacts) => void;
}

/** The store, its reads told to the observer; a request that needs no row reads nothing. */
export function observeReads(store: OnlineStore, { read }: LookupObserver): OnlineStore {
  if (read === undefined) return store;
  return {
    ...store,
    readRows(reads) {
      if (reads.length === 0) return store.readRows(reads);
      const startMs = performance.now();
      const reading = store.readRows(reads);
      let rows = 0;
      for (const { keys } of reads) rows += keys.length;
      reading.then(
        ({ bytes }) => read({ startMs, endMs: performance.now(), rows, bytes }),
        (error: unknown) => read({ startMs, endMs: performance.now(), rows, bytes: 0, error }),
      );
      return reading;
    },
  };
}

/** An observer that tells several. */
export function joinObservers(...observers: readonly LookupObserver[]): LookupObserver {
  const [one, ...others] = observers;
  if (one !== undefined && others.length === 0) return one;
  return {
    read: (facts) => observers.forEach((each) => each.read?.(facts)),
    readFailed: (error) => observers.forEach((each) => each.readFailed?.(error)),
    answered: (facts) => observers.forEach((each) => each.answered?.(facts)),
    failed: (facts) => observers.forEach((each) => each.failed?.(facts)),
  };
}
