/**
 * What this process owns on the machine (process groups, temporary directories, locks) and how it
 * goes away again: by `release`, by a signal, or, where this process dies without a word, by the
 * undertaker, a shell that waits for the end of its standard input.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";

import { messageOf } from "../engine/errors.ts";

/** Gives up something owned. Calling it again waits for the same end. */
export type Release = () => Promise<void>;

const releases: Release[] = [];
let undertaker: ChildProcess | undefined;
let stoppingSinceMs: number | undefined;

/** One Ctrl-C may arrive twice: from the terminal, and passed on by npm. */
const oneKeyPressMs = 1_000;

/**
 * Reads lines `group ID`, `path PATH`, and `forget` with either. When its input ends, so has its
 * parent: it ends the groups that are left, first gently, and then removes the paths.
 */
const undertakerScript = `
trap '' INT TERM HUP
groups=''
while read -r verb value; do
  case $verb in
    group) groups="$groups $value" ;;
    path) set -- "$@" "$value" ;;
    forget) left=''
      for g in $groups; do [ "$g" = "$value" ] || left="$left $g"; done
      groups=$left
      count=$#
      while [ $count -gt 0 ]; do
        [ "$1" = "$value" ] || set -- "$@" "$1"
        shift
        count=$((count - 1))
      done ;;
  esac
done
for g in $groups; do kill -s TERM -- "-$g"; done
tries=0
while [ $tries -lt 100 ]; do
  alive=''
  for g in $groups; do kill -s 0 -- "-$g" && alive=yes; done
  [ -z "$alive" ] && break
  sleep 0.1 || sleep 1
  tries=$((tries + 1))
done
for g in $groups; do kill -s KILL -- "-$g"; done
[ $# -eq 0 ] || rm -rf -- "$@"
`;

/**
 * Registers something to be given up when the caller calls the result, or when a signal ends this
 * process; the newest goes first. The first call installs the signal handlers.
 */
export function own(giveUp: () => Promise<void>): Release {
  startUndertaker();
  let ended: Promise<void> | undefined;
  const release: Release = () => {
    ended ??= giveUp().finally(() => {
      const at = releases.indexOf(release);
      if (at >= 0) releases.splice(at, 1);
    });
    return ended;
  };
  releases.push(release);
  return release;
}

/** Gives up everything that is owned, newest first. A failure is told and does not end the rest. */
export async function releaseAll(): Promise<void> {
  for (let release = releases.at(-1); release !== undefined; release = releases.at(-1)) {
    try {
      await release();
    } catch (error) {
      process.stderr.write(`While stopping: ${messageOf(error)}\n`);
    }
  }
}

/** Whether a signal is ending this process, so that failures of what it stops are no news. */
export function isStopping(): boolean {
  return stoppingSinceMs !== undefined;
}

/** Registers a path: it is removed by the result, by a signal, or after the death of this process. */
export function ownPath(path: string): Release {
  const release = own(async () => {
    await rm(path, { recursive: true, force: true, maxRetries: 3 });
    // The next owner of the same path may be another process.
    tellUndertaker(`forget ${path}`);
  });
  tellUndertaker(`path ${path}`);
  return release;
}

/** Makes a fresh temporary directory that this process owns. */
export function ownTemporaryDirectory(purpose: string): { path: string; release: Release } {
  const path = mkdtempSync(join(tmpdir(), `onceflow-${purpose}-`));
  return { path, release: ownPath(path) };
}

/** Has the undertaker end a process group, should this process die first. */
export function guardGroup(groupId: number): void {
  tellUndertaker(`group ${groupId}`);
}

/** Tells the undertaker that a process group has ended. */
export function forgetGroup(groupId: number): void {
  tellUndertaker(`forget ${groupId}`);
}

function tellUndertaker(line: string): void {
  startUndertaker().stdin?.write(`${line}\n`);
}

function startUndertaker(): ChildProcess {
  if (undertaker !== undefined) return undertaker;
  // A session of its own: neither Ctrl-C nor the end of the terminal reaches it.
  const child = spawn("/bin/sh", ["-c", undertakerScript, "onceflow-undertaker"], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
    cwd: "/",
    env: { PATH: `${process.env["PATH"] ?? ""}:/usr/bin:/bin` },
  });
  child.on("error", () => undefined);
  child.stdin.on("error", () => undefined);
  child.unref();
  // The pipe must not keep the process alive; the types do not know that it is a socket.
  (child.stdin as unknown as { unref(): void }).unref();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => endBySignal(signal));
  }
  undertaker = child;
  return child;
}

function endBySignal(signal: "SIGINT" | "SIGTERM" | "SIGHUP"): void {
  const status = 128 + constants.signals[signal];
  if (stoppingSinceMs === undefined) {
    stoppingSinceMs = Date.now();
    void releaseAll().finally(() => process.exit(status));
  } else if (Date.now() - stoppingSinceMs > oneKeyPressMs) {
    // A second Ctrl-C means now: the undertaker does what is left.
    process.exit(status);
  }
}
