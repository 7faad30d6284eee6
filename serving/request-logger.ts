/**
 * The logger of a request. Its bindings are written into a logger of their own with the first line
 * only, since most requests log none, and to write and redact them costs a tenth of a request.
 */
import type { Bindings, Logger } from "pino";

type Level = (typeof levels)[number];

/** What a logger of a request is until it has a line to write. */
interface Waiting {
  readonly parent: Logger;
  readonly bindings: Bindings;
  own: Logger | undefined;
}

const levels = ["trace", "debug", "info", "warn", "error", "fatal"] as const;

const ownOf = (waiting: Waiting): Logger =>
  (waiting.own ??= waiting.parent.child(waiting.bindings));

function methodOf(level: Level) {
  return function write(this: Waiting, ...line: Parameters<Logger[Level]>): void {
    if (this.parent.isLevelEnabled(level)) ownOf(this)[level](...line);
  };
}

// Fastify looks whether each of these is there, for every request.
const methods = {
  ...Object.fromEntries(levels.map((level) => [level, methodOf(level)])),
  silent: () => undefined,
  child(this: Waiting, ...options: Parameters<Logger["child"]>) {
    return ownOf(this).child(...options);
  },
};

/** For Fastify's option `childLoggerFactory`. */
export function createRequestLogger(parent: Logger, bindings: Bindings): Logger {
  const waiting: Waiting & Pick<Logger, "level"> = {
    ...{ parent, bindings, own: undefined },
    level: parent.level,
  };
  return Object.assign(Object.create(methods) as Logger, waiting);
}
