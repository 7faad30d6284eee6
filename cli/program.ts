/** The CLI: its commands, and what their errors become. */
import { Command, CommanderError } from "commander";
import { messageOf, OnceflowError } from "../engine/errors.ts";
import { invocation } from "../engine/invocation.ts";
import { settingsHelp } from "../settings.ts";
import { addApply, addPlan } from "./commands/apply.ts";
import { addBackfill, addScale } from "./commands/backfill.ts";
import { addCancel } from "./commands/cancel.ts";
import { addCatalogue } from "./commands/catalogue.ts";
import {
  type CliOptions,
  type Context,
  createContext,
  type ExitCode,
  exitCodes,
  usageOf,
} from "./context.ts";
import { addExplain } from "./commands/explain.ts";
import { addGet } from "./commands/get.ts";
import { addKeys } from "./commands/keys.ts";
import { addLineage } from "./commands/lineage.ts";
import { addMaterialize, addRerun } from "./commands/materialize.ts";
import { addPartitions } from "./commands/partitions.ts";
import { addRegisterSearchAttributes } from "./commands/register-search-attributes.ts";
import { addPublish } from "./commands/publish.ts";
import { addBackup } from "./commands/store/backup.ts";
import { addReset } from "./commands/store/reset.ts";
import { addRuns } from "./commands/runs.ts";
import { addScheduleCommands } from "./commands/schedule.ts";
import { addStatus } from "./commands/status.ts";
import { addSweep } from "./commands/store/sweep.ts";
import { addTrainingSet } from "./commands/training-set.ts";
import { addTypes } from "./commands/types.ts";
import { addWait } from "./commands/wait.ts";

const rules = `
Output:
  Answers go to standard output, progress and errors to standard error.
  With --json, standard output holds exactly one JSON document: the answer, or
  {"error":{"code","message","details"}}; there is no progress.

Exit codes:
  0    done
  1    error: "CODE message" on standard error
  2    the command line is wrong; of \`plan\`, where that is 1: there are changes
  3    status, partitions, wait or backfill found something missing, lost or failed; types --check
       found the file outdated
  130  Ctrl-C

${settingsHelp}
  ONCEFLOW_DEBUG      1 adds stack traces to errors
  NO_COLOR            any value turns colours off`;

const helpWidth = 100;

/** All commands over a context. */
export function createProgram(context: Context): Command {
  const { out, err } = context.terminal;
  const program = new Command(invocation)
    .description("onceflow: a feature is written once and runs in batch and online.")
    .usage("COMMAND [options]")
    .helpCommand("help [command]", "show the help of a command")
    .configureHelp({ showGlobalOptions: false, subcommandTerm: (command) => command.name() })
    .configureOutput({
      writeOut: (text) => out.write(text),
      writeErr: (text) => err.write(text),
      // Errors are written in one place, below.
      outputError: () => undefined,
      getOutHelpWidth: () => helpWidth,
      getErrHelpWidth: () => helpWidth,
    })
    .addHelpText("after", rules)
    .exitOverride();
  addMaterialize(program, context);
  addRerun(program, context);
  addBackfill(program, context);
  addPublish(program, context);
  addTrainingSet(program, context);
  addScale(program, context);
  addCancel(program, context);
  addPlan(program, context);
  addApply(program, context);
  addRegisterSearchAttributes(program, context);
  addScheduleCommands(program, context);
  addPartitions(program, context);
  addRuns(program, context);
  addWait(program, context);
  addGet(program, context);
  addExplain(program, context);
  addLineage(program, context);
  addCatalogue(program, context);
  addTypes(program, context);
  addStatus(program, context);
  addKeys(program, context);
  addReset(program, context);
  addSweep(program, context);
  addBackup(program, context);
  return program;
}

/**
 * Runs one command line, without the program's name, and writes what it answers. Never rejects;
 * returns the exit code.
 */
export async function runCli(argv: readonly string[], options: CliOptions): Promise<ExitCode> {
  let exitCode: ExitCode = exitCodes.ok;
  const context = createContext(options, (code) => (exitCode = code));
  try {
    await createProgram(context).parseAsync(argv, { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.ok;
    // Without a command, commander has shown the help on standard error.
    if (error instanceof CommanderError && error.code === "commander.help") return exitCodes.usage;
    return report(error, argv, options);
  }
}

/** Writes `CODE message` to standard error and, with --json, the document to standard output. */
function report(thrown: unknown, argv: readonly string[], { terminal, env }: CliOptions): ExitCode {
  const error = thrown instanceof CommanderError ? usageOf(thrown) : thrown;
  const { code, details } =
    error instanceof OnceflowError ? error : { code: "INTERNAL", details: {} };
  const message = messageOf(error);
  if (argv.includes("--json"))
    terminal.out.write(`${JSON.stringify({ error: { code, message, details } })}\n`);
  terminal.err.write(`${code} ${message}\n`);
  if (env["ONCEFLOW_DEBUG"] === "1" && thrown instanceof Error)
    terminal.err.write(`${thrown.stack ?? ""}\n`);
  return thrown instanceof CommanderError && argv[0] !== "plan" ? exitCodes.usage : exitCodes.error;
}
