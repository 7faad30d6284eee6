import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { gzipSync } from "node:zlib";
import type { FastifyInstance, InjectOptions } from "fastify";
import { buildApp } from "../../../serving/http/app.ts";
import type { Lookup } from "../../../serving/lookup.ts";
import { createLookup } from "../../../serving/lookup.ts";
import { requestLimits } from "../../../serving/request.ts";
import type { ExampleStore } from "../../support/http/example-store.ts";
import { fillExampleStore } from "../../support/http/example-store.ts";
import { until } from "../../support/until.ts";

describe("hostile input over HTTP", () => {
  let example: ExampleStore;
  let lookup: Lookup;
  let app: FastifyInstance;
  let port: number;
  const log: string[] = [];
  before(async () => {
    example = await fillExampleStore();
    const { catalogue, serving, redis } = example;
    lookup = createLookup({ catalogue, redis: serving, prefix: redis.prefix });
    app = buildApp({
      // As many rows as may be take their time on a machine that does much else.
      catalogue,
      lookup,
      load: { deadlineMs: 60_000 },
      logStream: { write: (line) => void log.push(line) },
      deadlines: { requestMs: 1_000, headersMs: 800, checkMs: 50, idleMs: 1_500, replyMs: 1_000 },
    });
    // A refusal may leave the connection open, for the next request.
    app.server.keepAliveTimeout = 200;
    port = Number(new URL(await app.listen({ port: 0, host: "127.0.0.1" })).port);
  });
  after(async () => {
    await app.close();
    lookup.close();
    await example.stop();
  });

  const post = (payload: object | string | Buffer, headers: Record<string, string> = {}) =>
    app.inject({
      method: "POST",
      url: "/v1/features",
      payload,
      headers: { "content-type": "application/json", ...headers },
    });
  const outcome = async (payload: object | string | Buffer, headers?: Record<string, string>) => {
    const response = await post(payload, headers);
    const { code, detail } = response.json<{ code?: string; detail?: string }>();
    return response.statusCode === 200 ? "200" : `${response.statusCode} ${code} ${detail}`;
  };

  describe("has a limit, named in its error, for", () => {
    const summer = { features: ["is_summer"], inputs: { month_of_absence: 1 } };
    const text = JSON.stringify(summer);
    /** Brackets within strings do not nest. */
    const nested = (depth: number) =>
      `{"features":["is_summer"],"inputs":{"month_of_absence":1,"weight":${"[".repeat(depth - 2)}"[{\\"[["${"]".repeat(depth - 2)}}}`;
    const tooDeep =
      "400 REQUEST_INVALID the body nests over 32 objects and arrays; a request needs 4.";
    const limits: readonly (readonly [
      what: string,
      limit: number,
      made: (count: number) => object | string,
      /** Answered up to the limit. */
      accepted: RegExp,
      /** Answered beyond it. */
      refusal: string,
    ])[] = [
      [
        "bytes of the body",
        1024 * 1024,
        (count) => `${text.slice(0, -1)}${" ".repeat(count - text.length)}}`,
        /^200$/,
        "413 REQUEST_TOO_LARGE the body has over 1 MiB; split the request.",
      ],
      ["nesting", 32, nested, /^200$/, tooDeep],
      [
        "rows by entity",
        requestLimits.rows,
        (count) => ({ features: ["has_pet"], entities: Array(count).fill({ id: "11" }) }),
        /^200$/,
        "413 REQUEST_TOO_LARGE entities has 1001 elements; one request may ask for 1000 rows. Split it.",
      ],
      [
        "rows by inputs",
        requestLimits.rows,
        (count) => ({
          features: ["is_summer"],
          inputs: Array(count).fill({ month_of_absence: 1 }),
        }),
        /^200$/,
        "413 REQUEST_TOO_LARGE inputs has 1001 elements; one request may ask for 1000 rows. Split it.",
      ],
      [
        "features",
        requestLimits.features,
        // Only so many exist, so those up to the limit fail for what they name, and no sooner.
        (count) => ({ features: Array.from({ length: count }, (_, i) => `f${i}`), inputs: {} }),
        /^404 UNKNOWN_FEATURE /,
        "413 REQUEST_TOO_LARGE features has 501 elements; one request may ask for 500 features. Split it.",
      ],
      [
        "bytes of an entity key",
        requestLimits.keyBytes,
        (count) => ({
          features: ["has_pet"],
          entities: [{ id: "1" }, { id: `é${"x".repeat(count - 2)}` }],
        }),
        /^200$/,
        "413 REQUEST_TOO_LARGE entities[1].id has over 512 bytes of UTF-8, the limit of an entity key.",
      ],
      [
        "characters of a name",
        requestLimits.nameLength,
        (count) => ({ service: "s".repeat(count) }),
        /^404 UNKNOWN_SERVICE /,
        `400 REQUEST_INVALID service is "${"s".repeat(64)}…"; expected a name of 1 to 256 characters.`,
      ],
      [
        "different sets of members among the rows",
        requestLimits.mixtures,
        (count) => ({
          features: ["is_summer"],
          inputs: Array.from({ length: count }, (_, i) => ({
            month_of_absence: 1,
            // Bit by bit another set of columns that no feature asked for needs, and that count.
            ...Object.fromEntries(
              ["age", "son", "pet", "weight", "height", "education"]
                .filter((_, bit) => (i >> bit) & 1)
                .map((name) => [name, 1]),
            ),
          })),
        }),
        /^200$/,
        "413 REQUEST_TOO_LARGE inputs[32] carries yet another set of members; the rows of one request may carry 32 different sets. Split it.",
      ],
    ];
    for (const [what, limit, made, accepted, refusal] of limits)
      it(`${what}: ${limit}`, async () => {
        for (const count of [limit - 1, limit])
          assert.match(await outcome(made(count)), accepted, `${count}`);
        assert.equal(await outcome(made(limit + 1)), refusal);
      });

    it("nesting, however deep", async () => {
      for (const body of [nested(100_000), "[".repeat(500_000)])
        assert.equal(await outcome(body), tooDeep);
    });

    it("headers: 100", async () => {
      const status = async (count: number) => {
        // Those that every request has count too.
        const own = { host: "x", "user-agent": "x" };
        const more = Array.from({ length: count - 2 }, (_, i) => [`x-${i}`, "1"] as const);
        const headers = { ...own, ...Object.fromEntries(more) };
        const response = await app.inject({ url: "/healthz", headers });
        return `${response.statusCode} ${response.json<{ detail?: string }>().detail ?? ""}`;
      };
      assert.equal(await status(99), "200 ");
      assert.equal(await status(100), "200 ");
      assert.equal(await status(101), "431 the request has 101 headers; 100 are the limit.");
    });

    it("bytes of headers: 16384", async () => {
      const ask = (bytes: number) =>
        exchange(
          `GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx: ${"x".repeat(bytes)}\r\n\r\n`,
        );
      assert.match(await ask(16_000), /^HTTP\/1\.1 200 /);
      assert.match(await ask(17_000), /^HTTP\/1\.1 431 .*over 16384 bytes/s);
    });
  });

  it("takes no body that is compressed, nor one in another charset", async () => {
    const body = Buffer.from('{"features":["is_summer"],"inputs":{"month_of_absence":1}}');
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024, " "));
    for (const encoding of ["gzip", "deflate", "br", "GZIP", "identity, gzip", "x", ""])
      for (const payload of [bomb, body])
        assert.match(
          await outcome(payload, { "content-encoding": encoding }),
          /^415 MEDIA_TYPE_UNSUPPORTED the body has a content-encoding/,
          encoding,
        );
    for (const type of ["", "; charset=utf-8", ";charset=UTF-8", '; charset="utf-8"', "; x=y"])
      assert.equal(await outcome(body, { "content-type": `application/json${type}` }), "200", type);
    assert.equal(await outcome(body, { "content-encoding": "identity" }), "200");
    for (const type of [
      "application/json; charset=latin1",
      "application/json;charset=utf-16",
      'application/json; charset="utf-7"',
      "application/json; x=y; charset=utf-8x",
      "application/json5",
      "text/json",
      "application/jsonp",
      "json",
      "application/*",
      "*/*",
      "application/x-www-form-urlencoded",
      "multipart/form-data; boundary=x",
      "text/plain",
      "application/json, text/plain",
      "application/problem+json",
      "application/xml",
    ])
      assert.match(await outcome(body, { "content-type": type }), /^415 MEDIA_TYPE/, type);
  });

  it("takes no number for an integer that JSON has rounded to one", async () => {
    for (const text of [
      "4503599627370497.5",
      "9007199254740991.4",
      "0.99999999999999999",
      "1e-400",
    ]) {
      const refused = /^400 VALUE_INVALID /;
      const has = '"features":["has_pet"]';
      for (const body of [
        `{${has},"inputs":{"pet":${text}}}`,
        `{${has},"inputs":[{"pet":1},{"pet":${text}}]}`,
        `{${has},"entities":[{"id":${text}}]}`,
      ]) {
        assert.match(await outcome(body), refused, body);
        assert.ok((await outcome(body)).includes(` is ${text}; expected `), body);
      }
      assert.equal(
        await outcome(`{${has},"inputs":{"pet":1},"max_age":9007199254740991.4}`),
        "200",
      );
      for (const member of ["inputs", "entities", "snapshots", "features", "service", "form"]) {
        const body = `{${member === "features" ? "" : `${has},`}"${member}":${text}}`;
        assert.match(await outcome(body), /^400 REQUEST_INVALID /, body);
      }
    }
    assert.equal(await outcome('{"features":["has_pet"],"inputs":{"pet":1.0}}'), "200");
  });

  /** All that the server sends until it closes the connection. */
  async function exchange(...parts: readonly (string | Buffer)[]): Promise<string> {
    const socket = connect(port, "127.0.0.1");
    let received = "";
    socket.on("data", (chunk: Buffer) => (received += chunk.toString("latin1")));
    socket.on("error", () => undefined);
    await once(socket, "connect");
    for (const part of parts) socket.write(part);
    if (!socket.closed) await once(socket, "close");
    return received;
  }
  const json = "content-type: application/json";
  const ok = '{"features":["is_summer"],"inputs":{"month_of_absence":1}}';
  const smuggled = "GET /v1/catalogue HTTP/1.1\r\nhost: x\r\n\r\n";

  /** What no server may answer with success, and what must not be taken for two requests. */
  const corpus: Readonly<Record<string, string | Buffer>> = {
    "two lengths": `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\ncontent-length: 0\r\ncontent-length: ${smuggled.length}\r\n\r\n${smuggled}`,
    "two equal lengths": `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n{}`,
    "lengths in a list": `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\ncontent-length: 2, 2\r\n\r\n{}`,
    "length and chunks": `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\ncontent-length: ${smuggled.length + 5}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
    "chunks and length": `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n${smuggled}`,
    "chunks under another name": `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n`,
    "chunks that are not last": `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
    "chunks twice": `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    "chunks of HTTP/1.0": `POST /v1/features HTTP/1.0\r\nhost: x\r\n${json}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
    "chunks with a space before the colon": `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n${smuggled}`,
    "chunks after a tab": `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\ntransfer-encoding:\tchunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n${smuggled}`,
    "a chunk size that is negative": `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n\r\n`,
    "a chunk size that overflows": `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\ntransfer-encoding: chunked\r\n\r\n${"f".repeat(40)}\r\n{}\r\n0\r\n\r\n`,
    "a chunk size with 0x": `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\ntransfer-encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n`,
    "a chunk ended by LF alone": `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\ntransfer-encoding: chunked\r\n\r\n2\n{}\n0\n\n`,
    "chunk extensions without end": `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\ntransfer-encoding: chunked\r\n\r\n2;${"x".repeat(70_000)}\r\n{}\r\n0\r\n\r\n`,
    "a length that is negative": `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\ncontent-length: -1\r\n\r\n`,
    "a length with a plus": `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\ncontent-length: +2\r\n\r\n{}`,
    "a length in hexadecimal": `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\ncontent-length: 0x2\r\n\r\n{}`,
    "a length that overflows": `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\ncontent-length: 99999999999999999999\r\n\r\n{}`,
    "a length beyond the limit": `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\ncontent-length: 99999999\r\n\r\n{}`,
    "a header folded": `GET /healthz HTTP/1.1\r\nhost: x\r\nx-a: 1\r\n 2\r\n\r\n`,
    "a header that begins with a space": `GET /healthz HTTP/1.1\r\n host: x\r\n\r\n`,
    "a header with NUL": `GET /healthz HTTP/1.1\r\nhost: x\r\nx-a: a\0b\r\n\r\n`,
    "a header with a lone CR": `GET /healthz HTTP/1.1\r\nhost: x\r\nx-a: a\rx-b: 1\r\n\r\n`,
    "a header without a name": `GET /healthz HTTP/1.1\r\nhost: x\r\n: 1\r\n\r\n`,
    "a header without a colon": `GET /healthz HTTP/1.1\r\nhost: x\r\nnonsense\r\n\r\n`,
    "a header name that is no token": `GET /healthz HTTP/1.1\r\nhost: x\r\nx(a): 1\r\n\r\n`,
    "no host": "GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": "GET /healthz HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    "two types": `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\nContent-Type: text/plain\r\ncontent-length: ${ok.length}\r\n\r\n${ok}`,
    "two callers":
      "GET /v1/services HTTP/1.1\r\nhost: x\r\nAuthorization: Bearer a\r\nauthorization: Bearer b\r\n\r\n",
    "NUL in the path": "GET /v1/\0 HTTP/1.1\r\nhost: x\r\n\r\n",
    "a path with a line end": "GET /v1/services\r\nx: y HTTP/1.1\r\nhost: x\r\n\r\n",
    "no path": "GET HTTP/1.1\r\nhost: x\r\n\r\n",
    "an escaped NUL": "GET /v1/services/%00 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    "a path that leaves":
      "GET /v1/services/../../etc/passwd HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    "an escaped path that leaves":
      "GET /v1/services/..%2f..%2fetc%2fpasswd HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    "an escape that is none":
      "GET /v1/services/%zz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    "an overlong escape":
      "GET /v1/services/%c0%ae%c0%ae HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    "a path without end": `GET /${"a".repeat(70_000)} HTTP/1.1\r\nhost: x\r\n\r\n`,
    "a megabyte of one header": `GET /healthz HTTP/1.1\r\nhost: x\r\nx: ${"x".repeat(1024 * 1024)}\r\n\r\n`,
    "ten thousand headers": `GET /healthz HTTP/1.1\r\nhost: x\r\n${"x: 1\r\n".repeat(10_000)}\r\n`,
    "a thousand headers": `GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n${"x: 1\r\n".repeat(1_000)}\r\n`,
    "a method that is none": "NONSENSE / HTTP/1.1\r\nhost: x\r\n\r\n",
    CONNECT: "CONNECT example.com:443 HTTP/1.1\r\nhost: x\r\n\r\n",
    TRACE: "TRACE /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    "the preface of HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a TLS handshake": Buffer.from("16030100c8010000c40303", "hex"),
    "HTTP/0.9": "GET /healthz\r\n",
    "HTTP/1.2": "GET /healthz HTTP/1.2\r\nhost: x\r\n\r\n",
    "HTTP/11": "GET /healthz HTTP/11\r\nhost: x\r\n\r\n",
    bytes: Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 7919) % 256)),
    "a wish that is none": `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\nexpect: 200-ok\r\nconnection: close\r\ncontent-length: ${ok.length}\r\n\r\n${ok}`,
    "half a body": `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\ncontent-length: 100\r\n\r\n{`,
  };

  it("answers bytes that are no request, or two, with 4xx, once, and goes on", async () => {
    log.splice(0);
    await Promise.all(
      Object.entries(corpus).map(async ([name, bytes]) => {
        const reply = await exchange(bytes);
        // Node closes a CONNECT that nobody listens for, without a word.
        if (name === "CONNECT") return void assert.equal(reply, "");
        assert.match(reply, /^HTTP\/1\.1 4\d\d /, `${name}: ${reply.slice(0, 200)}`);
        const statuses = [...reply.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status);
        assert.ok(
          statuses.every((status) => status?.startsWith("4")),
          `${name}: ${statuses.join()}`,
        );
        assert.doesNotMatch(reply, /"views"|root:|\.ts:|node_modules/, name);
      }),
    );
    assert.equal((await fetch(`http://127.0.0.1:${port}/healthz`)).status, 200);
    // Refusals are no failures of the service.
    assert.deepEqual(log, []);
  });

  it("takes HTTP/1.0, as old proxies speak it", async () => {
    assert.match(await exchange("GET /healthz HTTP/1.0\r\n\r\n"), /^HTTP\/1\.1 200 .*"alive"/s);
  });

  it("closes 500 slow connections in time, and answers others meanwhile", async function () {
    // In what time exactly is for test/long: how fast 500 of them get anywhere is up to the machine.
    this.timeout(90_000);
    const heads = [
      "POST /v1/features HTTP/1.1\r\nhost: x\r\n",
      `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\ncontent-length: 1000\r\n\r\n`,
      "",
    ];
    const sockets = Array.from({ length: 500 }, () => connect(port, "127.0.0.1"));
    const trickles = sockets.map((socket, i) => {
      socket.on("error", () => undefined);
      socket.resume();
      socket.write(heads[i % heads.length] ?? "");
      // A byte now and then, so that the connection is never idle.
      return setInterval(() => void (socket.writable && socket.write("x")), 100);
    });
    let served = 0;
    try {
      await until("all slow connections are closed", async () => {
        const { status } = await fetch(`http://127.0.0.1:${port}/v1/features`, {
          method: "POST",
          body: ok,
          headers: { "content-type": "application/json" },
        });
        assert.equal(status, 200);
        served++;
        return sockets.every(({ closed }) => closed);
      });
    } finally {
      for (const trickle of trickles) clearInterval(trickle);
      for (const socket of sockets) socket.destroy();
    }
    assert.ok(served >= 5, `${served}`);
  });

  it("closes the connection of a client that reads a large reply slowly, however steadily", async function () {
    this.timeout(150_000);
    // From inputs alone, so that no pause of Redis makes the replies small.
    const row = { month_of_absence: 1, pet: 1, son: 1, day_of_the_week: 2 };
    const names = ["is_summer", "has_pet", "has_children", "day_of_the_week_2"];
    const body = JSON.stringify({ features: names, inputs: Array(1000).fill(row) });
    const requests = `POST /v1/features HTTP/1.1\r\nhost: x\r\n${json}\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
    const { catalogue } = example;
    const deadlines = { replyMs: 1_000, idleMs: 600_000 };
    // None is refused as too many.
    const load = { concurrency: 1_000, deadlineMs: 60_000 };
    const own = buildApp({ catalogue, lookup, deadlines, load, log: "silent" });
    const { port } = new URL(await own.listen({ port: 0, host: "127.0.0.1" }));
    // A client that does not read does not learn of the end either, so the server's side is asked.
    const accepted = new Map<number | undefined, Socket>();
    own.server.on("connection", (socket: Socket) => accepted.set(socket.remotePort, socket));
    const [stalled, steady] = [
      connect(Number(port), "127.0.0.1"),
      connect(Number(port), "127.0.0.1"),
    ];
    await Promise.all([once(stalled, "connect"), once(steady, "connect")]);
    // A socket that was closed no longer knows its port.
    const ports = { stalled: stalled.localPort, steady: steady.localPort };
    for (const socket of [stalled, steady]) {
      socket.on("error", () => undefined).pause();
      // More replies than the kernel keeps for a connection.
      socket.write(requests.repeat(100));
    }
    const reading = setInterval(() => void steady.read(1024), 50);
    for (const [name, localPort] of Object.entries(ports))
      await until(
        `the ${name} connection is closed`,
        () => accepted.get(localPort)?.destroyed === true,
      );
    clearInterval(reading);
    stalled.destroy();
    steady.destroy();
    await own.close();
  });

  it("has no parameter that names a file, nor a route that reads one", async () => {
    const document = (await app.inject("/openapi.json")).body;
    assert.doesNotMatch(document, /"name":"[^"]*(path|uri|url|file)[^"]*"/i);
    for (const url of [
      "/docs/../server.ts",
      "/docs/%2e%2e/package.json",
      "/package.json",
      "/.env",
    ]) {
      const request: InjectOptions = { method: "GET", url };
      assert.equal((await app.inject(request)).statusCode, 404, url);
    }
  });
});
