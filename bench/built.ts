/**
 * The product as `npm run build` makes it, in processes of its own: no loader is in the way, and
 * its features are those of the benchmark.
 */
import { execFile } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { toEnvironment } from "../dev/application.ts";
import { type OwnedProcess, startProcess } from "../dev/processes.ts";
import type { Settings } from "../settings.ts";

const root = fileURLToPath(new URL("../", import.meta.url));

/** Programs that are run; what they import is built as well. */
const programs = [
  "client.ts",
  "server.ts",
  "worker.ts",
  "bench/online/features.ts",
  "bench/online/embedded-once.ts",
  "bench/online/write-again.ts",
  "bench/limits/*.ts",
];

/** Builds into a folder below `folder`, and returns it. */
export async function buildProduct(folder: string): Promise<string> {
  const out = join(folder, "built");
  mkdirSync(out);
  const config = {
    extends: join(root, "tsconfig.build.json"),
    compilerOptions: {
      rootDir: root,
      outDir: out,
      typeRoots: [join(root, "node_modules/@types")],
      declaration: false,
      sourceMap: false,
      noCheck: true,
    },
    include: programs.map((path) => join(root, path)),
    exclude: [],
  };
  const configFile = join(folder, "tsconfig.json");
  writeFileSync(configFile, JSON.stringify(config));
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  await promisify(execFile)(process.execPath, [tsc, "-p", configFile]);
  cpSync(join(root, "store/lua"), join(out, "store/lua"), { recursive: true });
  copyFileSync(join(root, "package.json"), join(out, "package.json"));
  symlinkSync(join(root, "node_modules"), join(out, "node_modules"));
  return out;
}

/** A process that listens, and the CPU that it has used. */
export interface Server {
  readonly port: number;
  /** Of all its processes so far, in microseconds; NaN where the system does not tell. */
  readonly cpuUs: () => number;
  readonly stop: () => Promise<void>;
}

/** Makes an API key that may read everything, by the command that a user takes. */
export async function createKey(built: string, settings: Settings): Promise<string> {
  const args = ["client.js", "keys", "create", "bench", "--scope", "read:*", "--json"];
  const options = { cwd: built, env: environmentOf(built, settings) };
  const { stdout } = await promisify(execFile)(process.execPath, args, options);
  return (JSON.parse(stdout) as { readonly key: string }).key;
}

/** Starts the HTTP service, which asks for keys; the rate of a caller is counted and not reached. */
export function startService(built: string, settings: Settings): Promise<Server> {
  const env = { ONCEFLOW_AUTH: "keys", ONCEFLOW_CALLER_RATE: "1000000:1000000" };
  return startServer(built, ["server.js", "--processes", "1"], settings, env);
}

/** Starts a program of the build and waits until it says where it listens. */
export async function startServer(
  built: string,
  args: readonly string[],
  settings: Settings,
  env: NodeJS.ProcessEnv = {},
): Promise<Server> {
  const listening = /listening on http:\/\/[^:]+:(\d+)/;
  const server = await startBuilt(built, args, settings, listening, env);
  const port = Number(listening.exec(server.tail(50))?.[1]);
  return { port, cpuUs: () => cpuOfGroup(server.pid), stop: server.stop };
}

/** Starts a program of the build and waits until its log has what makes it ready. */
export function startBuilt(
  built: string,
  args: readonly string[],
  settings: Settings,
  ready: RegExp,
  env: NodeJS.ProcessEnv = {},
): Promise<OwnedProcess> {
  return startProcess({
    name: args.join(" "),
    command: process.execPath,
    args,
    cwd: built,
    env: { ...environmentOf(built, settings), ...env },
    logFile: join(built, `${(args[0] ?? "").replaceAll(/\W/g, "-")}.log`),
    ready: (log) => ready.test(log),
  });
}

function environmentOf(built: string, settings: Settings): NodeJS.ProcessEnv {
  return {
    ...toEnvironment(settings),
    NODE_ENV: "production",
    PORT: "0",
    ONCEFLOW_FEATURES: join(built, "bench/online/features.js"),
  };
}

/** A tick of the clock in /proc. */
const tickUs = 10_000;

/** User and system time of the processes in a group. */
function cpuOfGroup(group: number): number {
  if (!existsSync("/proc/self/stat")) return NaN;
  let ticks = 0;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    const fields = statOf(pid);
    if (Number(fields[2]) === group) ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks * tickUs;
}

/** The fields of /proc/PID/stat after the name, which may hold spaces; none where it has ended. */
function statOf(pid: string): readonly string[] {
  try {
    return /\) (.*)$/s.exec(readFileSync(`/proc/${pid}/stat`, "utf8"))?.[1]?.split(" ") ?? [];
  } catch {
    return [];
  }
}
