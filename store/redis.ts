/**
 * The one way to Redis: connections by role, pipelines that fail as a whole, scripts, errors.
 *
 * Values travel as bulk strings and arrive as buffers; integer replies are small counts only.
 */
import { readFileSync } from "node:fs";
import { Redis } from "ioredis";
import { messageOf, OnceflowError } from "../engine/errors.ts";
import { mapRedisError } from "./redis-errors.ts";

/**
 * What a connection is for.
 *
 * `serving` answers requests: short deadlines, and no queue while it is disconnected. `writing`
 * moves data: long deadlines, and commands wait for a reconnect that is under way. A blocking
 * stream read needs a connection of its own with no command deadline; that role comes with the
 * stream consumers.
 */
export type RedisRole = "serving" | "writing";

export type RedisArgument = string | Buffer | number;
export type RedisCommand = readonly [name: string, ...args: RedisArgument[]];
export type RedisReply = Buffer | number | null | readonly RedisReply[];

export interface RedisDeadlines {
  /** From sending a command to its reply. */
  readonly commandTimeoutMs: number;
  readonly connectTimeoutMs: number;
  /** Without a byte for this long while replies are due, the connection is given up. */
  readonly socketTimeoutMs: number;
}

const longestSkewMs = 30_000;

const deadlines: Readonly<Record<RedisRole, RedisDeadlines>> = {
  serving: { commandTimeoutMs: 500, connectTimeoutMs: 1_000, socketTimeoutMs: 1_000 },
  writing: { commandTimeoutMs: 15_000, connectTimeoutMs: 5_000, socketTimeoutMs: 20_000 },
};

/** Every script: the count of its keys, where that is fixed. A name here is a command. */
const scriptKeys = {
  writeRows: undefined,
  stampShard: undefined,
  sealShard: 1,
  inspectShard: undefined,
  swapField: 1,
  resetNamespace: undefined,
  beginRun: 2,
  recordOutcome: 1,
  commitRun: undefined,
  readHashes: undefined,
  sweepView: undefined,
} as const satisfies Readonly<Record<string, number | undefined>>;

/** A connection to one Redis that reconnects by itself. */
export interface RedisConnection {
  readonly role: RedisRole;
  /** `host:port`, for messages. */
  readonly address: string;
  /**
   * Resolves once Redis answers.
   *
   * @throws STORE_UNAVAILABLE within the connect deadline, CONFIG_INVALID for wrong credentials
   */
  readonly ready: () => Promise<void>;
  /** Sends one command, or a script by its name: [name, keys…, arguments…]. */
  readonly send: (command: RedisCommand) => Promise<RedisReply>;
  /**
   * Sends commands in one round trip; where any fails, the whole rejects, though others may have
   * been carried out. A script whose count of keys varies takes that count first.
   *
   * @throws STORE_FULL, STORE_UNAVAILABLE, CONFIG_INVALID
   */
  readonly pipeline: (commands: readonly RedisCommand[]) => Promise<RedisReply[]>;
  /** Calls `listener` each time the connection has come back after a loss. */
  readonly onReconnect: (listener: () => void) => void;
  /**
   * Refuses a Redis that may evict keys.
   *
   * @throws STORE_EVICTS
   */
  readonly assertNoEviction: () => Promise<void>;
  /**
   * Refuses to work with a clock that is not that of Redis, give or take 30 seconds.
   *
   * @throws CLOCK_SKEW
   */
  readonly assertClock: () => Promise<void>;
  readonly close: () => Promise<void>;
}

/**
 * Connects to the Redis of a `redis://` or `rediss://` URL; returns at once, see `ready`.
 *
 * @throws CONFIG_INVALID where the URL cannot be read
 */
