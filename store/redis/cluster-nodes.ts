/** The connections to the nodes of a Redis Cluster, by address; each is opened when it is asked for. */
import { mapRedisError } from "./errors.ts";
import { type NodeOptions, openNode, type RedisNode } from "./node.ts";

/** The connections to the nodes of a Cluster. */
export interface ClusterNodes {
  /** The connection to an address. @throws STORE_UNAVAILABLE once these are closed */
  readonly nodeAt: (address: string) => RedisNode;
  /** Closes one that has no hash slots, and forgets it. */
  readonly retire: (address: string) => void;
  /** Calls `listener` each time a connection has come back after a loss, or a master has joined. */
  readonly onReconnect: (listener: () => void) => void;
  /** Aborted once these are closed. */
  readonly closing: AbortSignal;
  readonly close: () => Promise<void>;
}

/** What the connections are told of their Cluster, and tell it. */
interface Cluster {
  /** Whether it is known which node has which hash slots. */
  readonly isKnown: () => boolean;
  /** Called when a connection is lost; never before it is known. */
  readonly onLost: (address: string) => void;
}

/** Opens no connection yet. */
export function createClusterNodes(
  urlStart: string,
  { role, limits }: Pick<NodeOptions, "role" | "limits">,
  { isKnown, onLost }: Cluster,
): ClusterNodes {
  /** One that has lost its hash slots stays until it goes: work may be under way there. */
  const nodes = new Map<string, RedisNode>();
  const listeners: (() => void)[] = [];
  const closing = new AbortController();

  function open(at: string): RedisNode {
    // A master that comes later, as after a failover, may lack what its predecessor had.
    const isLate = isKnown();
    const node = openNode(urlStart + at, at, {
      role,
      limits,
      onReady(again) {
        if (again || isLate) for (const listener of listeners) listener();
      },
      onClose() {
        if (nodes.get(at) === node && isKnown() && !closing.signal.aborted) onLost(at);
      },
    });
    return node;
  }

  return {
    nodeAt(at) {
      const known = nodes.get(at);
      if (known !== undefined) return known;
      // What is under way may ask for one that `close` would not see.
      if (closing.signal.aborted)
        throw mapRedisError(new Error("Connection is closed"), at, "connect");
      const node = open(at);
      nodes.set(at, node);
      return node;
    },
    retire(at) {
      const node = nodes.get(at);
      nodes.delete(at);
      void node?.close();
    },
    onReconnect: (listener) => void listeners.push(listener),
    closing: closing.signal,
    async close() {
      closing.abort();
      await Promise.all([...nodes.values()].map((node) => node.close()));
    },
  };
}
