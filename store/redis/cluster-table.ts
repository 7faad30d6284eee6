/**
 * The table of a Redis Cluster: which master has which slot, and a connection to each of them. It
 * is read at the start, wherever a node says that it is out of date, and after a connection is lost.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { RedisArgument } from "./connection.ts";
import type { NodeOptions, RedisNode } from "./node.ts";
import { addressOf, firstOf, openNode } from "./node.ts";
import { mapRedisError } from "./errors.ts";
import type { ClusterTarget } from "./url.ts";

/** Slots moved in a reshard show one by one; the table is read anew at most this often. */
const refreshPauseMs = 100;
const connectPauseMs = 1_000;

const slotCount = 16_384;

/** The masters of a Cluster and their slots, as far as they are known. */
export interface ClusterTable {
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
  /** The address of a slot's master; undefined where no node has it. */
  readonly ownerOf: (slot: number) => string | undefined;
  /** Notes what a node said of one slot. */
  readonly move: (slot: number, address: string) => void;
  /** The connection to an address. @throws STORE_UNAVAILABLE once the table is closed */
  readonly nodeAt: (address: string) => RedisNode;
  /** The connections to all masters that have slots. */
  readonly owners: () => RedisNode[];
  readonly onReconnect: (listener: () => void) => void;
  readonly isClosed: () => boolean;
  readonly close: () => Promise<void>;
}

/** Starts to read the table; returns at once. */
export function openClusterTable(
  { urlStart, seeds }: ClusterTarget,
  { role, limits }: Pick<NodeOptions, "role" | "limits">,
): ClusterTable {
  /** By address. One that has lost its slots stays until it goes: work may be under way there. */
  const nodes = new Map<string, RedisNode>();
  /** The address of each slot's master; empty until it is known. */
  let slots: (string | undefined)[] = [];
  const listeners: (() => void)[] = [];
  let failure: unknown = new Error("connect ETIMEDOUT");
  let loading: Promise<void> | undefined;
  let isLoaded = false;
  let isFresh = false;
  const closing = new AbortController();

  function open(at: string): RedisNode {
    // A master that comes later, as after a failover, may lack what its predecessor had.
    const isLate = isLoaded;
    const node = openNode(urlStart + at, at, {
      role,
      limits,
      onReady(again) {
        if (again || isLate) for (const listener of listeners) listener();
      },
      onClose() {
        if (nodes.get(at) !== node || !isLoaded || closing.signal.aborted) return;
        if (slots.includes(at)) refreshSoon();
        else retire(at, node);
      },
    });
    return node;
  }

  function nodeAt(at: string): RedisNode {
    const known = nodes.get(at);
    if (known !== undefined) return known;
    // What is under way may ask for one that `close` would not see.
    if (closing.signal.aborted)
      throw mapRedisError(new Error("Connection is closed"), at, "connect");
    const node = open(at);
    nodes.set(at, node);
    return node;
  }

  const owners = (): RedisNode[] =>
    [...new Set(slots.filter((at) => at !== undefined))].sort().map(nodeAt);

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
    let ranges = knows && (await rangesOf(knows).catch(() => undefined));
    ranges ??= await firstOf(
      owners().filter((node) => node.isReady()),
      rangesOf,
    ).catch(() => undefined);
    const fromSeeds = ranges === undefined;
    ranges ??= await firstOf(seeds.map(nodeAt), rangesOf);
    const table = new Array<string | undefined>(slotCount).fill(undefined);
    for (const { first, last, at } of ranges) table.fill(at, first, last + 1);
    if (closing.signal.aborted) return;
    failure = new Error("connect ETIMEDOUT");
    slots = table;
    owners();
    isLoaded = true;
    // A seed may be another name of a master, or a replica.
    if (fromSeeds) for (const seed of seeds) if (!slots.includes(seed)) retire(seed, nodeAt(seed));
  }

  function retire(at: string, node: RedisNode): void {
    nodes.delete(at);
    void node.close();
  }

  function refreshSoon(knows?: RedisNode): void {
    if (isFresh) return;
    isFresh = true;
    void load(knows)
      .catch(() => undefined)
      .then(() => pause(refreshPauseMs, undefined, { signal: closing.signal, ref: false }))
      .catch(() => undefined)
      .finally(() => {
        isFresh = false;
      });
  }

  async function connect(): Promise<void> {
    while (!isLoaded && !closing.signal.aborted)
      await load()
        .catch(() => pause(connectPauseMs, undefined, { signal: closing.signal }))
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
    ownerOf: (slot) => slots[slot],
    move(slot, at) {
      slots[slot] = at;
      refreshSoon(nodeAt(at));
    },
    nodeAt,
    owners,
    onReconnect: (listener) => void listeners.push(listener),
    isClosed: () => closing.signal.aborted,
    async close() {
      closing.abort();
      await Promise.all([...nodes.values()].map((node) => node.close()));
    },
  };
}

/** The slot of a key: CRC-16/XMODEM of its hash tag, or of all of it, modulo 16384. */
export function slotOf(key: RedisArgument): number {
  const bytes = Buffer.isBuffer(key) ? key : Buffer.from(String(key));
  const start = bytes.indexOf(0x7b);
  const end = start < 0 ? -1 : bytes.indexOf(0x7d, start + 1);
  const isTagged = end > start + 1;
  let crc = 0;
  for (let i = isTagged ? start + 1 : 0; i < (isTagged ? end : bytes.length); i++)
    crc = ((crc << 8) & 0xffff) ^ (crcTable[(crc >> 8) ^ (bytes[i] as number)] as number);
  return crc % slotCount;
}

const crcTable = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  return crc;
});

/** What a command of a slot that no node serves gets, as from Redis itself. */
export const unserved = new Error("CLUSTERDOWN Hash slot not served");

interface SlotRange {
  readonly first: number;
  readonly last: number;
  readonly at: string;
}

async function rangesOf(node: RedisNode): Promise<readonly SlotRange[]> {
  if (!node.isReady()) await node.ready();
  const reply = (await node.send(["cluster", "SLOTS"])) as [number, number, [Buffer, number]][];
  // A node that was taken out of the Cluster knows of none.
  if (reply.length === 0) throw node.explain(unserved, ["cluster"]);
  return reply.map(([first, last, [host, port]]) => ({
    first,
    last,
    at: addressOf(String(host ?? "") || hostOf(node.address), port),
  }));
}

/** Without its port. */
export function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(":"));
}
