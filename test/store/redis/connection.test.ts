import assert from "node:assert/strict";
import { once } from "node:events";
import type { Server, Socket } from "node:net";
import { createServer } from "node:net";
import { Redis } from "ioredis";
import type { ErrorCode, OnceflowError } from "../../../engine/errors.ts";
import { columnsOfRows } from "../../../store/rows/column-data.ts";
import { encodeEntityKey } from "../../../store/rows/entity-key.ts";
import { createOnlineStore } from "../../../store/online-store.ts";
import type { RedisConnection, RedisDeadlines, RedisRole } from "../../../store/redis/types.ts";
import { connectRedis } from "../../../store/redis/connection.ts";
import { createRowCodec } from "../../../store/rows/codec.ts";
import type { RedisServer } from "../../support/redis/server.ts";
import { startRedis } from "../../support/redis/server.ts";
import { readDecoded } from "../../support/redis/read-rows.ts";
import { failsAtOnce, failsWith } from "../../support/fails-with.ts";
import { until } from "../../support/until.ts";

const view = {
  view: "users",
  kind: "entities",
  fingerprint: "ab",
  columns: [{ name: "t", dtype: "string" }],
} as const;
const codec = createRowCodec(view.columns);

/** Resolves once the action succeeds. */
const untilDone = (name: string, action: () => Promise<unknown>) =>
  until(name, () =>
    action().then(
      () => true,
      () => false,
    ),
  );

