/**
 * Bodies that arrive: those of a process hold so many bytes at most. Beyond them, who has been
 * sending for longest is closed, so that many who send slowly neither fill the memory nor keep
 * others from being answered.
 */
import type { IncomingMessage } from "node:http";
import type { FastifyInstance } from "fastify";

export const arrivingBytes = 64 * 1024 * 1024;

/** Holds the bodies of an application below a limit; before its routes are added. */
export function limitArriving(app: FastifyInstance, mostBytes = arrivingBytes): void {
  /** Bytes that have arrived, of the body that began first first. */
  const arriving = new Map<IncomingMessage, number>();
  let sum = 0;

  function forget(request: IncomingMessage): void {
    sum -= arriving.get(request) ?? 0;
    arriving.delete(request);
  }

  app.addHook("preParsing", ({ raw }, _reply, payload, done) => {
    arriving.set(raw, 0);
    payload.on("data", ({ length }: Buffer) => {
      const before = arriving.get(raw);
      if (before === undefined) return;
      arriving.set(raw, before + length);
      sum += length;
      for (const [oldest] of arriving) {
        if (sum <= mostBytes) break;
        forget(oldest);
        oldest.socket.destroy();
      }
    });
    for (const event of ["end", "close"]) payload.once(event, () => forget(raw));
    done(null, payload);
  });
}
