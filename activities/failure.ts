/** How errors leave an activity: as Temporal failures that carry the code of the registry. */
import { ApplicationFailure } from "@temporalio/common";
import { OnceflowError } from "../engine/errors.ts";

/** Functions that a worker registers as activities, by name. */
type Activities = Readonly<Record<string, (...args: never[]) => Promise<unknown>>>;

/**
 * The failure of an error: type = code, details = [its details], and no retry where the registry
 * says that one cannot help. Anything but an `OnceflowError` (a cancellation, say) stays as it is.
 */
export function toFailure(thrown: unknown): unknown {
  if (!(thrown instanceof OnceflowError)) return thrown;
  const { code, message, details, retryable, cause } = thrown;
  const failure = ApplicationFailure.create({
    type: code,
    message,
    details: [details],
    nonRetryable: !retryable,
    ...(cause instanceof Error ? { cause } : {}),
  });
  // Where it happened, not where it was turned.
  if (thrown.stack !== undefined) failure.stack = thrown.stack;
  return failure;
}

/** The same activities, their errors turned by `toFailure`. */
export function withFailures<A extends Activities>(activities: A): A {
  const wrapped = Object.entries(activities as Activities).map(([name, activity]) => [
    name,
    async (...args: never[]) => {
      try {
        return await activity(...args);
      } catch (error) {
        throw toFailure(error);
      }
    },
  ]);
  return Object.fromEntries(wrapped) as A;
}
