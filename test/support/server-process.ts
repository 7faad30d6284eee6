/** Real processes of server.ts, with all that they print. */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";

/** A server process, or the first of several. */
export interface RunningServer {
  readonly child: ChildProcess;
  readonly out: () => string;
  readonly errors: () => string;
  /** Its exit code, null where a signal ended it. */
  readonly exit: Promise<number | null>;
  /** The address that it says it listens on; fails where it ends first. */
  readonly listening: () => Promise<string>;
  /** Pids of the processes that it has started. */
  readonly workers: () => number[];
  readonly kill: () => Promise<void>;
}

/** Starts server.ts, on any free port, in one process unless the arguments say otherwise. */
export function startServer(
  env: Readonly<Record<string, string>>,
  args: readonly string[] = ["server.ts", "--processes", "1"],
): RunningServer {
  const child = spawn(process.execPath, ["--import", "tsx", ...args], {
    env: { ...process.env, PORT: "0", ...env },
  });
  const endWithTests = () => child.kill("SIGKILL");
  process.once("exit", endWithTests);
  let [out, errors] = ["", ""];
  child.stdout.on("data", (chunk) => (out += String(chunk)));
  child.stderr.on("data", (chunk) => (errors += String(chunk)));
  const exit = once(child, "close").then(([code]) => {
    process.off("exit", endWithTests);
    return code as number | null;
  });
  return {
    child,
    out: () => out,
    errors: () => errors,
    exit,
    async listening() {
      for (;;) {
        const match = /^onceflow http listening on (http:\S+)\n/m.exec(out);
        if (match?.[1] !== undefined) return match[1];
        if (child.exitCode !== null) assert.fail(errors);
        await Promise.race([once(child.stdout, "data"), once(child, "exit")]);
      }
    },
    workers: () =>
      readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8")
        .split(" ")
        .filter(Boolean)
        .map(Number),
    async kill() {
      child.kill("SIGKILL");
      await exit;
    },
  };
}

/** Resident memory of a process, MB. */
export function memoryMb(pid: number | undefined): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
}
