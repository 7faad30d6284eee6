/**
 * The table of a Redis Cluster: which master has which hash slot. It is read at the start, wherever
 * a node says that it is out of date, and after a connection is lost.
 */
import { setTimeout as pause } from "node:timers/promises";
import { type ClusterNodes, createClusterNodes } from "./cluster-nodes.ts";
import { hashSlotCount } from "./hash-slot.ts";
import type { NodeOptions, RedisNode } from "./node.ts";
import { addressOf, firstOf } from "./node.ts";
import type { ClusterTarget } from "./url.ts";

/** Hash slots moved in a reshard show one by one; the table is read anew at most this often. */
const refreshPauseMs = 100;
const connectPauseMs = 1_000;

/** The masters of a Cluster and their hash slots, as far as they are known. */
export interface ClusterTable extends Pick<ClusterNodes, "nodeAt" | "onReconnect" | "close"> {
  /** Whether it was ever read. */
  readonly isLoaded: () => boolean;
  /** Reads it, or waits for the read that is under way. @throws STORE_UNAVAILABLE */
  readonly load: () => Promise<void>;
  /** Reads it anew: what is being read now may have begun before a failover. Throws likewise. */
  readonly reload: () => Promise<void>;
  /** Why it could not be read the last time. */
  readonly failure: () => unknown;
  /** Has it read in the background, unless that was done just now. */
  readonly refreshSoon: () => void;
  /** The address of a hash slot's master; undefined where no node has it. */
  readonly ownerOf: (hashSlot: number) => string | undefined;
  /** Notes what a node said of one hash slot. */
  readonly move: (hashSlot: number, address: string) => void;
  /** The connections to all masters that have hash slots. */
  readonly owners: () => RedisNode[];
  readonly isClosed: () => boolean;
}

/** Starts to read the table; returns at once. */
export function openClusterTable(
  { urlStart, seeds }: ClusterTarget,
  options: Pick<NodeOptions, "role" | "limits">,
): ClusterTable {
  /** The address of each hash slot's master; empty until it is known. */
  let masters: (string | undefined)[] = [];
  let failure: unknown = new Error("connect ETIMEDOUT");
  let loading: Promise<void> | undefined;
  let isLoaded = false;
  let isFresh = false;
  const { nodeAt, retire, onReconnect, closing, close } = createClusterNodes(urlStart, options, {
    isKnown: () => isLoaded,
    onLost(at) {
      if (masters.includes(at)) refreshSoon();
      else retire(at);
    },
  });

  const owners = (): RedisNode[] =>
    [...new Set(masters.filter((at) => at !== undefined))].sort().map(nodeAt);

  function load(knows?: RedisNode): Promise<void> {
    return (loading ??= readTable(knows)
      .catch((error: unknown) => {
        failure = error;
        throw error;
      })
      .finally(() => {
        loading = undefined;
      }));
  }

  /** From the node that is known to know, or else from the first that answers. */
  async function readTable(knows?: RedisNode): Promise<void> {
    let table = knows && (await mastersBy(knows).catch(() => undefined));
    table ??= await firstOf(
      owners().filter((node) => node.isReady()),
      mastersBy,
    ).catch(() => undefined);
    const fromSeeds = table === undefined;
    table ??= await firstOf(seeds.map(nodeAt), mastersBy);
    if (closing.aborted) return;
    failure = new Error("connect ETIMEDOUT");
    masters = table;
    owners();
    isLoaded = true;
    // A seed may be another name of a master, or a replica.
    if (fromSeeds) for (const seed of seeds) if (!masters.includes(seed)) retire(seed);
  }

  function refreshSoon(knows?: RedisNode): void {
    if (isFresh) return;
    isFresh = true;
    void load(knows)
      .catch(() => undefined)
      .then(() => pause(refreshPauseMs, undefined, { signal: closing, ref: false }))
      .catch(() => undefined)
      .finally(() => {
        isFresh = false;
      });
  }

  async function connect(): Promise<void> {
    while (!isLoaded && !closing.aborted)
      await load()
        .catch(() => pause(connectPauseMs, undefined, { signal: closing }))
        .catch(() => undefined);
  }
  void connect();

  return {
    isLoaded: () => isLoaded,
    load: () => load(),
    async reload() {
      await loading?.catch(() => undefined);
      await load();
    },
    failure: () => failure,
    refreshSoon: () => refreshSoon(),
    ownerOf: (hashSlot) => masters[hashSlot],
    move(hashSlot, at) {
      masters[hashSlot] = at;
      refreshSoon(nodeAt(at));
    },
    nodeAt,
    owners,
    onReconnect,
    isClosed: () => closing.aborted,
    close,
  };
}

/** What a command of a hash slot that no node serves gets, as from Redis itself. */
export const unserved = new Error("CLUSTERDOWN Hash slot not served");

/** The address of each hash slot's master, as a node has it. */
async function mastersBy(node: RedisNode): Promise<(string | undefined)[]> {
  if (!node.isReady()) await node.ready();
  const reply = (await node.send(["cluster", "SLOTS"])) as [number, number, [Buffer, number]][];
  // A node that was taken out of the Cluster knows of none.
  if (reply.length === 0) throw node.explain(unserved, ["cluster"]);
  const masters = new Array<string | undefined>(hashSlotCount).fill(undefined);
  for (const [first, last, [host, port]] of reply)
    masters.fill(addressOf(String(host ?? "") || hostOf(node.address), port), first, last + 1);
  return masters;
}

/** Without its port. */
export function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(":"));
}
