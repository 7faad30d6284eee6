/**
 * The one way to Redis: connections by role, pipelines that fail as a whole, scripts, errors.
 *
 * Values travel as bulk strings and arrive as buffers; integer replies are small counts only.
 */
import { OnceflowError } from "../../engine/errors.ts";
import { longestSkewMs } from "../store-time.ts";
import { connectCluster } from "./cluster.ts";
import type { NodeOptions } from "./node.ts";
import { execAll, openNode } from "./node.ts";
import { connectSentinel } from "./sentinel.ts";
import type {
  RedisConnection,
  RedisDeadlines,
  RedisMaster,
  RedisReply,
  RedisRole,
  TargetConnection,
} from "./types.ts";
import { parseRedisUrl } from "./url.ts";

const deadlines: Readonly<Record<RedisRole, RedisDeadlines>> = {
  serving: { commandTimeoutMs: 500, connectTimeoutMs: 1_000, socketTimeoutMs: 1_000 },
  writing: { commandTimeoutMs: 15_000, connectTimeoutMs: 5_000, socketTimeoutMs: 20_000 },
};

/**
 * Connects to the Redis of a `redis://` or `rediss://` URL, to the Cluster of a `redis+cluster://`
 * or `rediss+cluster://` one, or to the master that the Sentinels of a `redis+sentinel://` or
 * `rediss+sentinel://` one name; returns at once, see `ready`.
 *
 * @throws CONFIG_INVALID where the URL cannot be read
 */
export function connectRedis(
  url: string,
  role: RedisRole,
  overrides: Partial<RedisDeadlines> = {},
): RedisConnection {
  const options = { role, limits: { ...deadlines[role], ...overrides } };
  const connection = connectTarget(url, options);
  const { pipeline, masters } = connection;
  return {
    ...connection,
    async send(command) {
      const [reply] = await pipeline([command]);
      return reply ?? null;
    },
    async assertNoEviction() {
      await Promise.all((await masters()).map(assertKeepsKeys));
    },
    async assertClock() {
      await Promise.all((await masters()).map(assertSameClock));
    },
  };
}

function connectTarget(url: string, options: NodeOptions): TargetConnection {
  const target = parseRedisUrl(url);
  switch (target.kind) {
    case "one":
      return connectOne(target.url, target.address, options);
    case "cluster":
      return connectCluster(target, options);
    case "sentinel":
      return connectSentinel(target, options);
  }
}

/** One Redis, which must be no node of a Cluster. */
function connectOne(url: string, address: string, options: NodeOptions): TargetConnection {
  const listeners: (() => void)[] = [];
  const node = openNode(url, address, {
    ...options,
    onReady(again) {
      if (again) for (const listener of listeners) listener();
    },
  });
  return {
    address,
    async ready() {
      await node.ready();
      const [info] = await node.exec([["info", "cluster"]]);
      if (/^cluster_enabled:1/m.test(String(info)))
        throw node.explain(new Error("it is in cluster mode"), ["connect"]);
    },
    pipeline: (commands) => execAll(node, commands),
    masters: () => Promise.resolve([node]),
    onReconnect: (listener) => void listeners.push(listener),
    close: node.close,
  };
}

async function assertKeepsKeys({ address, send }: RedisMaster): Promise<void> {
  const policy = await readEvictionPolicy(send);
  if (policy !== "noeviction")
    throw new OnceflowError(
      "STORE_EVICTS",
      `Redis at ${address} has maxmemory-policy ${policy}, so it may drop rows in silence. ` +
        "Set it to noeviction: CONFIG SET maxmemory-policy noeviction.",
      { address, policy },
    );
}

async function assertSameClock({ address, send }: RedisMaster): Promise<void> {
  const [seconds] = (await send(["time"])) as RedisReply[];
  const skewMs = Date.now() - Number(textOf(seconds)) * 1000;
  if (Math.abs(skewMs) > longestSkewMs)
    throw new OnceflowError(
      "CLOCK_SKEW",
      `the clock of this machine is ${Math.round(Math.abs(skewMs) / 1000)} s ${skewMs > 0 ? "ahead of" : "behind"} that of Redis at ${address}. Set the clocks of both by NTP.`,
      { address, skew_ms: skewMs },
    );
}

/** The text of a reply that is a bulk string. */
export function textOf(reply: RedisReply | undefined): string | null {
  return Buffer.isBuffer(reply) ? reply.toString("utf8") : null;
}

async function readEvictionPolicy(send: RedisMaster["send"]): Promise<string> {
  try {
    const reply = await send(["config", "GET", "maxmemory-policy"]);
    const policy = Array.isArray(reply) ? textOf((reply as RedisReply[])[1]) : null;
    if (policy !== null) return policy;
  } catch (error) {
    // CONFIG may be denied or renamed, as on managed services; INFO tells as well.
    if (!(error instanceof OnceflowError) || error.code !== "CONFIG_INVALID") throw error;
  }
  const info = textOf(await send(["info", "memory"])) ?? "";
  return /^maxmemory_policy:(\S+)/m.exec(info)?.[1] ?? "unknown";
}
