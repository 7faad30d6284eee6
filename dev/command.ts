/** How the programs of development and of the benchmarks read their options, and how they fail. */
import { type Command, CommanderError, InvalidArgumentError } from "commander";
import { exitCodes, usageOf } from "../cli/context.ts";
import { errorCodeOf, messageOf } from "../engine/errors.ts";
import { isStopping, releaseAll } from "./owned.ts";

const most = 10_000_000;

/** A whole number from 1 to ten millions, of an option. */
export function toCount(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= most) return count;
  throw new InvalidArgumentError(`expected a whole number from 1 to ${most}.`);
}

/**
 * Runs the command line of this process. What fails becomes `CODE message` on standard error and
 * exit code 1, or 2 where the command line is wrong, and all that is owned is given up.
 */
export async function runCommand(command: Command): Promise<void> {
  // Errors are written here alone.
  command.exitOverride().configureOutput({ outputError: () => undefined });
  try {
    await command.parseAsync();
  } catch (thrown) {
    // The help was shown.
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return;
    // On Ctrl-C something fails because it is being stopped; the signal ends this process.
    if (isStopping()) return;
    const isUsage = thrown instanceof CommanderError;
    const error = isUsage ? usageOf(thrown) : thrown;
    process.stderr.write(`${errorCodeOf(error)} ${messageOf(error)}\n`);
    process.exitCode = isUsage ? exitCodes.usage : exitCodes.error;
    await releaseAll();
  }
}