describe("redis connection", () => {
  let server: RedisServer;
  let admin: Redis;
  const open: RedisConnection[] = [];
  const connect = (
    role: RedisRole = "writing",
    url = server.url,
    deadlines: Partial<RedisDeadlines> = {},
  ) => {
    const connection = connectRedis(url, role, deadlines);
    open.push(connection);
    return connection;
  };
  before(async () => {
    server = await startRedis();
  });
  beforeEach(() => {
    admin = new Redis(server.url, { protocol: 2 });
    admin.on("error", () => undefined);
  });
  afterEach(async () => {
    await Promise.all(open.splice(0).map((connection) => connection.close()));
    await admin.config("SET", "maxmemory-policy", "noeviction", "maxmemory", "0");
    await admin.quit();
  });
  after(() => server.stop());

  function writeOne(connection: RedisConnection, text: string) {
    const store = createOnlineStore(connection);
    return store.openNamespace(view, { buckets: 1 }).then((namespace) =>
      store.writeRows(namespace, {
        codec,
        count: 1,
        keys: [[text.slice(0, 8)]],
        columns: columnsOfRows(view.columns, [[text]]),
        eventTimesUs: 1,
        mark: { generation: 1, endMs: 0 },
        ordinals: 0,
      }),
    );
  }

  it("refuses a Redis that may evict, also where CONFIG is not permitted", async () => {
    await connect().assertNoEviction();
    await admin.config("SET", "maxmemory-policy", "allkeys-lru");
    const evicts = { code: "STORE_EVICTS", message: /maxmemory-policy allkeys-lru.*noeviction/ };
    await assert.rejects(connect().assertNoEviction(), evicts);
    await admin.acl("SETUSER", "app", "on", ">secret", "~*", "+@all", "-config");
    const app = connect("writing", server.url.replace("//", "//app:secret@"));
    await failsWith(app.send(["config", "GET", "*"]), "CONFIG_INVALID");
    await assert.rejects(app.assertNoEviction(), evicts);
  });

  it("says STORE_FULL when Redis is out of memory, and writes again when it is not", async () => {
    const connection = connect();
    await writeOne(connection, "before");
    await admin.config("SET", "maxmemory", "1");
    const failed = writeOne(connection, "full");
    await assert.rejects(failed, {
      code: "STORE_FULL",
      message: /127\.0\.0\.1:\d+ failed at writeRows/,
    });
    const namespace = await createOnlineStore(connection).openNamespace(view, { buckets: 1 });
    const read = {
      namespace,
      keys: ["before", "full"].map((key) => encodeEntityKey([key])),
      decode: codec.decoder(["t"]),
    };
    const { rows } = await readDecoded(createOnlineStore(connection), [read]);
    assert.deepEqual(
      rows[0]?.map((row) => row?.values[0]),
      ["before", undefined],
    );
    await admin.config("SET", "maxmemory", "0");
    assert.equal((await writeOne(connection, "full")).written, 1);
  });

  it("reloads its scripts when Redis has forgotten them", async () => {
    const connection = connect();
    await writeOne(connection, "one");
    await admin.script("FLUSH");
    assert.equal((await writeOne(connection, "two")).written, 1);
  });

  it("rejects the whole pipeline where one member fails", async () => {
    const connection = connect();
    await admin.set("text", "a");
    const pipeline = connection.pipeline([
      ["get", "text"],
      ["hget", "text", "field"],
      ["get", "text"],
    ]);
    await assert.rejects(pipeline, { code: "INTERNAL", message: /failed at hget: WRONGTYPE/ });
    assert.deepEqual(await connection.pipeline([]), []);
  });

  it("gives each command its own reply, whether sent at once or queued, as text or as bytes", async () => {
    const values = ["a", "b", "c", "d"];
    for (const value of values) await admin.set(`own:${value}`, value);
    const commands = values.map((value, i): [string, string | Buffer] => [
      "get",
      i % 2 === 0 ? `own:${value}` : Buffer.from(`own:${value}`),
    ]);
    const connection = connect();
    const ask = async () =>
      (await connection.pipeline([...commands, ["get", "own:none"]])).map((reply) =>
        reply === null ? null : String(reply),
      );
    // The first are sent before the client has connected.
    const early = [ask(), connection.send(["get", "own:c"]).then(String), ask()];
    const expected = [...values, null];
    assert.deepEqual(await Promise.all(early), [expected, "c", expected]);
    await connection.ready();
    const many = Array.from({ length: 50 }, (_, i) =>
      i % 3 === 0
        ? writeOne(connection, `${i}`).then(({ written }) => written)
        : i % 3 === 1
          ? ask()
          : connection.send(["get", "own:d"]).then(String),
    );
    for (const [i, reply] of (await Promise.all(many)).entries())
      if (i % 3 > 0) assert.deepEqual(reply, i % 3 === 1 ? expected : "d");
    // Commands that were under way fail, and none of those after them gets their replies.
    const lost = Array.from({ length: 20 }, () => ask().catch(() => expected));
    await admin.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    assert.deepEqual(await Promise.all(lost), new Array(20).fill(expected));
    await untilDone("it is connected again", ask);
    assert.deepEqual(await ask(), expected);
  });

  it("says CONFIG_INVALID for a database that is not there, before anything is answered", async () => {
    const connection = connect("writing", `${server.url}/99`);
    for (const sent of [connection.send(["ping"]), connection.pipeline([["get", "x"]])])
      await assert.rejects(sent, { code: "CONFIG_INVALID", message: /out of range.*REDIS_URL/ });
    await connect("writing", `${server.url}/1`).send(["ping"]);
  });

  it("says CONFIG_INVALID for a URL that could be read in two ways, and never shows a password", () => {
    for (const [url, why] of [
      ["redis://127.0.0.1:6379/abc", /no database number/],
      ["redis://u:hunter2%ZZ@127.0.0.1", /percent-encoded/],
      [
        "redis://u:hunter2@127.0.0.1?keyPrefix=shop:",
        /options after a \?, of which there are none/,
      ],
      ["rediss://u:hunter2@127.0.0.1?tls[rejectUnauthorized]=false", /options after a \?/],
      ["redis+cluster://u:hunter2%ZZ@a:1", /percent-encoded/],
      ["redis+cluster://a:1/1", /no database number and no options/],
      ["redis+cluster://a:1?db=1", /no database number and no options/],
      ["redis+cluster://a:1,", /host that is empty/],
      ["http://u:hunter2@a", /begins with http:\/\//],
    ] as const)
      assert.throws(
        () => connectRedis(url, "serving"),
        (error: OnceflowError) =>
          error.code === "CONFIG_INVALID" &&
          why.test(error.message) &&
          !error.message.includes("hunter2"),
        url,
      );
  });

  it("says CONFIG_INVALID for wrong credentials, and never shows a password", async () => {
    await admin.acl("SETUSER", "locked", "on", ">right", "~*", "+@all");
    for (const role of ["serving", "writing"] as const) {
      const connection = connect(role, server.url.replace("//", "//locked:hunter2@"));
      const wrong = /127\.0\.0\.1.*WRONGPASS.*REDIS_URL/;
      const error = await failsWith(connection.ready(), "CONFIG_INVALID", wrong);
      await failsWith(connection.send(["ping"]), "CONFIG_INVALID");
      const shown = JSON.stringify([error.message, error.details, error.cause]) + error.stack;
      assert.ok(!shown.includes("hunter2"));
    }
    for (const url of ["nonsense hunter2", "http://user:hunter2@host"])
      assert.throws(
        () => connectRedis(url, "serving"),
        (error: OnceflowError) =>
          error.code === "CONFIG_INVALID" && !error.message.includes("hunter2"),
      );
  });

  it("says STORE_UNAVAILABLE within the deadline when Redis is killed, and recovers", async () => {
    const own = await startRedis();
    const [serving, writing] = [connect("serving", own.url), connect("writing", own.url)];
    let reconnects = 0;
    serving.onReconnect(() => reconnects++);
    await Promise.all([serving.ready(), writing.ready()]);
    await own.kill();
    for (const connection of [serving, writing]) {
      const told = new RegExp(`127.0.0.1:${own.port} failed at get.*REDIS_URL`);
      const error = await failsWith(connection.send(["get", "x"]), "STORE_UNAVAILABLE", told);
      // Neither waits for its deadline.
      assert.doesNotMatch(error.message, /timed out/);
    }
    // Without a connection a request is refused at once, however long the reconnects take.
    for (let i = 0; i < 50; i++) await failsAtOnce(serving.send(["get", "x"]), "STORE_UNAVAILABLE");
    const next = await startRedis({ port: own.port });
    await untilDone("it is written again", () => serving.send(["set", "x", "1"]));
    await until("it is read", async () => {
      const read = await writing.send(["get", "x"]).catch(() => null);
      return String(read) === "1";
    });
    assert.equal(reconnects, 1);
    await next.stop();
    await own.stop();
  });

  it("says STORE_UNAVAILABLE within the deadline when Redis hangs, and recovers", async () => {
    const own = await startRedis();
    const serving = connect("serving", own.url);
    await serving.ready();
    own.signal("SIGSTOP");
    await Promise.all(
      Array.from({ length: 20 }, () =>
        // By its own deadline, before the silence of all is noticed.
        failsWith(serving.send(["get", "x"]), "STORE_UNAVAILABLE", /Command timed out/),
      ),
    );
    own.signal("SIGCONT");
    await untilDone("it is written again", () => serving.send(["set", "x", "1"]));
    await own.stop();
  });

  const soonSilent = { socketTimeoutMs: 200, commandTimeoutMs: 60_000 };

  it("gives up a connection on which replies are due and no byte comes", async () => {
    const own = await startRedis();
    const serving = connect("serving", own.url, soonSilent);
    await serving.ready();
    own.signal("SIGSTOP");
    await failsWith(serving.send(["get", "x"]), "STORE_UNAVAILABLE", /Socket timeout.* 200ms/);
    // So is one that has no answer to the first command of all, and what it waited for.
    const early = connect("writing", own.url, soonSilent);
    await failsWith(early.send(["get", "x"]), "STORE_UNAVAILABLE", /Socket timeout.* 200ms/);
    own.signal("SIGCONT");
    await untilDone("it is read again", () => serving.send(["get", "x"]));
    await own.stop();
  });

  it("keeps a connection whose replies came while this process did something else", async () => {
    const serving = connect("serving", server.url, soonSilent);
    await serving.ready();
    let reconnects = 0;
    serving.onReconnect(() => reconnects++);
    await serving.send(["set", "busy", "1"]);
    for (let i = 0; i < 3; i++) {
      const replies = [serving.send(["get", "busy"]), serving.send(["get", "busy"])];
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 4 * soonSilent.socketTimeoutMs);
      assert.deepEqual((await Promise.all(replies)).map(String), ["1", "1"]);
    }
    assert.equal(reconnects, 0);
  });

  it("says STORE_UNAVAILABLE where nothing listens, at once for a request", async () => {
    const own = await startRedis();
    await own.stop();
    const serving = connect("serving", own.url);
    await failsAtOnce(serving.send(["ping"]), "STORE_UNAVAILABLE");
    await assert.rejects(serving.ready(), { code: "STORE_UNAVAILABLE", message: /ECONNREFUSED/ });
  });
});

