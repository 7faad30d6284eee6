/**
 * A Redis Cluster: one node connection per master, and the table that says which has which slot.
 *
 * What a node refuses since a slot has moved or is moving was not carried out, so it is sent again
 * until the deadline, and no caller sees it. All else means what it means with one Redis.
 */
import { setTimeout as pause } from "node:timers/promises";
import { OnceflowError } from "../engine/errors.ts";
import type { RedisArgument, RedisCommand, RedisConnection, RedisReply } from "./redis.ts";
import type { NodeOptions, RedisNode } from "./redis-node.ts";
import { addressOf, firstOf, openNode, scriptKeys, within, withoutCache } from "./redis-node.ts";
import { mapRedisError } from "./redis-errors.ts";
import type { ClusterTarget } from "./redis-url.ts";

/** What a Cluster does otherwise than one Redis. */
export type ClusterConnection = Pick<
  RedisConnection,
  "address" | "ready" | "pipeline" | "masters" | "onReconnect" | "close"
>;

/** Slots moved in a reshard show one by one; the table is read anew at most this often. */
const refreshPauseMs = 100;
const connectPauseMs = 1_000;
/** A redirection is followed at once so many times; what is refused then waits ever longer. */
const redirectionsAtOnce = 2;
const retryPauseMs = { first: 5, longest: 100 };

const slotCount = 16_384;

/** Commands that name no key: they are for each master, and never routed. */
const keyless: ReadonlySet<string> = new Set(["cluster", "config", "info", "ping", "scan", "time"]);

/** A command that waits for its reply. */
interface Pending {
  readonly command: RedisCommand;
  /** In the pipeline. */
  readonly place: number;
  readonly slot: number;
  /** The node that the slot is on its way to, where the owner said to ask it. */
  readonly asked?: string | undefined;
}

/** A refusal, and where it sends the command. */
type Refusal =
  | { readonly kind: "MOVED" | "ASK"; readonly text: string; readonly address: string }
  | { readonly kind: "TRYAGAIN" | "CLUSTERDOWN"; readonly text: string };

type Refused = Pending & { readonly refusal: Refusal };

