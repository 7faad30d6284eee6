/** One Redis process: a client that reconnects by itself, its deadlines, and the Lua scripts. */
import { Redis } from "ioredis";
import { OnceflowError } from "../../engine/errors.ts";
import { giveUpSilent } from "./silence.ts";
import { mapRedisError } from "./errors.ts";
import { closed, createRoundTrips, type Outcome } from "./round-trip.ts";
import { loadScripts } from "./scripts.ts";
import type { RedisCommand, RedisDeadlines, RedisMaster, RedisReply, RedisRole } from "./types.ts";

/** How a connection behaves. */
export interface NodeOptions {
  readonly role: RedisRole;
  readonly limits: RedisDeadlines;
  /** Called each time it has connected; `again` where it had been before. */
  readonly onReady?: (again: boolean) => void;
  /** Called each time the connection is lost, and each time an attempt to connect fails. */
  readonly onClose?: () => void;
}

/** A connection to one Redis process. */
export interface RedisNode extends RedisMaster {
  /** See `RedisConnection`. */
  readonly ready: () => Promise<void>;
  readonly isReady: () => boolean;
  /** Whether it has ever connected. */
  readonly wasReady: () => boolean;
  /** Sends commands in one round trip; each has a reply, or the error that it failed with. */
  readonly exec: (commands: readonly RedisCommand[]) => Promise<Outcome[]>;
  /** What an error of `exec` means. */
  readonly explain: (error: unknown, command: RedisCommand | undefined) => OnceflowError;
  readonly close: () => Promise<void>;
  /** Closes at once: what waits for a reply fails. */
  readonly drop: () => void;
}

/** Connects to the Redis of a `redis://` or `rediss://` URL; returns at once, see `ready`. */
export function openNode(
  url: string,
  address: string,
  { role, limits, onReady, onClose }: NodeOptions,
): RedisNode {
  const client = new Redis(url, {
    protocol: 2,
    scripts: loadScripts(),
    connectionName: `onceflow-${role}`,
    disableClientInfo: true,
    connectTimeout: limits.connectTimeoutMs,
    // One that hangs would never close its end.
    disconnectTimeout: 200,
    // A command whose reply was lost may have been carried out: the caller decides on a repeat.
    autoResendUnfulfilledCommands: false,
    // With 0, a lost connection rejects what it left unanswered at once.
    maxRetriesPerRequest: 0,
    enableOfflineQueue: role === "writing",
    retryStrategy: (attempt) => Math.min(20 * 2 ** Math.min(attempt, 6), 1_000),
  });

  let failure: Error | undefined;
  /** Of a database that is not there; the client would go on with database 0. */
  let misplaced: Error | undefined;
  let connected = false;
  // Without a listener an 'error' event would end the process.
  client.on("error", (error: Error) => {
    failure = error;
    if (error.message.includes("DB index is out of range")) misplaced = error;
  });
  client.on("ready", () => {
    const again = connected;
    failure = undefined;
    connected = true;
    onReady?.(again);
  });
  client.on("close", () => onClose?.());
  client.on("connect", () => giveUpSilent(client, limits.socketTimeoutMs));

  const explain: RedisNode["explain"] = (error, command) =>
    mapRedisError(error, address, command?.[0] ?? "", failure);

  const exec = createRoundTrips(client, {
    limitMs: limits.commandTimeoutMs,
    refusal: () => misplaced,
  });

  return {
    address,
    isReady: () => client.status === "ready",
    wasReady: () => connected,
    exec,
    explain,
    async send(command) {
      const [outcome = null] = await exec([command]);
      if (outcome instanceof Error) throw explain(outcome, command);
      return outcome;
    },
    async ready() {
      const deadline = Date.now() + limits.connectTimeoutMs;
      while (client.status !== "ready") {
        const remaining = deadline - Date.now();
        if (client.status === "end") throw mapRedisError(closed, address, "connect");
        if (remaining <= 0)
          throw mapRedisError(new Error("connect ETIMEDOUT"), address, "connect", failure);
        await nextEvent(client, ["ready", "error", "end"], remaining);
        const refused = failure && mapRedisError(failure, address, "connect");
        if (refused?.code === "CONFIG_INVALID") throw refused;
      }
    },
    async close() {
      if (client.status === "ready") await client.quit().catch(() => undefined);
      client.disconnect();
    },
    drop: () => client.disconnect(),
  };
}

/** Sends commands in one round trip; where any fails, the whole rejects. */
export async function execAll(
  node: RedisNode,
  commands: readonly RedisCommand[],
): Promise<RedisReply[]> {
  const outcomes = await node.exec(commands);
  return outcomes.map((outcome, i) => {
    if (outcome instanceof Error) throw node.explain(outcome, commands[i]);
    return outcome;
  });
}

/** What the first of the nodes says that answers. */
export async function firstOf<T>(
  nodes: readonly RedisNode[],
  ask: (node: RedisNode) => Promise<T>,
): Promise<T> {
  try {
    return await Promise.any(nodes.map(ask));
  } catch (error) {
    const errors = (error as AggregateError).errors as unknown[];
    // Wrong credentials say more than a node that is down.
    throw (
      errors.find((e) => e instanceof OnceflowError && e.code === "CONFIG_INVALID") ?? errors[0]
    );
  }
}

/** Gives work up after a while; it may go on unseen. */
export async function within<T>(
  limitMs: number,
  work: Promise<T>,
  reason: () => Error,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(reason()), limitMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** `host:port`, of an IPv6 host in brackets. */
export function addressOf(host: string, port: number | string): string {
  return `${host.includes(":") && !host.startsWith("[") ? `[${host}]` : host}:${port}`;
}

function nextEvent(client: Redis, events: readonly string[], timeoutMs: number): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      clearTimeout(timer);
      for (const event of events) client.off(event, settle);
      resolve();
    };
    const timer = setTimeout(settle, timeoutMs);
    for (const event of events) client.on(event, settle);
  });
}
