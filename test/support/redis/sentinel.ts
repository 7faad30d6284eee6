/** Real Sentinels for tests: a master, three replicas, and three Sentinels that watch them. */
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import type { RedisServer } from "./server.ts";
import { freePort, startRedis } from "./server.ts";
import { until } from "../until.ts";

const name = "onceflow";

/** A master with replicas, and the Sentinels that watch it. */
export interface SentinelSet {
  /** `redis+sentinel://`, naming all Sentinels. */
  readonly url: string;
  /** What the Sentinels call the master. */
  readonly name: string;
  readonly sentinelPorts: readonly number[];
  /** The server that is the master now, as Sentinels and the server itself say. */
  readonly master: () => Promise<RedisServer>;
  /** A plain client of a server; closed with the set. */
  readonly clientOf: (server: RedisServer) => Redis;
  /** Asks a Sentinel to let a replica take over, while the master is alive. */
  readonly failOver: () => Promise<void>;
  /** Ends all Sentinels as `kill -9` does, or starts them again. */
  readonly killSentinels: () => Promise<void>;
  readonly startSentinels: () => Promise<void>;
  /** Waits until a replica follows, and all Sentinels know one and each other. */
  readonly untilOk: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

/** Starts a master, three replicas and three Sentinels, and waits until they know each other. */
export async function startSentinelSet(): Promise<SentinelSet> {
  const args = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];
  const first = await startRedis({ args });
  // A former master takes 8 s to become a replica, so that there is one for each of a few failovers.
  const replicas = await Promise.all(
    Array.from({ length: 3 }, () =>
      startRedis({ args: [...args, "--replicaof", `127.0.0.1 ${first.port}`] }),
    ),
  );
  const servers = [first, ...replicas];
  const clients = new Map<number, Redis>();
  const clientAt = (port: number): Redis => {
    let client = clients.get(port);
    if (client === undefined) {
      client = new Redis(port, "127.0.0.1", { protocol: 2, maxRetriesPerRequest: 0 });
      client.on("error", () => undefined);
      clients.set(port, client);
    }
    return client;
  };
  const directory = mkdtempSync(join(tmpdir(), "onceflow-sentinels-"));
  const sentinelPorts = await Promise.all([freePort(), freePort(), freePort()]);
  for (const port of sentinelPorts)
    writeFileSync(
      join(directory, `${port}.conf`),
      [
        `port ${port}`,
        "bind 127.0.0.1",
        `dir ${directory}`,
        `sentinel monitor ${name} 127.0.0.1 ${first.port} 2`,
        `sentinel down-after-milliseconds ${name} 1500`,
        `sentinel failover-timeout ${name} 1500`,
      ].join("\n"),
    );
  let sentinels: ChildProcess[] = [];
  const endWithTests = () => {
    for (const sentinel of sentinels) sentinel.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  };
  process.once("exit", endWithTests);

  async function startSentinels(): Promise<void> {
    sentinels = sentinelPorts.map((port) =>
      spawn("redis-server", [join(directory, `${port}.conf`), "--sentinel"], { stdio: "ignore" }),
    );
    await Promise.all(
      sentinelPorts.map(async (port) => {
        await until("the Sentinel answers", () =>
          clientAt(port)
            .ping()
            .then(
              () => true,
              () => false,
            ),
        );
        // By default they look at replicas every 10 s. Redis 6.2 knows no such command.
        await clientAt(port)
          .call("sentinel", "DEBUG", "info-period", 500)
          .catch(() => undefined);
      }),
    );
    await untilOk();
  }
  async function killSentinels(): Promise<void> {
    await Promise.all(
      sentinels.splice(0).map(async (sentinel) => {
        const ended = once(sentinel, "exit");
        sentinel.kill("SIGKILL");
        await ended;
      }),
    );
  }
  async function factsOf(port: number): Promise<ReadonlyMap<string, string>> {
    const flat = (await clientAt(port).call("sentinel", "MASTER", name)) as string[];
    return new Map(
      Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i] ?? "", flat[2 * i + 1] ?? ""]),
    );
  }
  async function master(): Promise<RedisServer> {
    let found: RedisServer | undefined;
    await until("the Sentinels agree on a master", async () => {
      const ports = await Promise.all(
        sentinelPorts.map(async (port) => (await factsOf(port)).get("port")),
      ).catch(() => [""]);
      found = servers.find(({ port }) => ports.every((each) => each === `${port}`));
      return found !== undefined;
    });
    return found as RedisServer;
  }
  async function untilOk(): Promise<void> {
    await until("the Sentinels know all", async () => {
      try {
        const facts = await Promise.all(sentinelPorts.map(factsOf));
        const { port } = await master();
        const info = await clientAt(port).info("replication");
        return (
          /state=online/.test(info) &&
          facts.every(
            (each) =>
              Number(each.get("num-slaves")) > 0 &&
              each.get("num-other-sentinels") === "2" &&
              each.get("flags") === "master",
          )
        );
      } catch {
        return false;
      }
    });
  }

  const set: SentinelSet = {
    url: `redis+sentinel://${sentinelPorts.map((port) => `127.0.0.1:${port}`).join(",")}/${name}`,
    name,
    sentinelPorts,
    master,
    clientOf: ({ port }) => clientAt(port),
    async failOver() {
      // It refuses while the last one is not over.
      await until("the Sentinels begin", async () => {
        const [port = 0] = sentinelPorts;
        const asked = clientAt(port).call("sentinel", "FAILOVER", name);
        return asked.then(
          () => true,
          () => false,
        );
      });
    },
    killSentinels,
    startSentinels,
    untilOk,
    async stop() {
      for (const client of clients.values()) client.disconnect();
      await killSentinels();
      await Promise.all(servers.map((server) => server.stop()));
      process.off("exit", endWithTests);
      endWithTests();
    },
  };
  try {
    await startSentinels();
  } catch (error) {
    await set.stop();
    throw error;
  }
  return set;
}
