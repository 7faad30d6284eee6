/** What every command works with, and how it answers. */
import { hostname, userInfo } from "node:os";
import type { Command } from "commander";
import { CommanderError } from "commander";
import type { Catalogue } from "../engine/catalogue.ts";
import { OnceflowError } from "../engine/errors.ts";
import { invocation } from "../engine/invocation.ts";
import { readSettings, type Settings } from "../settings.ts";
import type { Runs } from "./temporal.ts";
import { type Paint, paintOf, type Terminal } from "./terminal.ts";
import type { RedisConnection } from "../store/redis/types.ts";

/** Exit codes, all there are; docs/cli.md and the help say the same. */
export const exitCodes = {
  ok: 0,
  error: 1,
  usage: 2,
  /** Of `plan`, whose wrong command lines are errors: scripts take 2 for changes. */
  changes: 2,
  unhealthy: 3,
  interrupted: 130,
} as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** What a run of the CLI is given. */
export interface CliOptions {
  readonly terminal: Terminal;
  readonly env: NodeJS.ProcessEnv;
  /** Builds the catalogue of this build. @throws DEFINITION_INVALID */
  readonly loadCatalogue: () => Promise<Catalogue>;
}

/** What commands work with. */
export interface Context {
  readonly terminal: Terminal;
  readonly paint: Paint;
  /** @throws CONFIG_INVALID */
  readonly settings: () => Settings;
  readonly catalogue: () => Promise<Catalogue>;
  /** Runs a command's work and writes its answer. */
  readonly answer: (options: JsonOption, work: () => Promise<Reply>) => Promise<void>;
}

/** The option that every command has. */
export interface JsonOption {
  readonly json?: true;
}

/** A command's answer: as one JSON document, and as text for people. */
export interface Reply {
  readonly data: unknown;
  readonly text: () => string;
  readonly exitCode?: ExitCode;
}

/** Makes the context of one run of the CLI; `exit` learns the exit code of the answer. */
export function createContext(
  { terminal, env, loadCatalogue }: CliOptions,
  exit: (code: ExitCode) => void,
): Context {
  return {
    terminal,
    paint: paintOf(terminal),
    settings: () => readSettings(env),
    catalogue: loadCatalogue,
    async answer({ json }, work) {
      const { data, text, exitCode = exitCodes.ok } = await work();
      terminal.out.write(`${json === true ? JSON.stringify(data) : text()}\n`);
      exit(exitCode);
    },
  };
}

/** Adds `--json` as the last option, and examples below the help. */
export function finishCommand(command: Command, examples: readonly string[]): Command {
  return command
    .option("--json", "write one JSON document instead of text")
    .addHelpText(
      "after",
      `\nExamples:\n${examples.map((line) => `  ${invocation} ${line}`).join("\n")}`,
    );
}

/** An error in the command line itself: exit code 2. */
export function usageError(message: string): CommanderError {
  return new CommanderError(exitCodes.usage, "onceflow.usage", message);
}

/** What an error of the command line becomes: commander's words, its suggestion on the same line. */
export function usageOf({ message }: CommanderError): OnceflowError {
  const text = message
    .replace(/^error: /, "")
    .replaceAll(/\n\s*/g, " ")
    .trim()
    .replace(/[.)]?$/, (end) => (end === ")" ? ")." : "."));
  return new OnceflowError("REQUEST_INVALID", `${text} See --help.`);
}

/**
 * Works with a connection to Redis and closes it.
 *
 * @throws STORE_UNAVAILABLE within 5 seconds
 */
export async function withRedis<T>(
  { redisUrl }: Settings,
  role: "serving" | "writing",
  work: (redis: RedisConnection) => Promise<T>,
): Promise<T> {
  const { connectRedis } = await import("../store/redis/connection.ts");
  const redis = connectRedis(redisUrl, role, { connectTimeoutMs: 5_000 });
  try {
    await redis.ready();
    return await work(redis);
  } finally {
    await redis.close();
  }
}

/** Who runs the CLI, for logs: user and host. */
export function whoRuns(): string {
  return `${userName()}@${hostname()}`;
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    // In a container the user may have no name.
    return `uid ${process.getuid?.() ?? "unknown"}`;
  }
}

/**
 * Connects to Temporal. The connection is left to the end of the process: where a call waits to be
 * retried, @temporalio/client 1.24 throws from a timer if its connection is closed meanwhile, and
 * after Ctrl-C or a last question for progress one may.
 *
 * @throws TEMPORAL_UNAVAILABLE within 10 seconds
 */
export async function openRuns(settings: Settings): Promise<Runs> {
  const { connectRuns } = await import("./temporal.ts");
  return connectRuns(settings);
}
