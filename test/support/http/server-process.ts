/** Real processes of server.ts, with all that they print. */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../", import.meta.url));

/** A server process, or the first of several. */
export interface RunningServer {
  readonly child: ChildProcess;
  readonly out: () => string;
  readonly errors: () => string;
  /** Its exit code, null where a signal ended it. */
  readonly exit: Promise<number | null>;
  /** The address that it says it listens on; fails where it ends first. */
  readonly listening: () => Promise<string>;
  /** Pids of the processes that it has started; needs `hasProc`. */
  readonly workers: () => number[];
  readonly kill: () => Promise<void>;
}

/** Another program than server.ts of this repository in one process. */
export interface ServerProgram {
  /** An executable; Node with tsx unless given. */
  readonly command?: string;
  readonly args?: readonly string[];
  readonly cwd?: string;
}

/** Starts a server on any free port; it ends with the tests at the latest. */
export function startServer(
  env: Readonly<Record<string, string>>,
  { command, args = ["server.ts", "--processes", "1"], cwd = root }: ServerProgram = {},
): RunningServer {
  const child = spawn(
    command ?? process.execPath,
    command === undefined ? ["--import", "tsx", ...args] : args,
    { cwd, env: { ...process.env, PORT: "0", ...env } },
  );
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
        if (child.exitCode !== null || child.signalCode !== null) assert.fail(errors);
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

/** Whether the system tells of processes as Linux does. */
export const hasProc = existsSync("/proc/self");

/** Resident memory of a process, MB; NaN where the system does not tell. */
export function memoryMb(pid: number | undefined): number {
  if (!hasProc) return NaN;
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
}
