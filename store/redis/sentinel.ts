/**
 * A master that Sentinels know: one node connection, to the master that they name now.
 *
 * All Sentinels are asked twice a second, and the one that has seen the latest failover is believed.
 * That notices a master that died, hangs or was replaced by hand alike. While no Sentinel answers,
 * the master that was found before is kept. Replicas are never read.
 */
import { setTimeout as pause } from "node:timers/promises";
import { mapRedisError } from "./errors.ts";
import type { NodeOptions, RedisNode } from "./node.ts";
import { addressOf, execAll, firstOf, openNode, within } from "./node.ts";
import { pairsOf } from "./pairs.ts";
import type { RedisDeadlines, TargetConnection } from "./types.ts";
import type { SentinelTarget } from "./url.ts";

const askEveryMs = 500;
/** Of the Sentinels; the master has those of the connection's role. */
const sentinelLimits: RedisDeadlines = {
  commandTimeoutMs: 500,
  connectTimeoutMs: 1_000,
  socketTimeoutMs: 1_000,
};

/** Connects to the master; returns at once, see `ready`. */
export function connectSentinel(
  { name, urlStart, urlEnd, sentinelUrlStart, sentinels }: SentinelTarget,
  { role, limits }: Pick<NodeOptions, "role" | "limits">,
): TargetConnection {
  const address = `${name} of ${sentinels.join(",")}`;
  const asked = sentinels.map((at) =>
    openNode(sentinelUrlStart + at, at, { role: "serving", limits: sentinelLimits }),
  );
  const listeners: (() => void)[] = [];
  const closing = new AbortController();
  let master: RedisNode | undefined;
  /** The one that is being tried as the master. */
  let candidate: RedisNode | undefined;
  let failure: unknown = new Error("connect ETIMEDOUT");
  let looking: Promise<void> | undefined;

  async function adopt(at: string): Promise<void> {
    if (at === master?.address || closing.signal.aborted) return;
    const node = openNode(urlStart + at + urlEnd, at, {
      role,
      limits,
      onReady(again) {
        if (again && node === master) for (const listener of listeners) listener();
      },
    });
    candidate = node;
    try {
      await assertMaster(node);
    } catch (error) {
      node.drop();
      throw error;
    }
    // `close` has seen to it.
    if (closing.signal.aborted) return;
    const old = master;
    master = node;
    // What waits there may wait for long: it may hang.
    old?.drop();
    if (old) for (const listener of listeners) listener();
  }

  function look(): Promise<void> {
    return (looking ??= findMaster(asked, name)
      .then(adopt)
      .catch((error: unknown) => {
        failure = error;
        throw error;
      })
      .finally(() => (looking = undefined)));
  }

  async function watch(): Promise<void> {
    while (!closing.signal.aborted) {
      await look().catch(() => undefined);
      const options = { signal: closing.signal, ref: false };
      await pause(askEveryMs, undefined, options).catch(() => undefined);
    }
  }
  void watch();

  async function found(): Promise<RedisNode> {
    if (master === undefined && role === "writing") await look();
    if (master === undefined) throw mapRedisError(failure, address, "connect");
    return master;
  }

  return {
    address,
    async ready() {
      const connected = async () => {
        if (master === undefined) await look();
        await master?.ready();
      };
      await within(limits.connectTimeoutMs + 20, connected(), () =>
        mapRedisError(failure, address, "connect"),
      );
    },
    async pipeline(commands) {
      return commands.length === 0 ? [] : execAll(await found(), commands);
    },
    async masters() {
      return [await found()];
    },
    onReconnect: (listener) => void listeners.push(listener),
    async close() {
      closing.abort();
      if (candidate !== master) candidate?.drop();
      const nodes = master === undefined ? asked : [...asked, master];
      await Promise.all(nodes.map((node) => node.close()));
    },
  };
}

/** Where the master is, by the Sentinel that has seen the latest failover. */
async function findMaster(sentinels: readonly RedisNode[], name: string): Promise<string> {
  if (!sentinels.some((sentinel) => sentinel.isReady()))
    await firstOf(sentinels, (sentinel) => sentinel.ready());
  const answers = await Promise.allSettled(
    sentinels.filter((sentinel) => sentinel.isReady()).map((sentinel) => masterBy(sentinel, name)),
  );
  let newest: { readonly at: string; readonly epoch: number } | undefined;
  for (const answer of answers)
    if (answer.status === "fulfilled" && answer.value.epoch >= (newest?.epoch ?? 0))
      newest = answer.value;
  if (newest !== undefined) return newest.at;
  throw answers.find((answer) => answer.status === "rejected")?.reason;
}

async function masterBy(sentinel: RedisNode, name: string) {
  const facts = new Map(pairsOf(await sentinel.send(["sentinel", "MASTER", name])));
  const at = addressOf(String(facts.get("ip")), String(facts.get("port")));
  return { at, epoch: Number(facts.get("config-epoch")) };
}

/** A Sentinel that was away may name one that is a master no longer. */
async function assertMaster(node: RedisNode): Promise<void> {
  await node.ready();
  const info = String(await node.send(["info", "replication"]));
  if (!/^role:master/m.test(info)) throw node.explain(new Error("READONLY"), ["info"]);
}
