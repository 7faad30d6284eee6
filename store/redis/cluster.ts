/**
 * A Redis Cluster: sends each command to the master that has its hash slot.
 *
 * What a node refuses since a hash slot has moved or is moving was not carried out, so it is sent
 * again until the deadline, and no caller sees it. All else means what it means with one Redis. Why
 * this is no client's: docs/adr/0010-redis-cluster-client.md.
 */
import { setTimeout as pause } from "node:timers/promises";
import { attempt, follow, type Pending, pendingOf, stillRefused } from "./cluster-attempt.ts";
import { openClusterTable } from "./cluster-table.ts";
import { mapRedisError } from "./errors.ts";
import type { NodeOptions } from "./node.ts";
import { within } from "./node.ts";
import type { RedisCommand, RedisReply, TargetConnection } from "./types.ts";
import type { ClusterTarget } from "./url.ts";

/** A redirection is followed at once so many times; what is refused then waits ever longer. */
const redirectionsAtOnce = 2;
const retryPauseMs = { first: 5, longest: 100 };

/** Connects to a Cluster; returns at once, see `ready`. */
export function connectCluster(
  target: ClusterTarget,
  options: Pick<NodeOptions, "role" | "limits">,
): TargetConnection {
  const { role, limits } = options;
  const address = target.seeds.join(",");
  const table = openClusterTable(target, options);

  async function sendAll(commands: readonly RedisCommand[]): Promise<RedisReply[]> {
    const deadline = Date.now() + limits.commandTimeoutMs;
    const replies = new Array<RedisReply>(commands.length).fill(null);
    let pending: readonly Pending[] = commands.map(pendingOf);
    if (!table.isLoaded() && role === "serving")
      throw mapRedisError(table.failure(), address, "connect");
    if (!table.isLoaded()) await table.load();
    for (let attempts = 0; ; attempts++) {
      const refused = await attempt(table, pending, replies);
      const [first] = refused;
      if (first === undefined) return replies;
      const waits = refused.some(({ refusal }) => !("address" in refusal));
      const pauseMs = waits || attempts >= redirectionsAtOnce ? pauseOf(attempts) : 0;
      if (Date.now() + pauseMs >= deadline || table.isClosed())
        throw mapRedisError(stillRefused(first), address, first.command[0]);
      pending = refused.map((each) => follow(table, each));
      if (pauseMs > 0) await pause(pauseMs);
    }
  }

  return {
    address,
    async ready() {
      const connected = async () => {
        if (!table.isLoaded()) await table.load();
        await Promise.all(table.owners().map((node) => node.ready()));
      };
      // The reason of the node that is not ready says more, so it comes first.
      await within(limits.connectTimeoutMs + 20, connected(), () =>
        mapRedisError(table.failure(), address, "connect"),
      );
    },
    async pipeline(commands) {
      if (commands.length === 0) return [];
      return within(limits.commandTimeoutMs, sendAll(commands), () =>
        mapRedisError(new Error("Command timed out"), address, commands[0]?.[0] ?? ""),
      );
    },
    async masters() {
      // Until it is read anew the table knows nothing of a failover.
      await table.reload();
      const masters = table.owners();
      await Promise.all(masters.filter((node) => !node.wasReady()).map((node) => node.ready()));
      return masters;
    },
    onReconnect: table.onReconnect,
    close: table.close,
  };
}

function pauseOf(attempts: number): number {
  return Math.min(retryPauseMs.first * 2 ** attempts, retryPauseMs.longest);
}
