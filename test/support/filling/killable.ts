/** Processes that are killed or halted at any call of a store, without a process of their own. */
import type { ObjectStore } from "../../../store/offline/objects.ts";
import type { RedisConnection, RedisReply } from "../../../store/redis/types.ts";

/** What becomes of a process at its call number `at`, counted from 1. */
export interface Fault {
  readonly at: number;
  /** Killed before or after the call took effect; halted until it is woken, and then goes on. */
  readonly how: "before" | "after" | "halt";
}

/** What every call of a killed process throws. */
export class Killed extends Error {
  constructor() {
    super("the process was killed");
  }
}

/** A process, by what its stores do. */
export type Killable = ReturnType<typeof createKillable>;

/** Makes one that lives until a fault is given. */
export function createKillable() {
  let fault: Fault | undefined;
  let calls = 0;
  let isDead = false;
  let onHalt = (): void => undefined;
  let halted: Promise<void> | undefined;
  let wake = (): void => undefined;

  /** A call of a store. */
  async function step<T>(call: () => Promise<T>): Promise<T> {
    if (isDead) throw new Killed();
    const now = fault;
    if (now === undefined || ++calls < now.at) {
      // Where one call halts, those that come with it do too.
      await halted;
      return call();
    }
    fault = undefined;
    if (now.how === "halt") {
      halted = new Promise((resolve) => (wake = resolve));
      onHalt();
      await halted;
      halted = undefined;
      return call();
    }
    isDead = true;
    if (now.how === "after") await call();
    throw new Killed();
  }

  return {
    step,
    /** Arms a fault for the next calls; gives what resolves once they have halted. */
    arm(next: Fault | undefined): Promise<void> {
      fault = next;
      calls = 0;
      return new Promise((resolve) => (onHalt = resolve));
    },
    isDead: () => isDead,
    wake: () => {
      wake();
    },
  };
}

/** The place of an offline store, as a process sees it. */
export function killableObjects(
  objects: ObjectStore,
  { step }: Pick<Killable, "step">,
): ObjectStore {
  return {
    locate: objects.locate,
    list: (key) => step(() => objects.list(key)),
    stat: (key) => step(() => objects.stat(key)),
    read: (key, range) => step(() => objects.read(key, range)),
    put: (key, content) => step(() => objects.put(key, content)),
    putIfAbsent: (key, content) => step(() => objects.putIfAbsent(key, content)),
    remove: (key) => step(() => objects.remove(key)),
  };
}

/**
 * A connection to Redis, as a process sees it.
 *
 * @param restarts - how often Redis has been started anew with an older copy: each has another run id
 */
export function killableRedis(
  redis: RedisConnection,
  { step }: Pick<Killable, "step">,
  restarts: () => number,
): RedisConnection {
  const named = (reply: RedisReply) =>
    Buffer.isBuffer(reply)
      ? Buffer.from(reply.toString().replace(/run_id:(\S+)/, `run_id:$1r${restarts()}`))
      : reply;
  return {
    ...redis,
    send: (command) =>
      step(() => {
        const [name, ...args] = command;
        if (name !== "commitPublish") return redis.send(command);
        const own = `r${restarts()}`;
        const ids = String(args[6]).split(",");
        args[6] = ids.map((id) => (id.endsWith(own) ? id.slice(0, -own.length) : "gone")).join(",");
        return redis.send([name, ...args]);
      }),
    pipeline: (commands) => step(() => redis.pipeline(commands)),
    masters: async () =>
      (await step(() => redis.masters())).map(({ address, send }) => ({
        address,
        send: (command) => step(async () => named(await send(command))),
      })),
    assertNoEviction: () => step(() => redis.assertNoEviction()),
  };
}
