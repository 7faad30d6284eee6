/** Runs the CLI in this process, or as its users do, and keeps what it writes. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { runCli } from "../../cli/program.ts";
import type { Terminal } from "../../cli/terminal.ts";
import { loadCatalogue } from "../../engine/catalogue.ts";

/** What a run wrote, and its exit code. */
export interface CliResult {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** A closed port: nothing listens on 1. */
export const downEnv = {
  REDIS_URL: "redis://127.0.0.1:1",
  TEMPORAL_ADDRESS: "127.0.0.1:1",
} as const;

/** The environment of a store under a prefix, beside which no offline store is. */
export function storeEnv(redisUrl: string, prefix: string): NodeJS.ProcessEnv {
  // The one of whoever develops here may have what a test says that nobody has.
  return {
    ...downEnv,
    ONCEFLOW_OFFLINE: "/none/offline",
    REDIS_URL: redisUrl,
    ONCEFLOW_PREFIX: prefix,
  };
}

/** A terminal that keeps what is written; `interrupt` presses Ctrl-C. */
export function createTerminal({
  input = "",
  colours = false,
}: { input?: string; colours?: boolean } = {}) {
  const written = { out: "", err: "" };
  let listener = (): void => undefined;
  const terminal: Terminal = {
    out: { write: (text) => (written.out += text) },
    err: { write: (text) => (written.err += text) },
    colours,
    readInput: () => Promise.resolve(input),
    onInterrupt: (own) => {
      listener = own;
      return () => (listener = () => undefined);
    },
  };
  return { terminal, written, interrupt: () => listener() };
}

const catalogue = loadCatalogue(() => import("../../features/index.ts"));

/** Runs a command line in this process, with the definitions of features/. */
export async function cli(
  argv: readonly string[],
  env: NodeJS.ProcessEnv = downEnv,
  options: { input?: string; colours?: boolean } = {},
): Promise<CliResult> {
  const { terminal, written } = createTerminal(options);
  const code = await runCli(argv, { terminal, env, loadCatalogue: () => catalogue });
  return { code, ...written };
}

/** The JSON document that a command line writes. */
export async function cliJson<T>(argv: readonly string[], env?: NodeJS.ProcessEnv): Promise<T> {
  const { out } = await cli([...argv, "--json"], env);
  return JSON.parse(out) as T;
}

/** Starts the CLI as a process of its own; `closeOut` closes its output after the first bytes. */
export function spawnCli(
  argv: readonly string[],
  env: NodeJS.ProcessEnv = {},
  { closeOut = false }: { closeOut?: boolean } = {},
): Promise<CliResult> {
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const child = spawn(process.execPath, ["--import", "tsx", "client.ts", ...argv], {
    cwd: root,
    env: { ...process.env, ...downEnv, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  child.stdout.on("data", (bytes: Buffer) => {
    out += bytes.toString();
    if (closeOut) child.stdout.destroy();
  });
  child.stderr.on("data", (bytes: Buffer) => (err += bytes.toString()));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, out, err }));
  });
}
