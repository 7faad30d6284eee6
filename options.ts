/** Reads the command line of a program, which refuses what it cannot mean as it does variables. */
import { parseArgs } from "node:util";
import { OnceflowError } from "./engine/errors.ts";

/** The options of a program besides `--help`: texts by their defaults, and names of flags. */
export interface OptionNames {
  readonly texts?: Readonly<Record<string, string>>;
  readonly flags?: readonly string[];
}

/** What a command line says. */
export interface Options {
  /** The value of an option, its default where it is not given. */
  readonly text: (name: string) => string;
  /** Whether a flag is given. @throws CONFIG_INVALID where it has a value */
  readonly flag: (name: string) => boolean;
}

/**
 * Reads the arguments of a program.
 *
 * @throws CONFIG_INVALID for what is no option of it
 */
export function readOptions(
  args: readonly string[],
  { texts = {}, flags = [] }: OptionNames,
): Options {
  const options = {
    ...Object.fromEntries(
      Object.entries(texts).map(([name, text]) => [
        name,
        { type: "string", default: text } as const,
      ]),
    ),
    ...Object.fromEntries(flags.map((name) => [name, { type: "boolean" } as const])),
    help: { type: "boolean", short: "h" } as const,
  };
  const { values, positionals } = parseArgs({ args: [...args], options, strict: false });
  const unknown = Object.keys(values).find((name) => !Object.hasOwn(options, name));
  if (unknown !== undefined || positionals.length > 0)
    throw new OnceflowError(
      "CONFIG_INVALID",
      `there is no option "${unknown === undefined ? positionals[0] : `--${unknown}`}"; see --help.`,
    );
  return {
    text: (name) => String(values[name]),
    flag(name) {
      const { [name]: given = false } = values;
      if (typeof given === "boolean") return given;
      throw new OnceflowError("CONFIG_INVALID", `--${name} takes no value; see --help.`);
    },
  };
}
