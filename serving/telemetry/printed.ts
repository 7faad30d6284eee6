/**
 * What server and workers print beside their log. Node's warnings, and what nothing caught, become
 * lines of the log; with ONCEFLOW_LOG_FORMAT=json so does all else, whoever prints it.
 *
 * Whoever imports this imports it first, so that it holds while everything else is loaded.
 */
import { errorCodeOf, messageOf } from "../../engine/errors.ts";
import { createRateLimit } from "../auth/rate-limit.ts";
import { createLogger } from "./logging.ts";

/** As settings.ts reads them; what they cannot mean is refused there. */
const { ONCEFLOW_LOG: level = "", ONCEFLOW_LOG_FORMAT: format = "" } = process.env;
const isJson = format.toLowerCase() === "json";
const log = createLogger({ level: level.toLowerCase() === "error" ? "error" : "warn" });

/** Of a function that always does so, each call would be a line. */
const room = createRateLimit({ perSecond: 1, burst: 10 });

/** Prints why a program ends, in one line. */
export function printFailure(error: unknown): void {
  const [code, message] = [errorCodeOf(error), messageOf(error).replaceAll(/\s*\n\s*/g, " ")];
  if (isJson) log.error({ code }, message);
  else process.stderr.write(`${code} ${message}\n`);
}

/** Prints as lines of the log what others print as text. */
function printAsLog(stream: NodeJS.WriteStream, as: "info" | "error"): void {
  const write = stream.write.bind(stream);
  const others = createLogger({ level: "info", stream: { write } });
  stream.write = (chunk: Uint8Array | string, ...rest: unknown[]) => {
    const text = typeof chunk === "string" ? chunk : Buffer.from(chunk).toString();
    for (const line of text.split(/\r?\n/))
      if (isObject(line)) write(`${line}\n`);
      else if (line.trim() !== "") others[as](line);
    const done = rest.find((each) => typeof each === "function");
    // Tells when all of it is written, and whether there is room for more.
    return write("", done as () => void);
  };
}

function isObject(line: string): boolean {
  try {
    return line.startsWith("{") && typeof JSON.parse(line) === "object";
  } catch {
    return false;
  }
}

if (isJson) {
  printAsLog(process.stdout, "info");
  printAsLog(process.stderr, "error");
}
// The listener that Node itself has prints text.
process.removeAllListeners("warning");
process.on("warning", (warning: Error & { readonly code?: string }) =>
  log.warn({ type: warning.name, code: warning.code }, warning.message),
);
// Nobody waited for what failed so, such as a promise that a feature's function let go.
process.on("unhandledRejection", (error) => {
  if (room("all") > 0) return;
  log.error(
    { err: error, code: errorCodeOf(error) },
    "a promise was rejected, and nothing caught it",
  );
});
process.on("uncaughtException", (error) => {
  log.error(
    { err: error, code: errorCodeOf(error) },
    "this process ends, for an error that nothing caught",
  );
  process.exit(1);
});
