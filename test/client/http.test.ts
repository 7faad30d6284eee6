import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createClient, type HttpClientOptions } from "../../client/http.ts";
import { OnceflowError } from "../../engine/errors.ts";
import { failsWith } from "../support/fails-with.ts";
import { until } from "../support/until.ts";

const answer = { fingerprint: "f", snapshot: {}, results: [] };
const ask = { features: ["age"], entities: [] } as const;

/** An HTTP server that answers as a test says, to try what no onceflow service does on demand. */
interface Scripted {
  readonly url: string;
  readonly requests: IncomingMessage[];
  readonly stop: () => Promise<void>;
}

async function serve(handle: (response: ServerResponse, count: number) => void): Promise<Scripted> {
  const requests: IncomingMessage[] = [];
  const server: Server = createServer((request, response) => {
    requests.push(request);
    request.resume().once("end", () => handle(response, requests.length));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

function problem(response: ServerResponse, status: number, code: string, headers: object = {}) {
  response.writeHead(status, { "content-type": "application/problem+json", ...headers });
  response.end(
    JSON.stringify({ type: "t", title: "t", status, code, detail: "the detail", path: "p" }),
  );
}

const json = (response: ServerResponse, body: unknown) => {
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify(body));
};

describe("the HTTP client", () => {
  let scripted: Scripted | undefined;
  afterEach(async () => {
    await scripted?.stop();
    scripted = undefined;
  });

  /** A client of a server that answers as told. */
  async function clientOf(
    handle: Parameters<typeof serve>[0],
    options: Partial<HttpClientOptions> = {},
  ) {
    scripted = await serve(handle);
    const { url, requests } = scripted;
    return { client: createClient({ url, deadlineMs: 20_000, ...options }), requests, url };
  }

  it("sends the key as a bearer, and the request as it is", async () => {
    const { client, requests } = await clientOf((response) => json(response, answer), {
      key: "k1",
    });
    assert.deepEqual(await client.answer(ask), answer);
    const [{ url, method, headers }] = requests as [IncomingMessage];
    assert.deepEqual([method, url], ["POST", "/v1/features"]);
    assert.equal(headers.authorization, "Bearer k1");
    assert.equal(headers["content-type"], "application/json");
  });

  it("keeps the path of its URL", async () => {
    scripted = await serve((response) => json(response, answer));
    await createClient({ url: `${scripted.url}/features/` }).answer(ask);
    assert.equal(scripted.requests[0]?.url, "/features/v1/features");
    for (const url of ["127.0.0.1:8080", "ftp://host", ""])
      assert.throws(() => createClient({ url }), { code: "CONFIG_INVALID" });
  });

  it("rejects with the code of the server, its status, and the id of the request", async () => {
    const { client, requests } = await clientOf((response) =>
      problem(response, 404, "UNKNOWN_SERVICE", { "x-request-id": "r-7" }),
    );
    await assert.rejects(client.answer(ask), (error) => {
      assert.ok(error instanceof OnceflowError);
      assert.equal(error.code, "UNKNOWN_SERVICE");
      assert.equal(error.message, "the detail");
      assert.deepEqual(error.details, { status: 404, path: "p", request_id: "r-7" });
      return true;
    });
    assert.equal(requests.length, 1);
  });

  it("names what answers without a word of onceflow, and codes that it does not know", async () => {
    const { client, url } = await clientOf((response, count) => {
      if (count === 1) response.writeHead(404, { "content-type": "text/html" }).end("<h1>no</h1>");
      else if (count === 2) json(response, "no object");
      else problem(response, 400, "NEW_CODE");
    });
    await failsWith(client.answer(ask), "SERVER_UNAVAILABLE", /it answered 404 without a word/);
    await failsWith(client.answer(ask), "SERVER_UNAVAILABLE", /it answered 200 without a word/);
    await failsWith(
      client.answer(ask),
      "SERVER_UNAVAILABLE",
      /it answered 400 NEW_CODE: the detail/,
    );
    await failsWith(client.answer(ask), "SERVER_UNAVAILABLE", new RegExp(url));
  });

  it("asks again where the service is busy, no sooner than it wants", async () => {
    for (const [status, code, retryAfter] of [
      [429, "INTERNAL", () => "1"],
      // A date has whole seconds, so 2 s from now is at least 1.
      [503, "STORE_UNAVAILABLE", () => new Date(Date.now() + 2_000).toUTCString()],
    ] as const) {
      const times: number[] = [];
      const { client } = await clientOf((response, count) => {
        times.push(performance.now());
        if (count === 1) problem(response, status, code, { "retry-after": retryAfter() });
        else json(response, answer);
      });
      assert.deepEqual(await client.answer(ask), answer);
      const [first = 0, second = 0] = times;
      // A timer may fire a millisecond early.
      assert.ok(second - first >= 990, `asked again after ${second - first} ms`);
      await scripted?.stop();
    }
  });

  it("asks as often as it is told, and rejects with the last answer", async () => {
    const { client, requests } = await clientOf(
      (response) => problem(response, 503, "STORE_UNAVAILABLE"),
      { retries: 4 },
    );
    await failsWith(client.answer(ask), "STORE_UNAVAILABLE", /^the detail$/);
    assert.equal(requests.length, 5);
  });

  it("does not ask again what would fail again", async () => {
    for (const [status, code] of [
      [400, "VALUE_INVALID"],
      [500, "INTERNAL"],
      [503, "STORE_LOST"],
    ] as const) {
      const { client, requests } = await clientOf((response) => problem(response, status, code));
      await failsWith(client.answer(ask), code);
      assert.equal(requests.length, 1, code);
      await scripted?.stop();
    }
  });

  it("says at once what is wrong where the deadline leaves no time to ask again", async () => {
    const { client, requests } = await clientOf((response) =>
      problem(response, 503, "STORE_UNAVAILABLE", { "retry-after": "3600" }),
    );
    const before = performance.now();
    await failsWith(client.answer(ask), "STORE_UNAVAILABLE");
    assert.ok(performance.now() - before < 15_000);
    assert.equal(requests.length, 1);
  });

  it("ends at its deadline, retries and slow bodies included", async () => {
    for (const handle of [
      () => undefined,
      (response: ServerResponse) => response.write('{"fingerprint":'),
      (response: ServerResponse) => response.destroy(),
    ]) {
      const { client } = await clientOf(handle, { retries: 1_000 });
      const before = performance.now();
      await assert.rejects(client.answer(ask, { deadlineMs: 300 }), (error) => {
        assert.ok(error instanceof OnceflowError);
        // Connections that break are told as such where the time would not do for one more.
        assert.match(error.code, /^(DEADLINE_EXCEEDED|SERVER_UNAVAILABLE)$/);
        return true;
      });
      assert.ok(performance.now() - before < 10_000);
      await scripted?.stop();
    }
  });

  it("stops when it is aborted, also between two tries, and closes the connection", async () => {
    let closed: Promise<unknown> = Promise.resolve();
    const { client, requests } = await clientOf((response, count) => {
      if (count === 1) closed = once(response, "close");
      else problem(response, 503, "STORE_UNAVAILABLE", { "retry-after": "10" });
    });
    for (const count of [1, 2]) {
      const controller = new AbortController();
      const reason = new Error("the user left");
      const call = client.answer(ask, { signal: controller.signal });
      const rejected = assert.rejects(call, reason);
      await until("the server is asked", () => requests.length >= count);
      controller.abort(reason);
      await rejected;
    }
    await closed;
    const gone = AbortSignal.abort(new Error("gone before"));
    await assert.rejects(client.answer(ask, { signal: gone }), /gone before/);
    assert.equal(requests.length, 2);
  });

  it("follows no redirect, which could take the key elsewhere", async () => {
    const other = await serve((response) => json(response, answer));
    const { client } = await clientOf(
      (response) => response.writeHead(307, { location: `${other.url}/v1/features` }).end(),
      { key: "k1", retries: 0 },
    );
    await failsWith(client.answer(ask), "SERVER_UNAVAILABLE", /redirect/);
    assert.equal(other.requests.length, 0);
    await other.stop();
  });

  it("says where nobody listens", async () => {
    const client = createClient({ url: "http://127.0.0.1:1", retries: 1 });
    await failsWith(client.answer(ask), "SERVER_UNAVAILABLE", /127\.0\.0\.1:1: .+\. Start it/);
  });
});
