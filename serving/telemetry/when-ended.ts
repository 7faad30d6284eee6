/** The end of a request, as metrics, traces and logs need it. */
import type { FastifyReply } from "fastify";

/** In place of a status where the caller went away before the answer, as nginx has it. */
const callerGone = 499;

/**
 * Calls back once, with the status and the milliseconds since this call, when the answer was sent or
 * can be sent no more. Fastify's hook onResponse is not called where the caller has gone.
 */
export function whenEnded(
  { raw }: FastifyReply,
  ended: (status: number, tookMs: number) => void,
): void {
  const startMs = performance.now();
  raw.on("close", () => {
    ended(raw.writableEnded ? raw.statusCode : callerGone, performance.now() - startMs);
  });
}
