/** A real Redis Cluster for tests: masters on free ports, and resharding as redis-cli does it. */
import { rm } from "node:fs/promises";
import { Redis } from "ioredis";
import { hashSlotCount } from "../../../store/redis/hash-slot.ts";
import { dumpStore } from "./dump-store.ts";
import type { RedisServer } from "./server.ts";
import { startRedis } from "./server.ts";
import { until } from "../until.ts";

/** One master, and a plain client of it. */
export interface ClusterNode {
  readonly id: string;
  readonly port: number;
  readonly client: Redis;
  /** Halts the process without closing its connections; `SIGCONT` wakes it. */
  readonly signal: (signal: NodeJS.Signals) => void;
  /** Ends the process as `kill -9` does, and starts it again as the same node, empty. */
  readonly restart: () => Promise<void>;
}

/** Which way slots move. */
export interface SlotMove {
  readonly from: ClusterNode;
  readonly to: ClusterNode;
  /** Called before each key of a slot moves and when all have, with how many have moved. */
  readonly during?: (slot: number, moved: number) => Promise<void>;
}

/** A Cluster without replicas. */
export interface TestCluster {
  /** `redis+cluster://`, naming the first node alone. */
  readonly url: string;
  readonly nodes: readonly ClusterNode[];
  /** Starts another master, which has no slots yet. */
  readonly join: () => Promise<ClusterNode>;
  readonly ownerOf: (slot: number) => Promise<ClusterNode>;
  readonly slotsOf: (node: ClusterNode) => Promise<number[]>;
  /** Moves slots, key by key. */
  readonly moveSlots: (slots: readonly number[], move: SlotMove) => Promise<void>;
  /** How often nodes have refused a command with this error since they started. */
  readonly refusals: (error: "MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN") => Promise<number>;
  /** Every key under a prefix, as `dumpStore` shows those of one Redis. */
  readonly dump: (prefix: string) => Promise<string>;
  /** Waits until every node knows all others, and serves. */
  readonly untilOk: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

/** Starts three masters that share the slots evenly. */
export async function startCluster(): Promise<TestCluster> {
  const nodes: ClusterNode[] = [];
  const stops: (() => Promise<void>)[] = [];

  async function start(): Promise<ClusterNode> {
    const args = [
      "--cluster-enabled",
      "yes",
      "--cluster-config-file",
      "nodes.conf",
      "--cluster-node-timeout",
      "1000",
      "--cluster-require-full-coverage",
      "yes",
    ];
    let server: RedisServer = await startRedis({ args });
    const { directory, port } = server;
    const client = new Redis(server.url, { protocol: 2 });
    client.on("error", () => undefined);
    stops.push(async () => {
      client.disconnect();
      await server.stop();
      await rm(directory, { recursive: true, force: true });
    });
    await client.cluster("SET-CONFIG-EPOCH", nodes.length + 1);
    const node = {
      id: String(await client.cluster("MYID")),
      port,
      client,
      signal: (signal: NodeJS.Signals) => server.signal(signal),
      async restart() {
        await server.kill();
        server = await startRedis({ port, args: [...args, "--dir", directory] });
        await untilOk();
      },
    };
    await nodes[0]?.client.cluster("MEET", "127.0.0.1", port);
    nodes.push(node);
    return node;
  }

  async function untilOk(): Promise<void> {
    await until("the Cluster is up", async () => {
      const known = await Promise.all(
        nodes.map(async ({ client }) => {
          const info = String(await client.cluster("INFO"));
          const links = String(await client.cluster("NODES")).match(/ connected/g)?.length;
          return info.includes("cluster_state:ok") && links === nodes.length;
        }),
      );
      return known.every(Boolean);
    });
  }

  /** Which node has which slots, as the first node says. */
  async function rangesOf() {
    type Range = [first: number, last: number, master: [host: string, port: number]];
    const table = (await nodes[0]?.client.cluster("SLOTS")) as unknown as Range[];
    return table.map(([first, last, [, port]]) => ({
      first,
      last,
      node: nodes.find((node) => node.port === port),
    }));
  }

  async function moveSlots(
    slots: readonly number[],
    { from, to, during }: SlotMove,
  ): Promise<void> {
    const setEach = async ({ client }: ClusterNode, ...state: [string, string]) => {
      const commands = slots.map((slot) => ["cluster", "SETSLOT", slot, ...state]);
      for (const [error] of (await client.pipeline(commands).exec()) ?? []) if (error) throw error;
    };
    await setEach(to, "IMPORTING", from.id);
    await setEach(from, "MIGRATING", to.id);
    await Promise.all(
      slots.map(async (slot) => {
        for (let moved = 0; ; moved++) {
          await during?.(slot, moved);
          const [key] = await from.client.cluster("GETKEYSINSLOT", slot, 1);
          if (key === undefined) break;
          await from.client.migrate("127.0.0.1", to.port, key, 0, 5_000);
        }
      }),
    );
    // The new owner first, else for a moment the slots would have none.
    for (const node of [to, from, ...nodes.filter((each) => each !== to && each !== from)])
      await setEach(node, "NODE", to.id);
  }

  const stop = async () => void (await Promise.all(stops.map((each) => each())));
  try {
    for (let i = 0; i < 3; i++) await start();
    const [first, last] = [
      (i: number) => Math.ceil((i * hashSlotCount) / 3),
      (i: number) => first(i + 1),
    ];
    for (const [i, { client }] of nodes.entries())
      await client.cluster(
        "ADDSLOTS",
        ...Array.from({ length: last(i) - first(i) }, (_, j) => first(i) + j),
      );
    await untilOk();
  } catch (error) {
    await stop();
    throw error;
  }

  return {
    url: `redis+cluster://127.0.0.1:${nodes[0]?.port}`,
    nodes,
    async join() {
      const node = await start();
      await untilOk();
      return node;
    },
    async ownerOf(slot) {
      const owner = (await rangesOf()).find(
        ({ first, last }) => first <= slot && slot <= last,
      )?.node;
      if (owner === undefined) throw new Error(`no node has slot ${slot}`);
      return owner;
    },
    async slotsOf(node) {
      return (await rangesOf())
        .filter((range) => range.node === node)
        .flatMap(({ first, last }) =>
          Array.from({ length: last - first + 1 }, (_, i) => first + i),
        );
    },
    moveSlots,
    async refusals(error) {
      const counts = await Promise.all(
        nodes.map(async ({ client }) => {
          const info = await client.info("errorstats");
          return Number(new RegExp(`errorstat_${error}:count=(\\d+)`).exec(info)?.[1] ?? 0);
        }),
      );
      return counts.reduce((sum, count) => sum + count, 0);
    },
    async dump(prefix) {
      const dumps = await Promise.all(nodes.map(({ client }) => dumpStore(client, prefix)));
      // A key's name is at the start of a line, its fields are indented below it.
      return dumps
        .flatMap((dump) => dump.split(/^(?=\S)/m))
        .sort()
        .join("");
    },
    untilOk,
    stop,
  };
}
