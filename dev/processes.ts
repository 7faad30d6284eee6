/** Child processes that end with this one, each with its output in a log file. */
import { spawn, type ChildProcess } from "node:child_process";
import { accessSync, closeSync, constants, openSync, readFileSync, statSync } from "node:fs";
import { createServer, type AddressInfo, type Server } from "node:net";
import { delimiter, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import { OnceflowError, reasonOf } from "../engine/errors.ts";
import { forgetGroup, guardGroup, isStopping, own, type Release } from "./owned.ts";

/** What to run, and how to tell that it is ready. */
export interface ProcessOptions {
  /** What it is for people, as in `the worker`. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Gets stdout and stderr, appended; `ready` and `tail` see what this process wrote. */
  readonly logFile: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Asked every 50 ms with the log so far; an error means not yet. Absent: ready at once. */
  readonly ready?: (log: string, pid: number) => boolean | Promise<boolean>;
  /** Default 60 000. */
  readonly readyTimeoutMs?: number;
  /** Time between SIGTERM and SIGKILL, default 10 000. */
  readonly graceMs?: number;
  /** Must not be interrupted: `stop` and signals wait for its own end. */
  readonly uninterruptible?: boolean;
}

/** A running child and its process group. */
export interface OwnedProcess {
  /** As in its options. */
  readonly name: string;
  readonly pid: number;
  readonly logFile: string;
  /** Resolves when it has ended, to a phrase such as `exit status 1`. */
  readonly exited: Promise<string>;
  readonly isRunning: () => boolean;
  /** @throws SETUP_FAILED with the tail of the log when it has ended. */
  readonly assertRunning: () => void;
  /** The last lines of the log. */
  readonly tail: (lines?: number) => string;
  /** Ends the whole group: SIGTERM, then SIGKILL. Safe to call again. */
  readonly stop: Release;
}

const pollMs = 50;
/** Ports that this process has chosen: another start may be about to listen on them. */
const chosenPorts = new Set<number>();

/**
 * Starts a process in a group of its own and waits until it is ready.
 *
 * @throws SETUP_FAILED with the tail of the log when it ends first, or is not ready in time.
 */
export async function startProcess(options: ProcessOptions): Promise<OwnedProcess> {
  if (isStopping()) throw new OnceflowError("SETUP_FAILED", "This process is being stopped.");
  const readLog = openLog(options.logFile);
  const child = spawnLogged(options);
  const running = ownChild(child, options, readLog);
  try {
    await waitUntilReady(running, options, readLog);
  } catch (error) {
    await running.stop();
    throw error;
  }
  child.unref();
  return running;
}

/**
 * Runs a process to its end, calling `onLog` with the log so far about twice a second.
 *
 * @throws SETUP_FAILED with the tail of the log unless it ends with status 0.
 */
export async function runProcess(
  options: Omit<ProcessOptions, "ready" | "readyTimeoutMs">,
  onLog: (log: string) => void = () => undefined,
): Promise<void> {
  const readLog = openLog(options.logFile);
  const running = await startProcess(options);
  // Also keeps the event loop alive while the child runs.
  const timer = setInterval(() => onLog(readLog()), 500);
  try {
    const end = await running.exited;
    if (end !== "exit status 0") throw failure(options, running, `ended with ${end}`);
  } finally {
    clearInterval(timer);
  }
}

/**
 * Stays, and keeps this process alive, for as long as all of the processes run.
 *
 * @throws SETUP_FAILED once one has ended: which, how, and the tail of its log
 */
export async function stayWhile(processes: readonly OwnedProcess[]): Promise<never> {
  // Children do not keep the event loop alive.
  const timer = setInterval(() => undefined, 2 ** 30);
  try {
    const { ended, end } = await Promise.race(
      processes.map(async (ended) => ({ ended, end: await ended.exited })),
    );
    throw new OnceflowError(
      "SETUP_FAILED",
      `${ended.name} ended with ${end}, so all else is stopped. ${endOfLog(ended)}`,
    );
  } finally {
    clearInterval(timer);
  }
}

/** Finds an executable on the PATH of `env`. */
export function findOnPath(name: string, env: NodeJS.ProcessEnv = process.env): string | undefined {
  for (const folder of (env["PATH"] ?? "").split(delimiter)) {
    const candidate = join(folder, name);
    try {
      if (folder === "" || !statSync(candidate).isFile()) continue;
      accessSync(candidate, constants.X_OK);
      return candidate;
    } catch {
      continue;
    }
  }
  return undefined;
}

/**
 * Finds `count` different TCP ports that are free on 127.0.0.1 now, and that it has not given out
 * before; another process may take one first.
 */
export async function findFreePorts(count: number): Promise<number[]> {
  const servers: Server[] = [];
  const ports: number[] = [];
  while (ports.length < count) {
    const server = await listen(0);
    servers.push(server);
    const { port } = server.address() as AddressInfo;
    if (!chosenPorts.has(port)) ports.push(port);
    chosenPorts.add(port);
  }
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Whether a TCP port of 127.0.0.1 can be listened on now. */
export async function isFreePort(port: number): Promise<boolean> {
  try {
    const server = await listen(port);
    await new Promise((resolve) => server.close(resolve));
    return true;
  } catch {
    return false;
  }
}

/** Runs `start` again, with other ports, when its process lost the race for one of them. */
export async function retryPorts<T>(start: () => Promise<T>): Promise<T> {
  for (let triesLeft = 4; ; triesLeft--) {
    try {
      return await start();
    } catch (error) {
      if (!isPortTaken(error) || triesLeft === 0 || isStopping()) throw error;
    }
  }
}

/** Whether a process failed because another had taken its port. */
export function isPortTaken(error: unknown): boolean {
  return error instanceof OnceflowError && error.details["portTaken"] === true;
}

/** A log file, from where one process began to write to it. */
type ReadLog = () => string;

function openLog(path: string): ReadLog {
  const start = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  return () => {
    try {
      return readFileSync(path).toString("utf8", start);
    } catch {
      return "";
    }
  };
}

function spawnLogged(options: ProcessOptions): ChildProcess {
  const log = openSync(options.logFile, "a");
  try {
    return spawn(options.command, [...options.args], {
      stdio: ["ignore", log, log],
      // A group of its own: Ctrl-C in the terminal reaches us alone, and we choose the order.
      detached: true,
      ...(options.env === undefined ? {} : { env: options.env }),
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
  } finally {
    closeSync(log);
  }
}

function ownChild(child: ChildProcess, options: ProcessOptions, readLog: ReadLog): OwnedProcess {
  const pid = child.pid ?? -1;
  let isRunning = pid > 0;
  const exited = new Promise<string>((resolve) => {
    child.once("error", (error) => {
      isRunning = false;
      resolve(error.message);
    });
    child.once("exit", (status, signal) => {
      isRunning = false;
      // Whatever the leader left behind in its group goes with it.
      signalGroup(pid, "SIGKILL");
      forgetGroup(pid);
      resolve(signal === null ? `exit status ${status ?? 0}` : `signal ${signal}`);
    });
  });
  const isInterruptible = options.uninterruptible !== true;
  if (isRunning && isInterruptible) guardGroup(pid);
  const stop = own(async () => {
    if (!isRunning) return;
    child.ref();
    if (isInterruptible) {
      signalGroup(pid, "SIGTERM");
      const kill = setTimeout(() => signalGroup(pid, "SIGKILL"), options.graceMs ?? 10_000);
      await exited;
      clearTimeout(kill);
    } else {
      await exited;
    }
  });
  let end = "";
  void exited.then((how) => {
    end = how;
    return stop();
  });
  const running: OwnedProcess = {
    name: options.name,
    pid,
    logFile: options.logFile,
    exited,
    isRunning: () => isRunning,
    assertRunning() {
      if (!isRunning) throw failure(options, running, `ended with ${end}`);
    },
    tail: (lines = 15) => readLog().trimEnd().split("\n").slice(-lines).join("\n"),
    stop,
  };
  return running;
}

async function waitUntilReady(
  running: OwnedProcess,
  options: ProcessOptions,
  readLog: ReadLog,
): Promise<void> {
  const timeoutMs = options.readyTimeoutMs ?? 60_000;
  const deadlineMs = Date.now() + timeoutMs;
  let lastError: unknown;
  if (options.ready === undefined && running.pid > 0) return;
  for (;;) {
    if (!running.isRunning() || running.pid < 0) {
      throw failure(options, running, `ended with ${await running.exited}`);
    }
    try {
      if (await options.ready?.(readLog(), running.pid)) {
        // The answer may be that of a stranger on the same port.
        if (running.isRunning()) return;
      }
    } catch (error) {
      lastError = error;
    }
    if (Date.now() > deadlineMs) {
      const why = lastError === undefined ? "" : `: ${reasonOf(lastError)}`;
      throw failure(options, running, `was not ready after ${timeoutMs / 1000} s${why}`);
    }
    await pause(pollMs);
  }
}

function failure(options: ProcessOptions, running: OwnedProcess, what: string): OnceflowError {
  return new OnceflowError("SETUP_FAILED", `${options.name} ${what}. ${endOfLog(running)}`, {
    command: [options.command, ...options.args],
    portTaken: /address already in use|EADDRINUSE/i.test(running.tail()),
  });
}

/** In words; a log in a temporary folder goes with it. */
function endOfLog({ logFile, tail }: OwnedProcess): string {
  const lines = tail();
  return lines === "" ? `It wrote nothing to ${logFile}.` : `The end of ${logFile}:\n${lines}`;
}

function signalGroup(pid: number, signal: "SIGTERM" | "SIGKILL"): void {
  if (pid <= 0) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // It has ended.
  }
}

function listen(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}
