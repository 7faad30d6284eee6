/**
 * The logger of a request. Its bindings are written into a logger of their own with the first line
 * only, since most requests log none, and to write and redact them costs a tenth of a request.
 */
import type { Bindings, Logger } from "pino";

const ignore = () => undefined;

/** For Fastify's option `childLoggerFactory`. */
export function createRequestLogger(parent: Logger, bindings: Bindings): Logger {
  let own: Logger | undefined;
  return new Proxy(parent, {
    get(_, key) {
      if (key === "level") return parent.level;
      if (isLevel(parent, key) && !parent.isLevelEnabled(key)) return ignore;
      own ??= parent.child(bindings);
      const member: unknown = Reflect.get(own, key, own);
      return typeof member === "function" ? (member.bind(own) as unknown) : member;
    },
  });
}

function isLevel({ levels }: Logger, key: string | symbol): key is string {
  return typeof key === "string" && Object.hasOwn(levels.values, key);
}
