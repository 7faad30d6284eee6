/**
 * One process per core: the first process starts the others, starts again those that die, and ends
 * all of them together. They share one port, and each is a whole HTTP service.
 */
import type { Worker } from "node:cluster";
import cluster from "node:cluster";
import { setTimeout as pause } from "node:timers/promises";
import { OnceflowError } from "../../engine/errors.ts";
import { closeUntaken } from "./handovers.ts";

/** How processes that die are started again. */
export interface RestartLimits {
  /** Pause before the first restart; each that follows soon waits twice as long. */
  readonly firstPauseMs: number;
  readonly longestPauseMs: number;
  /** A process that has listened for so long is sound. */
  readonly soundAfterMs: number;
  /**
   * Ends of processes that were not sound, one after the other, until all is given up; where one has
   * ever been sound the others serve on, and it is tried for ever.
   */
  readonly mostFailures: number;
}

const restartLimits: RestartLimits = {
  firstPauseMs: 100,
  longestPauseMs: 5_000,
  soundAfterMs: 10_000,
  mostFailures: 8,
};

export interface ProcessesOptions {
  readonly processes: number;
  /** Called once, when all listen. */
  readonly onListening: (address: string) => void;
  /** Told in one line of each process that ended, and of each that took the place of one. */
  readonly onRestart: (line: string) => void;
  readonly restarts?: Partial<RestartLimits>;
}

/** All processes of one service. */
export interface Processes {
  /**
   * Resolves when all have ended: whether each has ended well.
   *
   * @throws SERVER_CRASHED where processes kept dying and none was ever sound; the others were
   *   drained first
   */
  readonly ended: Promise<boolean>;
  /** Lets all finish what they have begun, each after going on for `delayMs`. */
  readonly drain: (delayMs: number) => void;
  /** Ends all at once. */
  readonly kill: () => void;
}

/** What the processes tell each other. */
type Message =
  | { readonly onceflow: "listening"; readonly address: string }
  | { readonly onceflow: "drain"; readonly delayMs: number };

/** Is in the environment of a process that was started when another one listened already. */
const laterVariable = "ONCEFLOW_LATER_PROCESS";

/** Starts one process, and once it listens the others: what is wrong is then said only once. */
export function startProcesses(options: ProcessesOptions): Processes {
  const { processes, onListening, onRestart } = options;
  const limits = { ...restartLimits, ...options.restarts };
  const alive = new Set<Worker>();
  /** When each process that listens is sound. */
  const listening = new Map<Worker, number>();
  const stop = new AbortController();
  let address: string | undefined;
  let isAnnounced = false;
  let failures = 0;
  let wasSound = false;
  let endedWell = true;
  let crashed: OnceflowError | undefined;
  let draining: Message | undefined;
  let settle: () => void;

  const start = (): void => {
    const worker = cluster.fork(address === undefined ? {} : { [laterVariable]: "true" });
    closeUntaken(worker);
    alive.add(worker);
    worker.on("message", (message: Message) => {
      if (message.onceflow !== "listening") return;
      listening.set(worker, performance.now() + limits.soundAfterMs);
      if (address === undefined) {
        address = message.address;
        // Of port 0 all get the same one.
        for (let i = 1; i < processes && !draining; i++) start();
      }
      if (listening.size === processes && !isAnnounced) {
        isAnnounced = true;
        onListening(address);
      } else if (isAnnounced) onRestart(`process ${worker.process.pid} listens in its place`);
    });
    worker.on("exit", (code, signal: NodeJS.Signals | null) => {
      const nowMs = performance.now();
      const isSound = nowMs >= (listening.get(worker) ?? Infinity);
      wasSound ||= [...listening.values()].some((soundAtMs) => nowMs >= soundAtMs);
      alive.delete(worker);
      listening.delete(worker);
      if (draining || address === undefined) {
        endedWell &&= code === 0;
        if (alive.size === 0) settle();
        return;
      }
      failures = isSound ? 1 : failures + 1;
      const end = `process ${worker.process.pid} ended with ${signal ?? `code ${code}`}`;
      if (failures > limits.mostFailures && !wasSound) {
        crashed = new OnceflowError(
          "SERVER_CRASHED",
          `${end}, the ${failures}th time in a row that one ended so soon. Its last lines say why.`,
        );
        return drain(0);
      }
      const pauseMs = Math.min(limits.firstPauseMs * 2 ** (failures - 1), limits.longestPauseMs);
      onRestart(`${end}; another starts in ${pauseMs} ms`);
      void pause(pauseMs, undefined, { signal: stop.signal }).then(start, () => undefined);
    });
  };

  const drain = (delayMs: number): void => {
    draining = { onceflow: "drain", delayMs };
    stop.abort();
    for (const worker of alive) if (worker.isConnected()) worker.send(draining);
    if (alive.size === 0) settle();
  };

  const ended = new Promise<void>((resolve) => (settle = resolve)).then(() => {
    if (crashed) throw crashed;
    return endedWell;
  });
  start();
  return {
    ended,
    drain,
    kill() {
      for (const worker of alive) worker.process.kill("SIGKILL");
    },
  };
}

/** What a process that was started so has in place of signals and a terminal. */
export const ownProcess = {
  /** Whether another one listened before this one was started, so that all is configured rightly. */
  isLater: () => process.env[laterVariable] !== undefined,
  sayListening(address: string): void {
    process.send?.({ onceflow: "listening", address } satisfies Message);
  },
  onDrain(drain: (delayMs: number) => void): void {
    // A terminal sends signals to every process; the first one decides.
    for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => undefined);
    process.on("message", (message: Message) => {
      if (message.onceflow === "drain") drain(message.delayMs);
    });
  },
};
