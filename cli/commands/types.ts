/** `types`: the catalogue as TypeScript types, for the clients. */
import { readFile, writeFile } from "node:fs/promises";
import type { Command } from "commander";
import { declareCatalogue } from "../../client/declarations.ts";
import { messageOf, OnceflowError } from "../../engine/errors.ts";
import { type Context, exitCodes, finishCommand, type JsonOption } from "../context.ts";

interface Options extends JsonOption {
  readonly out: string;
  readonly check?: true;
}

/** Adds the command. */
export function addTypes(program: Command, context: Context): void {
  const command = program
    .command("types")
    .summary("write the services and features as TypeScript types")
    .description(
      "Writes a TypeScript file with the types of all services and features of this build, for " +
        "`createClient<Catalogue>()`: a name or an input that is wrong does not compile. Reads no store.",
    )
    .option("--out <file>", "where to write", "onceflow-types.ts")
    .option("--check", "write nothing; exit with 3 if the file is not what would be written")
    .action((options: Options) =>
      context.answer(options, async () => {
        const { out, check } = options;
        const text = declareCatalogue(await context.catalogue());
        const isCurrent = (await readText(out)) === text;
        if (check !== true && !isCurrent) await writeText(out, text);
        const isOutdated = check === true && !isCurrent;
        return {
          data: { file: out, outdated: isOutdated, written: check !== true && !isCurrent },
          text: () =>
            isOutdated
              ? `${out} is not what this build says: run types --out ${out}.`
              : `${out} ${check === true || isCurrent ? "is up to date" : "is written"}.`,
          exitCode: isOutdated ? exitCodes.unhealthy : exitCodes.ok,
        };
      }),
    );
  finishCommand(command, ["types --out src/onceflow-types.ts", "types --check"]);
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw unusable(path, error);
  }
}

async function writeText(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text);
  } catch (error) {
    throw unusable(path, error);
  }
}

function unusable(path: string, error: unknown): OnceflowError {
  return new OnceflowError(
    "CONFIG_INVALID",
    `--out ${path} cannot be read or written: ${messageOf(error)}.`,
    { file: path },
    error,
  );
}
