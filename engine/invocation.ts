/** How people start the programs of onceflow, for messages that say what to run. */

/** The programs, by the names of their files. */
export type Program = "client" | "server" | "worker";

/** The command line that starts each, as far as its arguments. */
const programs = {
  checkout: {
    client: "npm run --silent cli --",
    server: "npm run server --",
    worker: "npm run worker --",
  },
  package: {
    client: "npx onceflow",
    server: "npx onceflow-server",
    worker: "npx onceflow-worker",
  },
  /** A built tree, as in the image, whose entry point is `node`. */
  build: {
    client: "node dist/client.js",
    server: "node dist/server.js",
    worker: "node dist/worker.js",
  },
} as const;

/** In which way onceflow is there, by the URL of a module of it. */
function formOf(url: string): keyof typeof programs {
  if (url.includes("/node_modules/")) return "package";
  return url.endsWith(".ts") ? "checkout" : "build";
}

/** The command line of a program, as people type it where the module of `url` is. */
export function commandLine(program: Program, args = "", url = import.meta.url): string {
  // Without arguments, npm needs nothing that ends its own.
  return `${programs[formOf(url)][program]} ${args}`.replace(/( --)? $/, "");
}

/** How the CLI is called; the beginning of every command line of it that messages suggest. */
export const invocation = programs[formOf(import.meta.url)].client;

/** "Start one,", and with what, where there is something that starts a service for development. */
export const startOne =
  formOf(import.meta.url) === "checkout"
    ? "Start one, for example with `npm run dev`,"
    : "Start one,";
