/** A lock file: one holder at a time, on one machine. */
import { open, readFile, rm } from "node:fs/promises";
import { hostname } from "node:os";
import { setTimeout as pause } from "node:timers/promises";

import { ownPath, type Release } from "./owned.ts";

const pollMs = 200;
/** After its holder's death the undertaker may still be at work on what the lock protects. */
const deadHolderMs = 15_000;

/**
 * Takes a lock, or returns undefined once `giveUp(holder)` says so; it is asked again and again
 * while a live process holds the lock. The lock of a dead process is taken over.
 */
export async function takeLock(
  path: string,
  giveUp: (holder: string) => boolean,
): Promise<Release | undefined> {
  let deadSinceMs: number | undefined;
  for (;;) {
    try {
      const file = await open(path, "wx");
      const release = ownPath(path);
      await file.writeFile(`process ${process.pid} on ${hostname()}\n`);
      await file.close();
      return release;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const holder = await readHolder(path);
    if (isAlive(holder)) {
      deadSinceMs = undefined;
      if (giveUp(holder)) return undefined;
    } else {
      deadSinceMs ??= Date.now();
      if (Date.now() - deadSinceMs > deadHolderMs) await rm(path, { force: true });
    }
    await pause(pollMs);
  }
}

async function readHolder(path: string): Promise<string> {
  try {
    return (await readFile(path, "utf8")).trim();
  } catch {
    return "";
  }
}

function isAlive(holder: string): boolean {
  const [, pid, host] = /^process (\d+) on (.*)$/.exec(holder) ?? [];
  if (pid === undefined) return false;
  // Another machine's processes cannot be asked after: let a person decide.
  if (host !== hostname()) return true;
  try {
    process.kill(Number(pid), 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
