/**
 * A Redis Cluster: sends each command to the master that has its slot.
 *
 * What a node refuses since a slot has moved or is moving was not carried out, so it is sent again
 * until the deadline, and no caller sees it. All else means what it means with one Redis.
 */
import { setTimeout as pause } from "node:timers/promises";
import { OnceflowError } from "../../engine/errors.ts";
import { hostOf, openClusterTable, slotOf, unserved } from "./cluster-table.ts";
import type { RedisArgument, RedisCommand, RedisConnection, RedisReply } from "./connection.ts";
import type { NodeOptions } from "./node.ts";
import { addressOf, scriptKeys, within, withoutCache } from "./node.ts";
import { mapRedisError } from "./errors.ts";
import type { ClusterTarget } from "./url.ts";

/** What a Cluster does otherwise than one Redis. */
export type ClusterConnection = Pick<
  RedisConnection,
  "address" | "ready" | "pipeline" | "masters" | "onReconnect" | "close"
>;

/** A redirection is followed at once so many times; what is refused then waits ever longer. */
const redirectionsAtOnce = 2;
const retryPauseMs = { first: 5, longest: 100 };

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
  target: ClusterTarget,
  options: Pick<NodeOptions, "role" | "limits">,
): ClusterConnection {
  const { role, limits } = options;
  const address = target.seeds.join(",");
  const table = openClusterTable(target, options);

  /** Sends what one node has to do. */
  async function execAt(at: string, sent: readonly Pending[]): Promise<(RedisReply | Error)[]> {
    const node = table.nodeAt(at);
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
      const at = each.asked ?? table.ownerOf(each.slot);
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
    if (refusal.kind === "MOVED") table.move(slot, refusal.address);
    else if (refusal.kind === "CLUSTERDOWN") table.refreshSoon();
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
    if (!table.isLoaded() && role === "serving")
      throw mapRedisError(table.failure(), address, "connect");
    if (!table.isLoaded()) await table.load();
    for (let attempts = 0; ; attempts++) {
      const refused = await attempt(pending, replies);
      const [first] = refused;
      if (first === undefined) return replies;
      const waits = refused.some(({ refusal }) => !("address" in refusal));
      const pauseMs = waits || attempts >= redirectionsAtOnce ? pauseOf(attempts) : 0;
      if (Date.now() + pauseMs >= deadline || table.isClosed())
        throw mapRedisError(stillRefused(first), address, first.command[0]);
      pending = refused.map(follow);
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

function pauseOf(attempts: number): number {
  return Math.min(retryPauseMs.first * 2 ** attempts, retryPauseMs.longest);
}
