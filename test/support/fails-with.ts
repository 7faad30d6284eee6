/** Asserts that something fails as it should. */
import assert from "node:assert/strict";
import { type ErrorCode, OnceflowError } from "../../engine/errors.ts";

/** Asserts that the work rejects with a coded error whose message has all of these parts. */
export async function failsWith(
  work: Promise<unknown>,
  code: ErrorCode,
  ...parts: readonly RegExp[]
): Promise<void> {
  await assert.rejects(work, (error) => {
    assert.ok(error instanceof OnceflowError, String(error));
    assert.equal(error.code, code, error.message);
    for (const part of parts) assert.match(error.message, part);
    return true;
  });
}
