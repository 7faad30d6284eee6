/**
 * The logger of a request. Its bindings are written into a logger of their own with the first line
 * only, since most requests log none, and to write and redact them costs a tenth of a request.
 */
import type { Bindings, Logger } from "pino";

const ignore = () => undefined;

type Method = (...args: readonly unknown[]) => unknown;

/** For Fastify's option `childLoggerFactory`; Fastify looks at each method once for a request. */
export function createRequestLogger(parent: Logger, bindings: Bindings): Logger {
  let own: Logger | undefined;
  return new Proxy(parent, {
    get(_, key) {
      if (isLevel(parent, key) && !parent.isLevelEnabled(key)) return ignore;
      const ofParent: unknown = Reflect.get(parent, key, parent);
      if (typeof ofParent !== "function") return ofParent;
      return (...args: readonly unknown[]) => {
        own ??= parent.child(bindings);
        return Reflect.apply(Reflect.get(own, key, own) as Method, own, args);
      };
    },
  });
}

function isLevel({ levels }: Logger, key: string | symbol): key is string {
  return typeof key === "string" && Object.hasOwn(levels.values, key);
}
