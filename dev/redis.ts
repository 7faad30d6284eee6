/** Finds a Redis, or starts one that keeps every write until it is stopped. */
import { existsSync } from "node:fs";
import { connect } from "node:net";
import { basename, join } from "node:path";

import { Redis } from "ioredis";

import { openProgress, type Progress } from "../cli/progress.ts";
import { OnceflowError, reasonOf } from "../engine/errors.ts";
import { aptInstall, findAptGet } from "./apt.ts";
import type { Release } from "./owned.ts";
import { findOnPath, type OwnedProcess, retryPorts, startProcess } from "./processes.ts";
import { choosePorts, openServiceDirectory, type ServiceOptions } from "./service.ts";

/** A Redis that answers. */
export interface RedisService {
  readonly url: string;
  /** Those that this process started and needs for it; none where it was given. */
  readonly processes: readonly OwnedProcess[];
  /** Stops it if this process started it. */
  readonly stop: Release;
}

/**
 * Takes the Redis of `REDIS_URL`; else starts `redis-server`; else, on Debian as root, installs it
 * first.
 *
 * @throws CONFIG_INVALID where `REDIS_URL` is no Redis URL; SETUP_FAILED where none can be had.
 */
export async function startRedis(options: ServiceOptions = {}): Promise<RedisService> {
  const { progress = openProgress(), env = process.env } = options;
  const url = env["REDIS_URL"] ?? "";
  if (url !== "") {
    await progress.step(
      `Redis: asking the one of REDIS_URL, ${maskPassword(url)}`,
      () => ping(url),
      () => `Redis: using the one of REDIS_URL, ${maskPassword(url)}`,
    );
    return { url, processes: [], stop: () => Promise.resolve() };
  }
  const command = await findRedisServer(progress, env);
  return progress.step(
    `Redis: starting ${basename(command)}`,
    () => retryPorts(() => startServer(command, options.dataDir, env)),
    (service) => `Redis: started ${command}, ${service.url}`,
  );
}

/**
 * The path of `redis-server`: from the PATH, or installed, on Debian as root.
 *
 * @throws SETUP_FAILED where none can be had.
 */
export async function findRedisServer(
  progress: Progress,
  env: NodeJS.ProcessEnv = process.env,
): Promise<string> {
  return findOnPath("redis-server", env) ?? installRedis(progress, env);
}

async function startServer(
  command: string,
  dataDir: string | undefined,
  env: NodeJS.ProcessEnv,
): Promise<RedisService> {
  const { path: directory, release } = await openServiceDirectory("redis", dataDir);
  const [port = 0] = (await choosePorts(directory, 1)).ports;
  const settings: Record<string, string> = {
    port: String(port),
    bind: "127.0.0.1",
    dir: directory,
    appendonly: "yes",
    save: "",
    "maxmemory-policy": "noeviction",
    // Rows of more than 64 bytes take less memory. Redis 6.2 knows this name alone, 7 both.
    "hash-max-ziplist-value": "512",
  };
  try {
    const running = await startProcess({
      name: "redis-server",
      command,
      args: Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]),
      env,
      logFile: join(directory, "redis.log"),
      ready: (_log, pid) => answersAs(port, pid),
    });
    return {
      url: `redis://127.0.0.1:${port}`,
      processes: [running],
      async stop() {
        await running.stop();
        await release();
      },
    };
  } catch (error) {
    await release();
    throw error;
  }
}

/** Whether the Redis on the port has loaded its data and is our process, not a stranger. */
async function answersAs(port: number, pid: number): Promise<boolean> {
  const info = await new Promise<string>((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write("INFO\r\nQUIT\r\n"));
    let text = "";
    socket.setTimeout(2_000, () => socket.destroy(new Error("no answer within 2 s")));
    socket.on("data", (chunk) => (text += chunk.toString()));
    socket.on("error", reject);
    socket.on("close", () => resolve(text));
  });
  return info.includes(`process_id:${pid}\r\n`) && info.includes("loading:0\r\n");
}

async function ping(url: string): Promise<void> {
  if (!/^rediss?:\/\//.test(url)) {
    throw new OnceflowError(
      "CONFIG_INVALID",
      `REDIS_URL is "${maskPassword(url)}". It must look like redis://host:6379 or rediss://host:6379; the demo and \`npm run dev\` take no Cluster.`,
    );
  }
  const client = new Redis(url, {
    lazyConnect: true,
    connectTimeout: 5_000,
    commandTimeout: 5_000,
    retryStrategy: () => null,
  });
  // The promise may be rejected with no more than that the connection is closed.
  let cause: unknown;
  client.on("error", (error) => (cause ??= error));
  try {
    await client.connect();
    await client.ping();
  } catch (error) {
    throw new OnceflowError(
      "SETUP_FAILED",
      `The Redis of REDIS_URL, ${maskPassword(url)}, does not answer: ${reasonOf(cause ?? error)}. ` +
        "Start it, correct REDIS_URL, or unset it to have one started.",
      {},
      error,
    );
  } finally {
    client.disconnect();
  }
}

async function installRedis(progress: Progress, env: NodeJS.ProcessEnv): Promise<string> {
  const apt = findAptGet(env);
  if (apt === undefined) {
    throw new OnceflowError(
      "SETUP_FAILED",
      "Redis: REDIS_URL is not set and there is no redis-server on the PATH. Ways out:\n" +
        "  - install it: apt-get install redis-server (Debian, Ubuntu), brew install redis (macOS)\n" +
        "  - docker compose up -d --wait, then export REDIS_URL=redis://127.0.0.1:6379\n" +
        "  - export REDIS_URL=redis://host:6379 of a Redis 6.2 or later that you have",
    );
  }
  await progress.step(
    "Redis: no redis-server on the PATH, installing it with apt-get",
    (detail) => aptInstall(apt, "redis-server", env, detail),
    () => "Redis: installed redis-server with apt-get",
  );
  const command = findOnPath("redis-server", env) ?? "/usr/bin/redis-server";
  if (existsSync(command)) return command;
  throw new OnceflowError(
    "SETUP_FAILED",
    "apt-get installed redis-server, and it is not on the PATH. Add its folder to the PATH.",
  );
}

function maskPassword(url: string): string {
  return url.replace(/:[^:@/]*@/, ":***@");
}