/** A server that answers INFO, and every other command with the same line. */
async function startFake(line: string): Promise<{ url: string; server: Server }> {
  const server = createServer((socket: Socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (data) => {
      const commands = data.toString().match(/\*\d+\r\n\$\d+\r\n\w+/g) ?? [];
      for (const command of commands)
        socket.write(/info$/i.test(command) ? "$16\r\nredis_version:7\n\r\n" : `${line}\r\n`);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  return { url: `redis://127.0.0.1:${address.port}`, server };
}

describe("redis errors", () => {
  const answers: [line: string, code: ErrorCode][] = [
    ["-OOM command not allowed when used memory > 'maxmemory'.", "STORE_FULL"],
    ["-ERR Error running script: @user_script:12: -OOM command not allowed", "STORE_FULL"],
    ["-LOADING Redis is loading the dataset in memory", "STORE_UNAVAILABLE"],
    ["-READONLY You can't write against a read only replica.", "STORE_UNAVAILABLE"],
    ["-MASTERDOWN Link with MASTER is down", "STORE_UNAVAILABLE"],
    ["-CLUSTERDOWN The cluster is down", "STORE_UNAVAILABLE"],
    ["-TRYAGAIN Multiple keys request during rehashing of slot", "STORE_UNAVAILABLE"],
    ["-MISCONF Redis is configured to save RDB snapshots", "STORE_UNAVAILABLE"],
    ["-NOREPLICAS Not enough good replicas to write.", "STORE_UNAVAILABLE"],
    ["-BUSY Redis is busy running a script.", "STORE_UNAVAILABLE"],
    ["-ERR max number of clients reached", "STORE_UNAVAILABLE"],
    ["-NOAUTH Authentication required.", "CONFIG_INVALID"],
    ["-WRONGPASS invalid username-password pair or user is disabled.", "CONFIG_INVALID"],
    ["-NOPERM this user has no permissions to run the 'get' command", "CONFIG_INVALID"],
    ["-ERR unknown command 'hmget'", "CONFIG_INVALID"],
    ["-CROSSSLOT Keys in request don't hash to the same slot", "CONFIG_INVALID"],
    ["-MOVED 3999 127.0.0.1:6381", "CONFIG_INVALID"],
    ["-EXECABORT Transaction discarded because of previous errors.", "INTERNAL"],
    ["-WRONGTYPE Operation against a key holding the wrong kind of value", "INTERNAL"],
  ];
  for (const [line, code] of answers)
    it(`takes "${line}" for ${code}`, async () => {
      const { url, server } = await startFake(line);
      const connection = connectRedis(url, "writing");
      try {
        const failed = connection.send(["get", "x"]);
        await assert.rejects(failed, {
          code,
          message: /^Redis at 127\.0\.0\.1:\d+ failed at get: /,
        });
      } finally {
        await connection.close();
        server.close();
      }
    });
});
