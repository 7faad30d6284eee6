/** What something fails with. */
import assert from "node:assert/strict";
import { type ErrorCode, OnceflowError } from "../../engine/errors.ts";

/** The coded error that something fails with. */
export async function failureOf(run: () => unknown): Promise<OnceflowError> {
  try {
    await run();
  } catch (error) {
    if (error instanceof OnceflowError) return error;
    throw error;
  }
  throw new Error("nothing failed");
}

/**
 * Asserts that the work rejects with a coded error whose message has all of these parts.
 *
 * @returns that error
 */
export async function failsWith(
  work: Promise<unknown>,
  code: ErrorCode,
  ...parts: readonly RegExp[]
): Promise<OnceflowError> {
  const error = await failureOf(() => work);
  assert.equal(error.code, code, error.message);
  for (const part of parts) assert.match(error.message, part);
  return error;
}

/** Asserts the same of work that waits for nothing: it has rejected when this turn is over. */
export async function failsAtOnce(work: Promise<unknown>, code: ErrorCode): Promise<void> {
  const turnEnds = new Promise((resolve) => setImmediate(resolve));
  const ended = Promise.race([work, turnEnds.then(() => assert.fail("it waits for something"))]);
  await failsWith(ended, code);
}
