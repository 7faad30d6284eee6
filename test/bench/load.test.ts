import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Server } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { answerBytes, closedLoop, openLoop, percentile, post } from "../../bench/load.ts";

describe("The load generator of the benchmarks", () => {
  const servers: Server[] = [];
  after(() => {
    for (const server of servers) server.close();
  });

  async function listen(server: Server): Promise<number> {
    servers.push(server);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return (server.address() as AddressInfo).port;
  }
  const serve = (listener: RequestListener) => listen(createServer(listener));
  const requests = [post("/", { a: 1 })];

  it("counts from when a request was due, so that a server that stalls is charged for all", async () => {
    let answered = 0;
    const port = await serve((_, response) => {
      // The first answer alone is late.
      void pause(answered++ === 0 ? 400 : 0).then(() => response.end("{}"));
    });
    const options = { rate: 100, connections: 1, seconds: 0.5 };
    const load = await openLoop({ port, requests }, options);
    assert.equal(load.latenciesMs.length, 50);
    // Requests that are due in the 400 ms wait for the connection: half of all for 150 ms or more.
    assert.ok(percentile(load, 0.5) > 100, `p50 is ${percentile(load, 0.5)} ms`);
    assert.ok(percentile(load, 1) >= 399);
  });

  it("keeps to the rate, however late the answers are", async () => {
    const dueMs: number[] = [];
    const port = await serve((_, response) => {
      dueMs.push(performance.now());
      void pause(100).then(() => response.end("{}"));
    });
    await openLoop({ port, requests }, { rate: 100, connections: 40, seconds: 0.5 });
    // One after the other they would take 5 seconds.
    assert.ok((dueMs.at(-1) ?? 0) - (dueMs[0] ?? 0) < 2500);
  });

  it("reads an answer that arrives in pieces", async () => {
    const head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n";
    const port = await listen(
      createTcpServer((socket) => {
        socket.setNoDelay(true).on("data", () => {
          void (async () => {
            for (const piece of [head.slice(0, 20), head.slice(20), "01234", "56789"]) {
              socket.write(piece);
              await pause(5);
            }
          })();
        });
      }),
    );
    assert.equal(await answerBytes({ port, requests }), 10);
    const load = await closedLoop({ port, requests }, { connections: 2, seconds: 0.1 });
    assert.ok(load.latenciesMs.length >= 2);
    assert.ok(percentile(load, 0.5) >= 10, "the last piece was not waited for");
  });

  it("refuses to measure answers that are errors", async () => {
    const port = await serve((_, response) =>
      response.writeHead(503, { "content-length": 2 }).end("{}"),
    );
    const load = closedLoop({ port, requests }, { connections: 1, seconds: 0.1 });
    await assert.rejects(load, /the server answered HTTP\/1.1 503/);
  });
});
