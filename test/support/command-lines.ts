/** Command lines that messages give people to paste. */
import assert from "node:assert/strict";
import { invocation } from "../../engine/invocation.ts";

const command = /^[a-z-]+( [a-z_]+)?( --[a-z-]+( [\w:.-]+)?)*$/;

/** Whether a fix is nothing but commands of the CLI. */
export function assertRuns(fix: string | null): void {
  for (const line of fix?.split(" && ") ?? []) {
    assert.ok(line.startsWith(`${invocation} `), line);
    assert.match(line.slice(invocation.length + 1), command);
  }
}
