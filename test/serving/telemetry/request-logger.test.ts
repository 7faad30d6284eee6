import assert from "node:assert/strict";
import { type FastifyBaseLogger, fastify } from "fastify";
import { type Logger, pino } from "pino";
import { createRequestLogger } from "../../../serving/http/request-logger.ts";

describe("The logger of a request", () => {
  it("costs nothing where the request logs no line, and has the request's id where it does", async () => {
    const lines: string[] = [];
    let made = 0;
    const write = (line: string) => void lines.push(line);
    const parent = pino({ level: "warn", onChild: () => void made++ }, { write });
    const loggerInstance: FastifyBaseLogger = parent;
    const app = fastify({
      loggerInstance,
      childLoggerFactory: (logger, bindings) => createRequestLogger(logger as Logger, bindings),
      genReqId: () => "r-1",
    });
    app.get("/quiet", ({ log }) => {
      log.info("below the level");
      return "ok";
    });
    app.get("/loud", ({ log }) => {
      log.warn({ a: 1 }, "once");
      log.child({ part: "b" }).error("twice");
      return "ok";
    });
    const before = made;
    await app.inject("/quiet");
    assert.equal(made, before);
    await app.inject("/loud");
    // One for the request, and the child that it asks for.
    assert.equal(made, before + 2);
    const parsed = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.deepEqual(
      parsed.map(({ reqId, msg, a, part }) => ({ reqId, msg, a, part })),
      [
        { reqId: "r-1", msg: "once", a: 1, part: undefined },
        { reqId: "r-1", msg: "twice", a: undefined, part: "b" },
      ],
    );
    await app.close();
  });
});
