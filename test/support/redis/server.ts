/** Real Redis servers for tests: one of the test's own, or a prefix of its own on REDIS_URL. */
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { isFreePort, retryPorts } from "../../../dev/processes.ts";
import { OnceflowError } from "../../../engine/errors.ts";
import type { RedisDeadlines } from "../../../store/redis/types.ts";

/** How long to wait for Redis in tests of anything but that, on machines that do much else. */
export const patient: RedisDeadlines = {
  commandTimeoutMs: 60_000,
  connectTimeoutMs: 15_000,
  socketTimeoutMs: 60_000,
};

/** A redis-server that the test started and may do anything to. */
export interface RedisServer {
  readonly url: string;
  readonly port: number;
  /** Where its append-only file is, if it has one. */
  readonly directory: string;
  /** Ends it as `kill -9` does. */
  readonly kill: () => Promise<void>;
  /** Halts the process without closing its connections; `SIGCONT` wakes it. */
  readonly signal: (signal: NodeJS.Signals) => void;
  /** Ends it and removes its directory. */
  readonly stop: () => Promise<void>;
}

/** Starts an empty redis-server without persistence, on a free port unless one is given. */
export async function startRedis(
  options: { readonly port?: number; readonly args?: readonly string[] } = {},
): Promise<RedisServer> {
  const { port, args = [] } = options;
  if (port !== undefined) return startAt(port, args);
  return retryPorts(async () => startAt(await freePort(), args));
}

/** @throws SETUP_FAILED with what it said; `portTaken` tells that another listens there. */
async function startAt(port: number, args: readonly string[]): Promise<RedisServer> {
  const directory = await mkdtemp(join(tmpdir(), "onceflow-redis-"));
  const server = spawn(
    "redis-server",
    [
      "--port",
      `${port}`,
      "--bind",
      "127.0.0.1",
      "--dir",
      directory,
      "--save",
      "",
      "--appendonly",
      "no",
      ...args,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const endWithTests = () => {
    server.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  };
  process.once("exit", endWithTests);
  try {
    await untilReady(server);
  } catch (error) {
    process.off("exit", endWithTests);
    endWithTests();
    throw error;
  }
  async function kill(): Promise<void> {
    if (server.exitCode !== null || server.signalCode !== null) return;
    const ended = once(server, "exit");
    server.kill("SIGKILL");
    await ended;
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    directory,
    kill,
    signal: (signal) => void server.kill(signal),
    async stop() {
      await kill();
      process.off("exit", endWithTests);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** A Redis for one test file: its URL, and a key prefix that no other file uses. */
export interface TestRedis {
  readonly url: string;
  readonly prefix: string;
  /** Removes what the file wrote, and the server if it was started for it. */
  readonly stop: () => Promise<void>;
}

/** A server of the file's own on 127.0.0.1, without TLS, whatever REDIS_URL says. */
export async function ownRedis(): Promise<TestRedis> {
  const { url, stop } = await startRedis();
  return { url, prefix: randomPrefix(), stop };
}

/** REDIS_URL under a random prefix where it is set, else a server of the file's own. */
export async function testRedis(): Promise<TestRedis> {
  const shared = process.env["REDIS_URL"] ?? "";
  if (shared === "") return ownRedis();
  const prefix = randomPrefix();
  return {
    url: shared,
    prefix,
    async stop() {
      const client = new Redis(shared, { protocol: 2 });
      const found = await scanKeys(client, prefix);
      if (found.length > 0) await client.unlink(...found);
      await client.quit();
    },
  };
}

/** Makes the user that docs/security.md has for servers, of one prefix; answers its URL. */
export async function readingUser(url: string, prefix: string): Promise<string> {
  const text = await readFile(new URL("../../../docs/security.md", import.meta.url), "utf8");
  const [, rules = ""] = /^ACL SETUSER server on >PASSWORD ~onceflow:\* (.+)$/m.exec(text) ?? [];
  const client = new Redis(url, { protocol: 2 });
  const user = `reads-${prefix}`;
  await client.acl("SETUSER", user, "on", ">secret", `~${prefix}:*`, ...rules.split(" "));
  await client.quit();
  return url.replace("//", `//${user}:secret@`);
}

/** A key prefix that is used nowhere else. */
export function randomPrefix(): string {
  return `test-${randomBytes(6).toString("hex")}`;
}

/** Every key that begins with `<prefix>:`, sorted. */
export async function scanKeys(client: Redis, prefix: string): Promise<string[]> {
  const keys = new Set<string>();
  let cursor = "0";
  do {
    const [next, page] = await client.scan(cursor, "MATCH", `${prefix}:*`, "COUNT", 1000);
    for (const key of page) keys.add(key);
    cursor = next;
  } while (cursor !== "0");
  return [...keys].sort();
}

/** Ports that this process has chosen: a server may be about to listen on them. */
const chosenPorts = new Set<number>();

/**
 * A port that nothing listens on, nor on the one 10000 above, where a node of a Cluster has its bus;
 * it has not been given before. Both lie below those that the kernel gives to connections, and so
 * below those of `findFreePorts`: a connection could take one while no server listens.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 20_000);
    if (chosenPorts.has(port)) continue;
    chosenPorts.add(port);
    if ((await isFreePort(port)) && (await isFreePort(port + 10_000))) return port;
  }
}

function untilReady(server: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let output = "";
    server.stdout?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
      if (output.includes("Ready to accept connections")) resolve();
    });
    server.once("error", reject);
    server.once("exit", () =>
      reject(
        new OnceflowError("SETUP_FAILED", `redis-server did not start:\n${output}`, {
          portTaken: /address already in use/i.test(output),
        }),
      ),
    );
  });
}