export function connectRedis(
  url: string,
  role: RedisRole,
  overrides: Partial<RedisDeadlines> = {},
): RedisConnection {
  const address = addressOf(url);
  const limits = { ...deadlines[role], ...overrides };
  const client = new Redis(url, {
    protocol: 2,
    scripts: loadScripts(),
    connectionName: `onceflow-${role}`,
    disableClientInfo: true,
    commandTimeout: limits.commandTimeoutMs,
    connectTimeout: limits.connectTimeoutMs,
    socketTimeout: limits.socketTimeoutMs,
    // A command whose reply was lost may have been carried out: the caller decides on a repeat.
    autoResendUnfulfilledCommands: false,
    // With 0, a lost connection rejects what it left unanswered at once.
    maxRetriesPerRequest: 0,
    enableOfflineQueue: role === "writing",
    retryStrategy: (attempt) => Math.min(20 * 2 ** Math.min(attempt, 6), 1_000),
  });

  let failure: Error | undefined;
  let connected = false;
  const listeners: (() => void)[] = [];
  // Without a listener an 'error' event would end the process.
  client.on("error", (error: Error) => {
    failure = error;
  });
  client.on("ready", () => {
    failure = undefined;
    if (connected) for (const listener of listeners) listener();
    connected = true;
  });

  async function pipeline(commands: readonly RedisCommand[]): Promise<RedisReply[]> {
    if (commands.length === 0) return [];
    let outcomes: [error: Error | null, reply: unknown][] | null;
    try {
      outcomes = await client
        .pipeline(commands.map(([name, ...args]) => [`${name}Buffer`, ...args]))
        .exec();
    } catch (error) {
      throw mapRedisError(error, address, nameOf(commands[0]), failure);
    }
    return commands.map((command, i) => {
      const [error, reply] = outcomes?.[i] ?? [new Error("Connection is closed"), null];
      if (error !== null) throw mapRedisError(error, address, nameOf(command), failure);
      return reply as RedisReply;
    });
  }

  async function send(command: RedisCommand): Promise<RedisReply> {
    const [reply] = await pipeline([command]);
    return reply ?? null;
  }

  async function ready(): Promise<void> {
    const deadline = Date.now() + limits.connectTimeoutMs;
    while (client.status !== "ready") {
      const remaining = deadline - Date.now();
      if (remaining <= 0 || client.status === "end")
        throw mapRedisError(new Error("connect ETIMEDOUT"), address, "connect", failure);
      await nextEvent(client, ["ready", "error", "end"], remaining);
      const refused = failure && mapRedisError(failure, address, "connect");
      if (refused?.code === "CONFIG_INVALID") throw refused;
    }
  }

  return {
    role,
    address,
    ready,
    send,
    pipeline,
    onReconnect: (listener) => void listeners.push(listener),
    async assertNoEviction() {
      const policy = await readEvictionPolicy(send);
      if (policy !== "noeviction")
        throw new OnceflowError(
          "STORE_EVICTS",
          `Redis at ${address} has maxmemory-policy ${policy}, so it may drop rows in silence. ` +
            "Set it to noeviction: CONFIG SET maxmemory-policy noeviction.",
          { address, policy },
        );
    },
    async assertClock() {
      const [seconds] = (await send(["time"])) as RedisReply[];
      const skewMs = Date.now() - Number(textOf(seconds)) * 1000;
      if (Math.abs(skewMs) > longestSkewMs)
        throw new OnceflowError(
          "CLOCK_SKEW",
          `the clock of this machine is ${Math.round(Math.abs(skewMs) / 1000)} s ${skewMs > 0 ? "ahead of" : "behind"} that of Redis at ${address}. Set the clocks of both by NTP.`,
          { address, skew_ms: skewMs },
        );
    },
    async close() {
      if (client.status === "ready") await client.quit().catch(() => undefined);
      client.disconnect();
    },
  };
}

/** The text of a reply that is a bulk string. */
export function textOf(reply: RedisReply | undefined): string | null {
  return Buffer.isBuffer(reply) ? reply.toString("utf8") : null;
}

/** The fields and values of a hash that arrived as a flat list. */
export function pairsOf(reply: RedisReply | undefined): [field: string, value: Buffer][] {
  const flat = Array.isArray(reply) ? (reply as readonly Buffer[]) : [];
  const pairs: [string, Buffer][] = [];
  for (let i = 0; i + 1 < flat.length; i += 2)
    pairs.push([(flat[i] as Buffer).toString("utf8"), flat[i + 1] as Buffer]);
  return pairs;
}

async function readEvictionPolicy(send: RedisConnection["send"]): Promise<string> {
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

function nameOf(command: RedisCommand | undefined): string {
  return command?.[0] ?? "";
}

function addressOf(url: string): string {
  const invalid = (why: string) =>
    // The URL may hold a password, so it is not shown.
    new OnceflowError(
      "CONFIG_INVALID",
      `the Redis URL ${why}: write redis://host:port or rediss://user:password@host:port.`,
    );
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw invalid("cannot be parsed");
  }
  if (parsed.protocol !== "redis:" && parsed.protocol !== "rediss:")
    throw invalid(`begins with ${parsed.protocol}`);
  return `${parsed.hostname || "localhost"}:${parsed.port || "6379"}`;
}

type LoadedScript = { readonly lua: string; readonly numberOfKeys?: number };
let loaded: Record<string, LoadedScript> | undefined;

/** Reads the Lua files beside this one, once a process. */
function loadScripts(): Record<string, LoadedScript> {
  loaded ??= Object.fromEntries(
    Object.entries(scriptKeys).map(([name, numberOfKeys]) => {
      const file = `./lua/${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}.lua`;
      try {
        const lua = readFileSync(new URL(file, import.meta.url), "utf8");
        return [name, numberOfKeys === undefined ? { lua } : { lua, numberOfKeys }];
      } catch (error) {
        throw new OnceflowError(
          "SETUP_FAILED",
          `the script ${file} is missing beside store/redis: ${messageOf(error)}. Build again.`,
        );
      }
    }),
  );
  return loaded;
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
