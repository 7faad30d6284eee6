/** Finds processes that a process under test has started. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** The children of a process whose program is called so. */
export async function childrenOf(parent: number, name: RegExp): Promise<number[]> {
  const { stdout } = await promisify(execFile)("ps", ["-A", "-o", "pid=,ppid=,comm="]);
  return stdout
    .split("\n")
    .map((line) => /^ *(\d+) +(\d+) +(.*)$/.exec(line) ?? [])
    .filter(([, , ppid, comm = ""]) => Number(ppid) === parent && name.test(comm))
    .map(([, pid]) => Number(pid));
}

/** The only one. */
export async function childOf(parent: number, name: RegExp): Promise<number> {
  const [found, ...others] = await childrenOf(parent, name);
  assert.ok(found !== undefined, `${parent} has no child ${name.source}`);
  assert.deepEqual(others, []);
  return found;
}
