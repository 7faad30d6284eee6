import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { ExampleStore } from "../../support/http/example-store.ts";
import { fillExampleStore } from "../../support/http/example-store.ts";
import { hasProc, memoryMb, startServer } from "../../support/http/server-process.ts";
import { until } from "../../support/until.ts";

const mebibyte = 1024 * 1024;

describe("bodies that do not end", function () {
  this.timeout(120_000);
  let example: ExampleStore;
  before(async () => {
    example = await fillExampleStore();
  });
  after(() => example.stop());

  it("hold 64 MiB of a process at most, and keep nobody else from being answered", async function () {
    if (!hasProc) this.skip();
    const server = startServer({
      REDIS_URL: example.redis.url,
      ONCEFLOW_PREFIX: example.redis.prefix,
    });
    const sockets: Socket[] = [];
    try {
      const address = await server.listening();
      const ask = () =>
        fetch(`${address}/v1/features`, {
          method: "POST",
          headers: { "content-type": "application/json", connection: "close" },
          body: JSON.stringify({ service: "model_x", entities: [{ id: "11" }] }),
        });
      assert.equal((await ask()).status, 200);
      const baseMb = memoryMb(server.child.pid);
      let closed = 0;
      const head = `POST /v1/features HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: ${mebibyte}\r\n\r\n`;
      const body = head + "x".repeat(mebibyte - 1);
      for (let i = 0; i < 400; i++) {
        const socket = connect(Number(new URL(address).port), "127.0.0.1");
        socket.on("error", () => undefined).once("close", () => closed++);
        sockets.push(socket);
        await once(socket, "connect");
        socket.write(body);
      }
      // Long before the time in which a request has to arrive.
      await until("all but 64 are closed", () => closed >= 400 - 64, 6_000);
      const grownMb = memoryMb(server.child.pid) - baseMb;
      assert.ok(grownMb < 250, `the server has grown by ${Math.round(grownMb)} MB`);
      assert.equal((await ask()).status, 200);
    } finally {
      for (const socket of sockets) socket.destroy();
      await server.kill();
    }
  });
});
