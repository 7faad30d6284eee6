/** One attempt at commands in a Redis Cluster: to the masters of their hash slots, all at once. */
import { OnceflowError } from "../../engine/errors.ts";
import type { ClusterTable } from "./cluster-table.ts";
import { hostOf, unserved } from "./cluster-table.ts";
import { hashSlotOf } from "./hash-slot.ts";
import { addressOf } from "./node.ts";
import type { Outcome } from "./round-trip.ts";
import { scriptKeys, withoutCache } from "./scripts.ts";
import type { RedisArgument, RedisCommand, RedisReply } from "./types.ts";

/** Commands that name no key: they are for each master, and never routed. */
const keyless: ReadonlySet<string> = new Set(["cluster", "config", "info", "ping", "scan", "time"]);

/** A command that waits for its reply. */
export interface Pending {
  readonly command: RedisCommand;
  /** In the pipeline. */
  readonly place: number;
  readonly hashSlot: number;
  /** The node that the hash slot is on its way to, where the owner said to ask it. */
  readonly asked?: string | undefined;
}

/** A refusal, and where it sends the command. */
type Refusal =
  | { readonly kind: "MOVED" | "ASK"; readonly text: string; readonly address: string }
  | { readonly kind: "TRYAGAIN" | "CLUSTERDOWN"; readonly text: string };

/** A command that a node did not carry out since its hash slot has moved, moves or is not served. */
export type Refused = Pending & { readonly refusal: Refusal };

/** A command before its first attempt. @throws INTERNAL where it names no key */
export function pendingOf(command: RedisCommand, place: number): Pending {
  return { command, place, hashSlot: hashSlotOf(keyOf(command)) };
}

/**
 * Sends commands to the nodes of their hash slots, all at once; replies go to their places, and what
 * was refused comes back in order.
 *
 * @throws the error of the first command that failed otherwise
 */
export async function attempt(
  table: ClusterTable,
  pending: readonly Pending[],
  replies: RedisReply[],
): Promise<readonly Refused[]> {
  const refused: Refused[] = [];
  const failures: { place: number; error: Error }[] = [];
  const byNode = new Map<string | undefined, Pending[]>();
  for (const each of pending) {
    const at = each.asked ?? table.ownerOf(each.hashSlot);
    const group = byNode.get(at);
    if (group === undefined) byNode.set(at, [each]);
    else group.push(each);
  }
  await Promise.all(
    [...byNode].map(async ([at, sent]) => {
      const outcomes = at === undefined ? sent.map(() => unserved) : await execAt(table, at, sent);
      sent.forEach((each, i) => {
        const outcome = outcomes[i] as Outcome;
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

/** Sends what one node has to do. */
async function execAt(
  table: ClusterTable,
  at: string,
  sent: readonly Pending[],
): Promise<Outcome[]> {
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
    const outcome = outcomes[next++] as Outcome;
    if (!(outcome instanceof Error) || refusalOf(outcome, at)) return outcome;
    return node.explain(outcome, command);
  });
}

/** Takes from a refusal what it says of the hash slots, and where to send the command next. */
export function follow(
  table: ClusterTable,
  { refusal, command, place, hashSlot }: Refused,
): Pending {
  if (refusal.kind === "ASK") return { command, place, hashSlot, asked: refusal.address };
  if (refusal.kind === "MOVED") table.move(hashSlot, refusal.address);
  else if (refusal.kind === "CLUSTERDOWN") table.refreshSoon();
  return { command, place, hashSlot };
}

/** What a command that is still refused at the deadline fails with. */
export function stillRefused({ refusal, hashSlot }: Refused): Error {
  return new Error(
    "address" in refusal ? `TRYAGAIN slot ${hashSlot} kept moving: ${refusal.text}` : refusal.text,
  );
}

/** The first key of a command; all keys of one are of one hash slot. */
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