/** Connects to a Cluster; returns at once, see `ready`. */
export function connectCluster(
  { urlStart, seeds }: ClusterTarget,
  { role, limits }: Pick<NodeOptions, "role" | "limits">,
): ClusterConnection {
  const address = seeds.join(",");
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
        else drop(at, node);
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

  /** Reads the table, from the node that is known to know or else from the first that answers. */
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
    if (fromSeeds) for (const seed of seeds) if (!slots.includes(seed)) drop(seed, nodeAt(seed));
  }

  function drop(at: string, node: RedisNode): void {
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

  /** Sends what one node has to do. */
  async function execAt(at: string, sent: readonly Pending[]): Promise<(RedisReply | Error)[]> {
    const node = nodeAt(at);
    try {
      // One that has never been connected is new, not lost: a request waits for it.
      if (!node.wasReady()) await node.ready();
    } catch (error) {
      return sent.map(() => error as Error);
    }
    const outcomes = await node.exec(
      sent.flatMap(({ command, asked }): RedisCommand[] =>
        // ioredis would resend a script that the node does not hold without ASKING.
        asked === undefined ? [command] : [["asking"], withoutCache(command)],
      ),
    );
    let next = 0;
    return sent.map(({ command, asked }) => {
      if (asked !== undefined) next++;
      const outcome = outcomes[next++] as RedisReply | Error;
      if (!(outcome instanceof Error) || refusalOf(outcome, at)) return outcome;
      return node.explain(outcome, command);
    });
  }

  /** Sends commands to the nodes of their slots, all at once, and sorts out what was refused. */
  async function attempt(
    pending: readonly Pending[],
    replies: RedisReply[],
  ): Promise<readonly Refused[]> {
    const refused: Refused[] = [];
    const failures: { place: number; error: Error }[] = [];
    const byNode = new Map<string | undefined, Pending[]>();
    for (const each of pending) {
      const at = each.asked ?? slots[each.slot];
      const group = byNode.get(at);
      if (group === undefined) byNode.set(at, [each]);
      else group.push(each);
    }
    await Promise.all(
      [...byNode].map(async ([at, sent]) => {
        const outcomes = at === undefined ? sent.map(() => unserved) : await execAt(at, sent);
        sent.forEach((each, i) => {
          const outcome = outcomes[i] as RedisReply | Error;
          if (!(outcome instanceof Error)) return void (replies[each.place] = outcome);
          const refusal = refusalOf(outcome, at ?? "");
          if (refusal) refused.push({ ...each, refusal });
          else failures.push({ place: each.place, error: outcome });
        });
      }),
    );
    const [first] = failures.sort((a, b) => a.place - b.place);
    if (first) throw first.error;
    return refused.sort((a, b) => a.place - b.place);
  }

  /** Takes from a refusal what it says of the slots, and where to send the command next. */
  function follow({ refusal, command, place, slot }: Refused): Pending {
    if (refusal.kind === "ASK") return { command, place, slot, asked: refusal.address };
    if (refusal.kind === "MOVED") {
      slots[slot] = refusal.address;
      refreshSoon(nodeAt(refusal.address));
    } else if (refusal.kind === "CLUSTERDOWN") refreshSoon();
    return { command, place, slot };
  }

  async function sendAll(commands: readonly RedisCommand[]): Promise<RedisReply[]> {
    const deadline = Date.now() + limits.commandTimeoutMs;
    const replies = new Array<RedisReply>(commands.length).fill(null);
    let pending: readonly Pending[] = commands.map((command, place) => ({
      command,
      place,
      slot: slotOf(keyOf(command)),
    }));
    if (!isLoaded && role === "serving") throw mapRedisError(failure, address, "connect");
    if (!isLoaded) await load();
    for (let attempts = 0; ; attempts++) {
      const refused = await attempt(pending, replies);
      const [first] = refused;
      if (first === undefined) return replies;
      const waits = refused.some(({ refusal }) => !("address" in refusal));
      const pauseMs = waits || attempts >= redirectionsAtOnce ? pauseOf(attempts) : 0;
      if (Date.now() + pauseMs >= deadline || closing.signal.aborted)
        throw mapRedisError(stillRefused(first), address, first.command[0]);
      pending = refused.map(follow);
      if (pauseMs > 0) await pause(pauseMs);
    }
  }

  return {
    address,
    async ready() {
      const connected = async () => {
        if (!isLoaded) await load();
        await Promise.all(owners().map((node) => node.ready()));
      };
      // The reason of the node that is not ready says more, so it comes first.
      await within(limits.connectTimeoutMs + 20, connected(), () =>
        mapRedisError(failure, address, "connect"),
      );
    },
    async pipeline(commands) {
      if (commands.length === 0) return [];
      return within(limits.commandTimeoutMs, sendAll(commands), () =>
        mapRedisError(new Error("Command timed out"), address, commands[0]?.[0] ?? ""),
      );
    },
    async masters() {
      // What was read before, or is being read, knows nothing of a failover since.
      await loading?.catch(() => undefined);
      await load();
      const masters = owners();
      await Promise.all(masters.filter((node) => !node.wasReady()).map((node) => node.ready()));
      return masters;
    },
    onReconnect: (listener) => void listeners.push(listener),
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

/** The first key of a command; all keys of one are of one slot. @throws INTERNAL where it has none */
function keyOf([name, ...args]: RedisCommand): RedisArgument {
  // A script whose count of keys varies has it before its keys, MEMORY a subcommand.
  const at = name in scriptKeys ? (isFixed(name) ? 0 : 1) : name === "memory" ? 1 : 0;
  const key = args[at];
  if (key === undefined || keyless.has(name))
    throw new OnceflowError("INTERNAL", `${name} has no key: send it to each of masters().`);
  return key;
}

function isFixed(name: string): boolean {
  return scriptKeys[name as keyof typeof scriptKeys] !== undefined;
}

/** What a command of a slot that no node serves gets, as from Redis itself. */
const unserved = new Error("CLUSTERDOWN Hash slot not served");

/** A node's refusal to carry a command out, or undefined where the error is of another kind. */
function refusalOf({ message: text }: Error, from: string): Refusal | undefined {
  const [, kind, host = "", port] =
    /^(?:(MOVED|ASK) \d+ (\S*):(\d+)|TRYAGAIN\b|CLUSTERDOWN\b)/.exec(text) ?? [];
  if (kind === "MOVED" || kind === "ASK")
    // Without a host it is that of the node that says so.
    return { kind, text, address: addressOf(host || hostOf(from), Number(port)) };
  if (text.startsWith("TRYAGAIN")) return { kind: "TRYAGAIN", text };
  return text.startsWith("CLUSTERDOWN") ? { kind: "CLUSTERDOWN", text } : undefined;
}

function stillRefused({ refusal, slot }: Refused): Error {
  return new Error(
    "address" in refusal ? `TRYAGAIN slot ${slot} kept moving: ${refusal.text}` : refusal.text,
  );
}

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

function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(":"));
}

function pauseOf(attempts: number): number {
  return Math.min(retryPauseMs.first * 2 ** attempts, retryPauseMs.longest);
}
