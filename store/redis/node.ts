/** One Redis process: a client that reconnects by itself, its deadlines, and the Lua scripts. */
import { readFileSync } from "node:fs";
import { Command, Redis } from "ioredis";
import { createDeadlines } from "../../engine/deadlines.ts";
import { asError, messageOf, OnceflowError } from "../../engine/errors.ts";
import type {
  RedisCommand,
  RedisDeadlines,
  RedisMaster,
  RedisReply,
  RedisRole,
} from "./connection.ts";
import { mapRedisError } from "./errors.ts";

/** Every script: the count of its keys, where that is fixed. A name here is a command. */
export const scriptKeys = {
  writeRows: undefined,
  stampShard: undefined,
  sealShard: 1,
  inspectShard: undefined,
  swapField: 1,
  changeApiKeys: 2,
  resetNamespace: undefined,
  beginRun: 2,
  recordOutcome: 1,
  commitRun: undefined,
  readHashes: undefined,
  sweepView: undefined,
} as const satisfies Readonly<Record<string, number | undefined>>;

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
  readonly exec: (commands: readonly RedisCommand[]) => Promise<(RedisReply | Error)[]>;
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
    socketTimeout: limits.socketTimeoutMs,
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

  const explain: RedisNode["explain"] = (error, command) =>
    mapRedisError(error, address, command?.[0] ?? "", failure);

  /** Plain commands without a reply yet. */
  let inFlight = 0;
  /**
   * Holds back what is written until the end of this turn of the event loop: one system call for
   * the commands of all requests that came in with it.
   */
  let corked: Redis["stream"] | undefined;
  function writeTogether(): void {
    // There is none before the first connection.
    const stream = client.stream as Redis["stream"] | undefined;
    if (stream === undefined || stream === corked) return;
    corked = stream;
    stream.cork();
    setImmediate(() => {
      stream.uncork();
      corked = undefined;
    });
  }

  type Settle = (place: number, outcome: RedisReply | Error) => void;

  /** Costs a third of a pipeline of the client, which is for scripts: it loads what is missing. */
  function sendPlain(commands: readonly RedisCommand[], settle: Settle): void {
    inFlight += commands.length;
    // What is alone has nobody to wait for.
    if (inFlight > commands.length) writeTogether();
    const joined = commands.length > 1 ? joinWrites(client) : undefined;
    try {
      for (const [place, [name, ...args]] of commands.entries()) {
        const done = (outcome: RedisReply | Error): void => {
          inFlight--;
          settle(place, outcome);
        };
        const command = new Command(name, args, { replyEncoding: null });
        client.sendCommand(command, joined?.stream);
        command.promise.then(done as (reply: unknown) => void, (error: unknown) => {
          done(asError(error));
        });
      }
    } finally {
      joined?.end();
    }
  }

  async function sendScripts(commands: readonly RedisCommand[], settle: Settle): Promise<void> {
    let outcomes: [error: Error | null, reply: unknown][] = [];
    let unsent = closed;
    try {
      const sent = commands.map(([name, ...args]) => [`${name}Buffer`, ...args]);
      outcomes = (await client.pipeline(sent).exec()) ?? [];
    } catch (error) {
      unsent = asError(error);
    }
    for (const place of commands.keys()) {
      const [error, reply] = outcomes[place] ?? [unsent, null];
      settle(place, error ?? (reply as RedisReply));
    }
  }

  /** Of commands that wait for replies, those sent together at once: what gives them up. */
  const deadlines = createDeadlines<() => void>(limits.commandTimeoutMs, (giveUp) => giveUp());

  const exec: RedisNode["exec"] = (commands) =>
    new Promise((resolve) => {
      const outcomes = new Array<RedisReply | Error>(commands.length).fill(timedOut);
      let missing = commands.length;
      if (missing === 0) return resolve(outcomes);
      // Replies that come later are for nobody.
      const giveUp = (): void => resolve([...outcomes]);
      deadlines.watch(giveUp);
      const settle: Settle = (place, outcome) => {
        outcomes[place] = misplaced ?? outcome;
        if (--missing > 0) return;
        deadlines.forget(giveUp);
        resolve(outcomes);
      };
      if (commands.some(([name]) => name in scriptKeys)) void sendScripts(commands, settle);
      else sendPlain(commands, settle);
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

const timedOut = new Error("Command timed out");
const closed = new Error("Connection is closed");

type CommandStream = NonNullable<Parameters<Redis["sendCommand"]>[1]>;

/**
 * A stream for commands that are sent in one go: what they write is written as one piece at `end`,
 * since each piece costs as much as a short command. Nothing else may be sent before that, or
 * replies would go to the wrong commands.
 */
function joinWrites(client: Redis) {
  const pieces: (string | Buffer)[] = [];
  let isOpen = true;
  const stream = {
    write(piece: string | Buffer) {
      // The client writes later what it had to queue.
      if (isOpen) pieces.push(piece);
      else client.stream.write(piece);
    },
  };
  return {
    stream: stream as unknown as CommandStream,
    end(): void {
      isOpen = false;
      if (pieces.length === 0) return;
      const isText = pieces.every((piece) => typeof piece === "string");
      try {
        client.stream.write(isText ? pieces.join("") : Buffer.concat(pieces.map(bytesOf)));
      } catch {
        // Too much for one piece. The client waits for replies to what was never sent, and would
        // take those of later commands for them.
        client.disconnect(true);
      }
    },
  };
}

function bytesOf(piece: string | Buffer): Buffer {
  return typeof piece === "string" ? Buffer.from(piece) : piece;
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

const store = new URL("../", import.meta.url);

type LoadedScript = { readonly lua: string; readonly numberOfKeys?: number };
let loaded: Record<string, LoadedScript> | undefined;

/** Reads the Lua files beside this one, once a process. */
function loadScripts(): Record<string, LoadedScript> {
  loaded ??= Object.fromEntries(
    Object.entries(scriptKeys).map(([name, numberOfKeys]) => {
      const file = `./lua/${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}.lua`;
      try {
        const lua = readFileSync(new URL(file, store), "utf8");
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

/** A script as a plain EVAL; any other command as it is. */
export function withoutCache(command: RedisCommand): RedisCommand {
  const [name, ...args] = command;
  const script = loadScripts()[name];
  if (script === undefined) return command;
  const { lua, numberOfKeys } = script;
  return numberOfKeys === undefined ? ["eval", lua, ...args] : ["eval", lua, numberOfKeys, ...args];
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
