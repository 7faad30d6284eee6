/** Builds the pinned Temporal server and its UI with Go, once for a user of the machine. */
import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";

import type { Detail, Progress } from "../cli/progress.ts";
import { ownPath } from "./owned.ts";
import { takeLock } from "./lock.ts";
import { runProcess } from "./processes.ts";

/** Where the two programs are. */
export interface TemporalBinaries {
  readonly server: string;
  readonly ui: string;
}

/** A Go program and what building it takes. */
interface Program {
  readonly name: string;
  readonly module: string;
  readonly version: string;
  readonly takes: string;
}

/** The newest releases that `go install` can build; the CLI's newest cannot be built so. */
const programs = {
  server: {
    name: "temporal-server",
    module: "go.temporal.io/server/cmd/server",
    version: "v1.32.1",
    takes: "4 to 7 minutes",
  },
  ui: {
    name: "temporal-ui",
    module: "github.com/temporalio/ui-server/v2/cmd/server",
    version: "v2.55.0",
    takes: "half a minute",
  },
} as const satisfies Record<string, Program>;

/** The programs in the cache, or undefined where one has yet to be built. */
export function findTemporalBinaries(env: NodeJS.ProcessEnv): TemporalBinaries | undefined {
  const binaries = {
    server: cachedPath(programs.server, env),
    ui: cachedPath(programs.ui, env),
  };
  return existsSync(binaries.server) && existsSync(binaries.ui) ? binaries : undefined;
}

/**
 * Builds what the cache lacks with `go install`. Of two that ask at once, one builds and the other
 * waits for it.
 *
 * @throws SETUP_FAILED with the end of the build's log.
 */
export async function buildTemporalBinaries(
  go: string,
  env: NodeJS.ProcessEnv,
  progress: Progress,
): Promise<TemporalBinaries> {
  for (const program of [programs.server, programs.ui]) {
    const path = cachedPath(program, env);
    if (existsSync(path)) continue;
    await progress.step(
      `Temporal: building ${program.name} ${program.version} with Go, once, in ${program.takes}`,
      (detail) => buildLocked(program, path, go, env, detail),
      () => `Temporal: built ${path}`,
    );
  }
  return { server: cachedPath(programs.server, env), ui: cachedPath(programs.ui, env) };
}

async function buildLocked(
  program: Program,
  path: string,
  go: string,
  env: NodeJS.ProcessEnv,
  detail: Detail,
): Promise<void> {
  await mkdir(cacheFolder(env), { recursive: true });
  const release = await takeLock(`${path}.lock`, (holder) => {
    detail(`${holder} is building it; waiting`);
    return false;
  });
  try {
    if (!existsSync(path)) await build(program, path, go, env, detail);
  } finally {
    await release?.();
  }
}

async function build(
  program: Program,
  path: string,
  go: string,
  env: NodeJS.ProcessEnv,
  detail: Detail,
): Promise<void> {
  const folder = `${path}.${process.pid}.build`;
  const logFile = `${path}.log`;
  await rm(logFile, { force: true });
  await mkdir(folder, { recursive: true });
  const release = ownPath(folder);
  try {
    await runProcess(
      {
        name: "go install",
        command: go,
        // Without its debug tables the server is a third smaller.
        args: ["install", "-v", "-ldflags=-s -w", `${program.module}@${program.version}`],
        env: { ...env, GOBIN: folder },
        cwd: folder,
        logFile,
      },
      (log) => detail(describeBuild(log)),
    );
    await rename(join(folder, "server"), path);
  } finally {
    await release();
  }
}

/** What `go install -v` does now: it names each module that it fetches and package it compiles. */
function describeBuild(log: string): string {
  const lines = log.trimEnd().split("\n");
  const last = lines.at(-1) ?? "";
  if (last.startsWith("go: ")) return last.slice("go: ".length);
  const compiled = lines.filter((line) => line !== "" && !line.startsWith("go: ")).length;
  return compiled === 0 ? "reading the cache of Go" : `package ${compiled}, ${last}`;
}

function cachedPath(program: Program, env: NodeJS.ProcessEnv): string {
  return join(cacheFolder(env), `${program.name}-${program.version}`);
}

function cacheFolder(env: NodeJS.ProcessEnv): string {
  const base = env["XDG_CACHE_HOME"] ?? "";
  return join(base === "" ? join(env["HOME"] ?? homedir(), ".cache") : base, "onceflow");
}
