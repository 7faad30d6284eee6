/** What the CLI reads and writes, apart from the process, so that tests can hold the other end. */
import { text } from "node:stream/consumers";
import type { ProgressStream } from "./progress.ts";

/** Both output streams, standard input and Ctrl-C. */
export interface Terminal {
  /** Standard output: answers only. */
  readonly out: ProgressStream;
  /** Standard error: progress and errors. */
  readonly err: ProgressStream;
  /** Whether standard output takes colours: it is a terminal, and NO_COLOR is not set. */
  readonly colours: boolean;
  /** All of standard input. */
  readonly readInput: () => Promise<string>;
  /** Calls `listener` on Ctrl-C instead of ending the process; returns how to undo that. */
  readonly onInterrupt: (listener: () => void) => () => void;
}

/** The terminal of a process. */
export function terminalOf({ stdout, stderr, stdin, env }: NodeJS.Process): Terminal {
  return {
    out: stdout,
    err: stderr,
    // Piped, isTTY is undefined.
    colours: stdout.isTTY === true && !env["NO_COLOR"] && env["TERM"] !== "dumb",
    readInput: () => text(stdin),
    onInterrupt(listener) {
      process.once("SIGINT", listener);
      return () => void process.off("SIGINT", listener);
    },
  };
}

const styles = { bold: [1, 22], dim: [2, 22], red: [31, 39], green: [32, 39], yellow: [33, 39] };

/** Wraps a text in the codes of a style. */
export type Paint = (style: keyof typeof styles, text: string) => string;

/** The paint of a terminal: plain text where it takes no colours. */
export function paintOf({ colours }: Pick<Terminal, "colours">): Paint {
  return (style, text) => {
    const [on, off] = styles[style];
    return colours ? `\u001b[${on}m${text}\u001b[${off}m` : text;
  };
}
