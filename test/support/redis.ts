/** Real Redis servers for tests: one of the test's own, or a prefix of its own on REDIS_URL. */
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";

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
  const port = options.port ?? (await freePort());
  const directory = await mkdtemp(join(tmpdir(), "onceflow-redis-"));
  const server = spawn(
    "redis-server",
    [
      ...["--port", `${port}`, "--bind", "127.0.0.1", "--dir", directory],
      ...["--save", "", "--appendonly", "no", ...(options.args ?? [])],
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const endWithTests = () => {
    server.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  };
  process.once("exit", endWithTests);
  await untilReady(server);
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

/** REDIS_URL under a random prefix where it is set, else a server of the file's own. */
export async function testRedis(): Promise<TestRedis> {
  const prefix = randomPrefix();
  const shared = process.env["REDIS_URL"];
  if (shared === undefined) {
    const { url, stop } = await startRedis();
    return { url, prefix, stop };
  }
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
  const text = await readFile(new URL("../../docs/security.md", import.meta.url), "utf8");
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

/**
 * A port that nothing listens on, nor on the one 10000 above, where a node of a Cluster has its bus.
 * Both lie below those that the kernel gives to connections, which could take one meanwhile.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 20_000);
    if ((await isFree(port)) && (await isFree(port + 10_000))) return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
  } catch {
    return false;
  }
  server.close();
  await once(server, "close");
  return true;
}

function untilReady(server: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let output = "";
    server.stdout?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
      if (output.includes("Ready to accept connections")) resolve();
    });
    server.once("error", reject);
    server.once("exit", () => reject(new Error(`redis-server did not start:\n${output}`)));
  });
}
