import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import type { ExampleStore } from "../../support/http/example-store.ts";
import { fillExampleStore } from "../../support/http/example-store.ts";
import { hasProc, memoryMb, startServer } from "../../support/http/server-process.ts";
import { until } from "../../support/until.ts";

const body = JSON.stringify({ service: "model_x", entities: Array(200).fill({ id: "11" }) });
/** What is sent again and again, by what it is. */
const requests: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    [
      ...["/docs", "/openapi.json", "/v1/catalogue", "/v1/services", "/v1/services/model_x"],
      ...["/healthz", "/readyz", "/none"],
    ].map((path) => [path, `GET ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`]),
  ),
  "/v1/features": `POST /v1/features HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  "a method": "DELETE /docs HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
};

/** What a process has had of processors. */
function cpuSeconds(pid: number | undefined): number {
  const [user, system] = readFileSync(`/proc/${pid}/stat`, "utf8")
    .split(") ")[1]!
    .split(" ")
    .slice(11);
  return (Number(user) + Number(system)) / 100;
}

describe("answers that nobody reads", function () {
  this.timeout(120_000);
  let example: ExampleStore;
  before(async () => {
    example = await fillExampleStore();
  });
  after(() => example.stop());

  for (const auth of [undefined, "keys"])
    it(`cost a server little memory and time, whatever is asked, ${auth === undefined ? "without" : "with"} keys`, async function () {
      if (!hasProc) this.skip();
      const server = startServer({
        REDIS_URL: example.redis.url,
        ONCEFLOW_PREFIX: example.redis.prefix,
        ONCEFLOW_METRICS_PORT: "0",
        ...(auth === undefined ? {} : { ONCEFLOW_AUTH: auth }),
        // What a server of 512 MB has for its objects.
        NODE_OPTIONS: "--max-old-space-size=256",
      });
      const sockets: Socket[] = [];
      try {
        const address = await server.listening();
        const metrics = /metrics at (http:\S+)/.exec(server.out())?.[1] ?? "";
        const { pid } = server.child;
        const healthz = async () =>
          (await fetch(`${address}/healthz`, { headers: { connection: "close" } })).status;
        assert.equal(await healthz(), 200);
        const [baseMb, baseSeconds] = [memoryMb(pid), cpuSeconds(pid)];
        const send = (url: string, text: string) => {
          const socket = connect(Number(new URL(url).port), "127.0.0.1");
          socket.on("error", () => undefined).pause();
          socket.write(text.repeat(Math.ceil((256 * 1024) / text.length)));
          sockets.push(socket);
        };
        // Of the page as many as once ended such a server.
        for (const [what, text] of Object.entries(requests))
          for (let i = 0; i < (what === "/docs" ? 12 : 2); i++) send(address, text);
        for (let i = 0; i < 2; i++)
          send(metrics, "GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
        let answered = 0;
        let mostMb = 0;
        await until("it has answered for a while", async () => {
          assert.equal(await healthz(), 200);
          mostMb = Math.max(mostMb, memoryMb(pid));
          assert.equal(server.child.exitCode, null, server.errors());
          return ++answered === 40;
        });
        assert.ok(mostMb - baseMb < 200, `${baseMb} MB became ${mostMb} MB`);
        // Of the processor, which others may keep busy, and not of the clock.
        assert.ok(
          cpuSeconds(pid) - baseSeconds < 8,
          `it worked ${cpuSeconds(pid) - baseSeconds} s`,
        );
      } finally {
        for (const socket of sockets) socket.destroy();
        await server.kill();
      }
    });
});
