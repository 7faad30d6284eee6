import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { inTurn, type TurnLimits } from "../../../serving/http/turns.ts";
import { until } from "../../support/until.ts";

describe("turns of a connection", () => {
  let server: Server;
  let accepted: Socket[];
  const clients: Socket[] = [];
  afterEach(async () => {
    for (const client of clients.splice(0)) client.destroy();
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  });

  async function open(listener: RequestListener, limits: Partial<TurnLimits> = {}): Promise<void> {
    accepted = [];
    server = createServer(inTurn(listener, limits));
    server.on("connection", (socket) => accepted.push(socket));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  }
  async function client(requests: string): Promise<Socket> {
    const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
    clients.push(socket);
    socket.on("error", () => undefined);
    await once(socket, "connect");
    socket.write(requests);
    return socket;
  }
  const get = (path: string) => `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`;
  const many = (count: number) => Array.from({ length: count }, (_, i) => get(`/${i}`)).join("");
  async function received(socket: Socket): Promise<string[]> {
    let text = "";
    socket.on("data", (chunk) => (text += String(chunk)));
    await once(socket, "close");
    return [...text.matchAll(/<(\d+)>/g)].map(([, path]) => path ?? "");
  }

  it("are one after the other, in the order of the requests, and those of others go on", async () => {
    const begun: string[] = [];
    const ends: (() => void)[] = [];
    await open(({ url = "" }, response) => {
      begun.push(url);
      ends.push(() => response.end(`<${url.slice(1)}>`));
    });
    const socket = await client(
      many(3) + get("/9").replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n"),
    );
    const texts = received(socket);
    await until("the first has begun", () => begun.length === 1);
    await client(get("/other"));
    await until("the other has begun", () => begun.length === 2);
    assert.deepEqual(begun, ["/0", "/other"]);
    ends.shift()?.();
    ends.shift()?.();
    for (const next of ["/1", "/2", "/9"]) {
      await until(`${next} has begun`, () => begun.at(-1) === next);
      assert.equal(ends.length, 1);
      ends.shift()?.();
    }
    assert.deepEqual(await texts, ["0", "1", "2", "9"]);
  });

  it("are so many at most: those are answered, then the connection is closed", async () => {
    await open(
      ({ url = "" }, response) => {
        setImmediate(() => response.end(`<${url.slice(1)}>`));
      },
      { waiting: 4 },
    );
    const expected = ["0", "1", "2", "3", "4"];
    assert.deepEqual(await received(await client(many(12))), expected);
    // As many as there is room for, again and again, are no reason to close.
    const steady = await client("");
    let text = "";
    steady.on("data", (chunk) => (text += String(chunk)));
    for (let round = 1; round <= 5; round++) {
      steady.write(many(5));
      await until("all are answered", () => text.match(/<4>/g)?.length === round);
    }
    assert.equal(steady.closed, false);
  });

  it("end at once where a client floods, without another request being begun", async () => {
    let begun = 0;
    await open(() => void begun++, { waiting: 4, flood: 8 });
    const socket = await client(many(1_000));
    socket.resume();
    await once(socket, "close");
    assert.equal(begun, 1);
  });

  it("give up those that wait when the client goes", async () => {
    const begun: string[] = [];
    await open(({ url = "" }) => void begun.push(url));
    const socket = await client(many(4));
    await until("the first has begun", () => begun.length === 1);
    socket.destroy();
    await until("the connection is closed", () => accepted[0]?.destroyed === true);
    assert.deepEqual(begun, ["/0"]);
  });

  it("end in time where an answer is not read, however small each is", async () => {
    let begun = 0;
    await open(
      (_, response) => {
        begun++;
        response.end("x".repeat(1_000));
      },
      { replyMs: 200 },
    );
    const socket = await client("");
    socket.pause();
    // Until the buffers of the kernel are full.
    const feed = setInterval(() => socket.writable && socket.write(many(20)), 1);
    await until("the connection is closed", () => accepted[0]?.destroyed === true);
    clearInterval(feed);
    assert.ok(begun > 20, `${begun}`);
  });

  it("keep so many bytes at most of answers that are not read: who waits longest is closed", async () => {
    const answer = Buffer.alloc(16 * 1024 * 1024);
    await open((_, response) => void response.end(answer), { unreadBytes: 40 * 1024 * 1024 });
    for (let i = 0; i < 5; i++) {
      (await client(get("/"))).pause();
      await until("it is accepted", () => (accepted[i]?.writableLength ?? 0) > 0 || i > 2);
    }
    await until(
      "all but the newest are closed",
      () => accepted.length === 5 && accepted.filter(({ destroyed }) => destroyed).length === 3,
    );
    assert.deepEqual(
      accepted.map(({ destroyed }) => destroyed),
      [true, true, true, false, false],
    );
  });
});
