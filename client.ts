#!/usr/bin/env node
/** The command line: `npm run --silent cli -- COMMAND`. */
import { runCli } from "./cli/program.ts";
import { terminalOf } from "./cli/terminal.ts";
import { loadProject } from "./project.ts";

for (const stream of [process.stdout, process.stderr])
  stream.on("error", (error: NodeJS.ErrnoException) => {
    // The reader has gone, as with `| head`: nothing more can be said.
    if (error.code === "EPIPE") process.exit();
    throw error;
  });

const exitCode = await runCli(process.argv.slice(2), {
  terminal: terminalOf(process),
  env: process.env,
  loadCatalogue: () => loadProject(),
});

// Ends at once, whatever is still open, but not before the answer has left.
process.exitCode = exitCode;
process.stdout.write("", () => process.exit());
