/** What a connection to Redis is, whatever stands behind it: roles, commands, replies, deadlines. */

/**
 * What a connection is for.
 *
 * `serving` answers requests: short deadlines, and no queue while it is disconnected. `writing`
 * moves data: long deadlines, and commands wait for a reconnect that is under way.
 */
export type RedisRole = "serving" | "writing";

/** A key or an argument; a number travels as its decimal text. */
export type RedisArgument = string | Buffer | number;
/** A command or a script by its name, and what it takes. */
export type RedisCommand = readonly [name: string, ...args: RedisArgument[]];
/** What a command answers: a bulk or status string as bytes, a count, nothing, or a list of these. */
export type RedisReply = Buffer | number | null | readonly RedisReply[];

/** How long a connection waits for Redis, in milliseconds. */
export interface RedisDeadlines {
  /** From sending a command to its reply. */
  readonly commandTimeoutMs: number;
  readonly connectTimeoutMs: number;
  /**
   * Without a byte for this long while replies are due, the connection is given up: by the time
   * that it is noticed, up to half as long again.
   */
  readonly socketTimeoutMs: number;
}

/** A Redis that holds keys: the one, the one that Sentinels name, or each master of a Cluster. */
export interface RedisMaster {
  readonly address: string;
  /** Sends one command, which may name no key. */
  readonly send: (command: RedisCommand) => Promise<RedisReply>;
}

/** A connection to one Redis, to a Cluster, or to a master by Sentinels; it reconnects by itself. */
export interface RedisConnection {
  /** `host:port`, of a Cluster several with a comma between, for messages. */
  readonly address: string;
  /**
   * Resolves once Redis answers.
   *
   * @throws STORE_UNAVAILABLE within the connect deadline, CONFIG_INVALID for wrong credentials
   */
  readonly ready: () => Promise<void>;
  /** Sends one command with a key, or a script by its name: [name, keys…, arguments…]. */
  readonly send: (command: RedisCommand) => Promise<RedisReply>;
  /**
   * Sends commands in one round trip, of a Cluster one per node at the same time; where any fails,
   * the whole rejects, though others may have been carried out. A script whose count of keys varies
   * takes that count first. The keys of one command have one hash tag. While hash slots of a
   * Cluster move, commands of different keys may be carried out in another order.
   *
   * @throws STORE_FULL, STORE_UNAVAILABLE, CONFIG_INVALID
   */
  readonly pipeline: (commands: readonly RedisCommand[]) => Promise<RedisReply[]>;
  /**
   * The Redis itself, or every master of the Cluster that holds hash slots now, by address: for
   * commands that name no key. Of a Cluster it asks anew. Cost: one round trip there.
   */
  readonly masters: () => Promise<readonly RedisMaster[]>;
  /** Calls `listener` each time a connection has come back after a loss, or a master has joined. */
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

/** What one Redis, a Cluster and Sentinels do each in its own way. */
export type TargetConnection = Pick<
  RedisConnection,
  "address" | "ready" | "pipeline" | "masters" | "onReconnect" | "close"
>;
