/** How errors leave an activity: as Temporal failures that carry the code of the registry. */
import { asyncLocalStorage } from "@temporalio/activity";
import {
  ApplicationFailure,
  ApplicationFailureCategory,
  CancelledFailure,
} from "@temporalio/common";
import { type ErrorCode, messageOf, OnceflowError } from "../engine/errors.ts";
import { isLost } from "../store/offline/objects.ts";

/** Functions that a worker registers as activities, by name. */
type Activities = Readonly<Record<string, (...args: never[]) => Promise<unknown>>>;

/**
 * The failure of an error: type = code, details = [its details], and no retry where the registry
 * says that one cannot help, or this attempt must be the last. Anything but an `OnceflowError` (a
 * cancellation, say) stays as it is.
 */
export function toFailure(thrown: unknown, isLast = false): unknown {
  if (!(thrown instanceof OnceflowError)) return thrown;
  const { code, message, details, retryable, cause } = thrown;
  const failure = ApplicationFailure.create({
    type: code,
    message,
    details: [details],
    nonRetryable: isLast || !retryable,
    ...(cause instanceof Error ? { cause } : {}),
    ...(code === "FINGERPRINT_UNKNOWN" ? askAgainSoon() : {}),
  });
  // Where it happened, not where it was turned.
  if (thrown.stack !== undefined) failure.stack = thrown.stack;
  return failure;
}

/** A worker of another build is about to take it, and that this one does not is no fault. */
function askAgainSoon() {
  const attempt = asyncLocalStorage.getStore()?.info.attempt ?? 1;
  return {
    nextRetryDelay: Math.min(attempt * 250, longestHandOverMs),
    category: ApplicationFailureCategory.BENIGN,
  };
}

const longestHandOverMs = 5_000;

/**
 * What another attempt cannot help, though its code says that it may: the files of a run are settled
 * by its plan, so the workflow plans again; whoever wants a training set is there to mend what it lacks.
 */
const lasting: Readonly<Record<string, readonly ErrorCode[]>> = {
  readSlice: ["SOURCE_CHANGED", "SOURCE_MISSING"],
  commitRun: ["SOURCE_CHANGED"],
  buildTrainingSet: ["NO_SNAPSHOT"],
};

/** The steps of a run after its plan, and the publish; files of them that are lost do not come back. */
const planned = [
  "readSlice",
  "validateRun",
  "commitRun",
  "fillAggregates",
  "recordCommit",
  "publishView",
];

/** Whether an attempt of an activity must be its last. */
function isLasting(name: string, thrown: unknown): boolean {
  if (!(thrown instanceof OnceflowError)) return false;
  if (lasting[name]?.includes(thrown.code) === true) return true;
  if (!planned.includes(name) || !isLost(thrown)) return false;
  // A disk that is away for a moment looks the same.
  return (asyncLocalStorage.getStore()?.info.attempt ?? 1) >= unforeseenAttempts;
}

/** Attempts of an activity that fails for a reason that nobody foresaw. */
const unforeseenAttempts = 5;

/** Stops retrying what is no known failure: a defect of ours does not mend itself. */
function withLimit(failure: unknown): unknown {
  const attempt = asyncLocalStorage.getStore()?.info.attempt ?? 1;
  const isKnown =
    failure instanceof CancelledFailure ||
    (failure instanceof ApplicationFailure && failure.type !== "INTERNAL") ||
    (failure instanceof Error && failure.name === "AbortError");
  if (isKnown || attempt < unforeseenAttempts) return failure;
  return ApplicationFailure.create({
    type: "INTERNAL",
    message: messageOf(failure),
    nonRetryable: true,
    ...(failure instanceof Error ? { cause: failure } : {}),
  });
}

/**
 * The same activities, their errors turned by `toFailure`. Those of `users` are retried whatever
 * they throw: what is unforeseen to us, such as a service that is down, is not to them.
 */
export function withFailures<A extends Activities>(activities: A, by: "us" | "users" = "us"): A {
  const wrapped = Object.entries(activities as Activities).map(([name, activity]) => [
    name,
    async (...args: never[]) => {
      try {
        return await activity(...args);
      } catch (error) {
        if (by === "users") throw toFailure(error);
        throw withLimit(toFailure(error, isLasting(name, error)));
      }
    },
  ]);
  return Object.fromEntries(wrapped) as A;
}
