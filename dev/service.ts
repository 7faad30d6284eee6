/** What starting Redis and starting Temporal have in common. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import type { Progress } from "../cli/progress.ts";
import { OnceflowError } from "../engine/errors.ts";
import { takeLock } from "./lock.ts";
import { ownTemporaryDirectory, type Release } from "./owned.ts";
import { findFreePorts, isFreePort } from "./processes.ts";

/** How services are started. */
export interface ServiceOptions {
  /** Default: to stderr. */
  readonly progress?: Progress;
  /** Keeps the data; absent, it goes to a temporary directory and is removed by `stop`. */
  readonly dataDir?: string;
  /** Default `process.env`. */
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * Makes the directory of one service: a temporary one, or `dataDir/purpose`, which this process
 * then holds alone until it releases it.
 *
 * @throws SETUP_FAILED where another process holds it.
 */
export async function openServiceDirectory(
  purpose: string,
  dataDir: string | undefined,
): Promise<{ path: string; release: Release }> {
  if (dataDir === undefined) return ownTemporaryDirectory(purpose);
  const path = join(dataDir, purpose);
  await mkdir(path, { recursive: true });
  let holder = "";
  const release = await takeLock(join(path, "lock"), (who) => {
    holder = who;
    return true;
  });
  if (release !== undefined) return { path, release };
  throw new OnceflowError(
    "SETUP_FAILED",
    `${path} is in use by ${holder}. Use what that process has started, stop it, or choose ` +
      `another directory. If it no longer exists, remove ${join(path, "lock")}.`,
  );
}

/**
 * Chooses free ports for a service, where possible those of the last start in its directory, so
 * that its addresses stay; `moved` tells that they could not.
 */
export async function choosePorts(
  directory: string,
  count: number,
): Promise<{ ports: number[]; moved: boolean }> {
  const file = join(directory, "ports.json");
  const last = await readPorts(file);
  if (last.length === count && (await Promise.all(last.map(isFreePort))).every(Boolean)) {
    return { ports: last, moved: false };
  }
  const ports = await findFreePorts(count);
  await writeFile(file, JSON.stringify(ports));
  return { ports, moved: last.length > 0 };
}

async function readPorts(file: string): Promise<number[]> {
  try {
    const ports: unknown = JSON.parse(await readFile(file, "utf8"));
    return Array.isArray(ports) ? ports.filter((port) => typeof port === "number") : [];
  } catch {
    return [];
  }
}
