/**
 * The logger of a request. Its bindings are written into a logger of their own with the first line
 * only, since most requests log none, and to write and redact them costs a tenth of a request.
 */
import type { Bindings, Logger } from "pino";

type Level = (typeof levels)[number];

const levels = ["trace", "debug", "info", "warn", "error", "fatal"] as const;

/** What a logger of a request is until it has a line to write. */
class RequestLogger {
  readonly #parent: Logger;
  readonly #bindings: Bindings;
  #own: Logger | undefined;

  constructor(parent: Logger, bindings: Bindings) {
    this.#parent = parent;
    this.#bindings = bindings;
  }

  get level(): string {
    return this.#parent.level;
  }

  child(...options: Parameters<Logger["child"]>) {
    return this.#logger().child(...options);
  }

  silent(): void {}

  write(level: Level, line: Parameters<Logger[Level]>): void {
    if (this.#parent.isLevelEnabled(level)) this.#logger()[level](...line);
  }

  #logger(): Logger {
    return (this.#own ??= this.#parent.child(this.#bindings));
  }
}

// Fastify looks whether each of these is there, for every request.
for (const level of levels)
  Object.defineProperty(RequestLogger.prototype, level, {
    value(this: RequestLogger, ...line: Parameters<Logger[Level]>) {
      this.write(level, line);
    },
  });

/** For Fastify's option `childLoggerFactory`. */
export function createRequestLogger(parent: Logger, bindings: Bindings): Logger {
  return new RequestLogger(parent, bindings) as unknown as Logger;
}
