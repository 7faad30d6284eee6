/** A deployment of workers without Temporal: what they do to the stores, and what is then served. */
import type { Redis } from "ioredis";
import { type Catalogue, type View, viewNamed } from "../../../engine/catalogue.ts";
import { OnceflowError } from "../../../engine/errors.ts";
import { commitRun, coverageOf } from "../../../filling/commit.ts";
import { createCommittedViews } from "../../../filling/committed-views.ts";
import { fillAggregates } from "../../../filling/fill-aggregates.ts";
import { readSlice, validateRun } from "../../../filling/pass-one.ts";
import { partitionRef, readPartition } from "../../../filling/publish/partitions.ts";
import { type PublishPlan, readPlan } from "../../../filling/publish/plan.ts";
import { publishView, type PublishRequest } from "../../../filling/publish/publish.ts";
import { intervalOfRun } from "../../../filling/run-facts.ts";
import { recordCommit, recordFailure } from "../../../filling/run-end.ts";
import { beginRun, readInterval } from "../../../filling/run-plan.ts";
import type { Stores } from "../../../filling/stores.ts";
import { pointerRequest } from "../../../store/ledger.ts";
import { rowColumns } from "../../../filling/view-program.ts";
import { formatInterval, parseInterval } from "../../../engine/calendar/interval.ts";
import { toJson } from "../../../engine/wire.ts";
import { listSourceFiles } from "../../../sources/files.ts";
import { createKeys } from "../../../store/keys.ts";
import { createLedger } from "../../../store/ledger.ts";
import { bucketKey } from "../../../store/namespace.ts";
import { createOnlineStore } from "../../../store/online-store.ts";
import type { ObjectStore } from "../../../store/offline/objects.ts";
import { offlineStoreOf } from "../../../store/offline/offline-store.ts";
import type { RedisConnection } from "../../../store/redis/types.ts";
import { createRowCodec } from "../../../store/rows/codec.ts";
import { encodeEntityKey } from "../../../store/rows/entity-key.ts";
import { encodeMark, markBytes, versionBytes } from "../../../store/rows/version.ts";
import { slicesOf } from "../../../workflows/contract.ts";
import { valuesOf } from "../files/source-files.ts";
import { readHash } from "../redis/dump-store.ts";
import { scanKeys } from "../redis/server.ts";
import { createKillable, type Fault, killableObjects, killableRedis } from "./killable.ts";

/** An interval, by the bounds of its run. */
export interface Bounds {
  readonly start: string;
  readonly end: string;
}

/** Where a deployment keeps what it has. */
export interface DeploymentOptions {
  readonly redis: RedisConnection;
  /** To the same Redis, for what the product does not do. */
  readonly client: Redis;
  readonly prefix: string;
  readonly dataDir: string;
  readonly objects: ObjectStore;
}

/** Serialized contents of entities, by encoded key in hexadecimal. */
export type Entities = ReadonlyMap<string, string>;

/** Plans of one run, at most. */
const mostPlans = 4;
const wanted = (): void => undefined;
let runs = 0;

/** A deployment whose workers have the catalogues that each call names. */
export function createDeployment({ redis, client, prefix, dataDir, objects }: DeploymentOptions) {
  let restarts = 0;
  const offline = offlineStoreOf(objects);
  const ledger = createLedger(redis, { prefix });

  /** A worker process: it knows what it has read, until it is killed. */
  function createWorker() {
    const life = createKillable();
    const own = killableRedis(redis, life, () => restarts);
    const stores: Stores = {
      redis: own,
      online: createOnlineStore(own, { prefix }),
      ledger: createLedger(own, { prefix }),
      offline: offlineStoreOf(killableObjects(objects, life)),
      sources: { dataDir },
    };
    const memories = new Map<Catalogue, ReturnType<typeof createCommittedViews>>();
    return {
      life,
      stores,
      /** What is committed, as this process knows it of the views of a build. */
      committed(catalogue: Catalogue) {
        const memory =
          memories.get(catalogue) ?? createCommittedViews(stores.ledger, stores.offline);
        memories.set(catalogue, memory);
        return memory;
      },
    };
  }
  type Worker = ReturnType<typeof createWorker>;

  const workers: Worker[] = [createWorker(), createWorker()];
  const zombies: { readonly worker: Worker; readonly ended: Promise<unknown> }[] = [];

  /** Does something in a worker, which a fault kills or halts in the middle of it. */
  async function run<T>(
    place: number,
    fault: Fault | undefined,
    work: (worker: Worker) => Promise<T>,
  ): Promise<T | "halted"> {
    const worker = workers[place] as Worker;
    const halted = worker.life.arm(fault);
    const working = work(worker);
    const ended = working.catch((error: unknown) => error);
    try {
      const first = await Promise.race([working, halted.then(() => "halted" as const)]);
      if (first === "halted") {
        zombies.push({ worker, ended });
        workers[place] = createWorker();
      }
      return first;
    } finally {
      void worker.life.arm(undefined);
      if (worker.life.isDead()) workers[place] = createWorker();
    }
  }

  /** A run of an interval, as the workflow does it. */
  async function materialize(
    { stores, committed }: Worker,
    catalogue: Catalogue,
    view: View,
    bounds: Bounds,
    reprocess: boolean,
  ): Promise<void> {
    const views = committed(catalogue);
    const { name, fingerprint, definition } = view;
    const request = { view: name, ...bounds, fingerprint, definition, runId: `run-${runs++}` };
    for (let plan = 0; ; plan++) {
      const ready = { ...request, reprocess, sensed: false, ...(plan === 0 ? {} : { plan }) };
      const { covered, nothing } = await readInterval(stores, views, view, ready);
      if (nothing !== undefined) return;
      const planned = await beginRun(stores, view, ready, covered, {});
      const ref = { ...request, generation: planned.generation };
      try {
        if (planned.due === "aggregates") {
          await fillAggregates(stores, views, view, ref, wanted);
          return;
        }
        for (const slice of slicesOf(planned.files))
          await readSlice(stores, view, ref, slice, wanted);
        const { rows } = await validateRun(stores, views, view, ref, wanted);
        await commitRun(stores, views, view, ref);
        await recordCommit(stores, view, ref, { rows, warnings: [] });
        return;
      } catch (error) {
        if (!(error instanceof OnceflowError)) throw error;
        const isOutdated = ["SOURCE_CHANGED", "OFFLINE_UNAVAILABLE"].includes(error.code);
        if (isOutdated && plan + 1 < mostPlans) continue;
        const generation = planned.due === "rows" ? planned.generation : null;
        const failure = { outcome: "failed", reason: error.message, begunAtMs: 0 } as const;
        await recordFailure(stores, views, view, request, generation, failure);
        throw error;
      }
    }
  }

  /**
   * Whether an interval is committed, rows and aggregates, of the files that there are. A build that
   * lacks an aggregate leaves its state as it was.
   */
  async function isUpToDate(view: View, bounds: Bounds): Promise<boolean> {
    const interval = intervalOfRun(view, bounds);
    const coverage = await ledger.readCoverage(view.name, view.fingerprint);
    const files = await listSourceFiles(view.source, interval, { dataDir });
    const { hash: now } = coverageOf({ rows: 0, files }).files ?? {};
    const text = formatInterval(interval);
    const covered = coverage.get(text);
    const aggregates = view.aggregates.map(({ fingerprint }) => fingerprint);
    const { states } = await ledger.readStates(view.name, aggregates);
    return (
      covered?.files?.hash === now &&
      [...states.values()].every((each) =>
        [undefined, covered?.generation].includes(each.get(text)?.generation),
      )
    );
  }

  /** What the view's pointers say. */
  async function readPointers(view: View) {
    const [pointers] = await ledger.readPointers([pointerRequest(view)]);
    if (pointers === undefined) throw new Error("there is an answer for each request");
    return pointers;
  }

  /** The entities that a reader finds: row bytes without versions, in hexadecimal. */
  async function readEntities(view: View): Promise<Entities> {
    const { namespace, published } = await readPointers(view);
    const entities = new Map<string, string>();
    if (namespace === null) return entities;
    const mark = published === null ? Buffer.alloc(markBytes) : encodeMark(published.whole);
    for (let bucket = 0; bucket < namespace.buckets; bucket++)
      for (const [key, value] of await readHash(
        client,
        bucketKey(createKeys(prefix), namespace, bucket),
      )) {
        if (key.length === 0 || value.length === versionBytes) continue;
        if (value.compare(mark, 0, markBytes, 0, markBytes) < 0) continue;
        entities.set(key.toString("hex"), value.toString("hex", versionBytes));
      }
    return entities;
  }

  /** Values as JSON, by the stored columns. */
  function decodeEntities(view: View, entities: Entities): Entities {
    const decode = createRowCodec(view.stores).decoder(view.stores.map(({ name }) => name));
    const shown = [...entities].map(([key, row]): [string, string] => {
      const values = decode(Buffer.from(row, "hex"));
      return [
        key,
        JSON.stringify(view.stores.map(({ dtype }, i) => toJson(dtype, values[i] ?? null))),
      ];
    });
    return new Map(shown);
  }

  /** The newest row of each entity in some generations, from the offline rows: values as JSON. */
  async function foldOffline(
    view: View,
    { intervals }: Pick<PublishPlan, "intervals">,
  ): Promise<Entities> {
    const newest = new Map<string, { readonly version: Buffer; readonly json: string }>();
    for (const [text, generation] of Object.entries(intervals)) {
      const interval = parseInterval(text);
      const { parts } = await readPartition(offline, view, interval, generation);
      for (const part of parts) {
        const columns = valuesOf(
          await offline.readPart(partitionRef(view, interval, generation), part),
        );
        for (let row = 0; row < part.rows; row++) {
          const valueOf = (name: string) => columns[name]?.[row] ?? null;
          const key = encodeEntityKey(view.rows.key.map((name) => String(valueOf(name)))).toString(
            "hex",
          );
          const version = Buffer.alloc(16);
          version.writeBigInt64BE(BigInt(valueOf(rowColumns.eventTime) as number), 0);
          version.writeBigInt64BE(BigInt(valueOf(rowColumns.ordinal) as number), 8);
          const held = newest.get(key);
          if (held !== undefined && held.version.compare(version) > 0) continue;
          const json = JSON.stringify(
            view.stores.map(({ name, dtype }) => toJson(dtype, valueOf(name))),
          );
          newest.set(key, { version, json });
        }
      }
    }
    return new Map([...newest].map(([key, { json }]) => [key, json]));
  }

  /** The plans of the last publish that ended, and of those that began after it. */
  async function readPlans(view: View): Promise<PublishPlan[]> {
    const ref = { view: view.name, fingerprint: view.fingerprint };
    const plans: PublishPlan[] = [];
    for (const generation of (await offline.journal.listPublishes(ref)).reverse()) {
      const plan = await readPlan(offline, view, generation);
      if (plan !== undefined) plans.push(plan);
    }
    return plans;
  }

  /** All keys of the deployment, as Redis keeps them. */
  async function copy(): Promise<ReadonlyMap<string, Buffer>> {
    const keys = await scanKeys(client, prefix);
    const values = await Promise.all(keys.map((key) => client.dumpBuffer(key)));
    return new Map(keys.map((key, i) => [key, values[i] as Buffer]));
  }

  /** Removes all keys. */
  async function empty(): Promise<void> {
    const keys = await scanKeys(client, prefix);
    if (keys.length > 0) await client.unlink(...keys);
  }

  return {
    offline,
    ledger,
    zombies,
    isUpToDate,
    readPointers,
    readEntities,
    decodeEntities,
    foldOffline,
    readPlans,
    copy,
    empty,
    /** Starts Redis with an older copy. */
    async putBack(values: ReadonlyMap<string, Buffer>): Promise<void> {
      await empty();
      for (const [key, value] of values) await client.restore(key, 0, value);
      restarts++;
    },
    materialize: (
      catalogue: Catalogue,
      name: string,
      bounds: Bounds,
      {
        reprocess = false,
        worker = 0,
        fault,
      }: { reprocess?: boolean; worker?: number; fault?: Fault | undefined } = {},
    ) =>
      run(worker, fault, (each) =>
        materialize(each, catalogue, viewNamed(catalogue, name), bounds, reprocess),
      ),
    publish: (
      catalogue: Catalogue,
      name: string,
      request: PublishRequest = {},
      { worker = 0, fault }: { worker?: number; fault?: Fault | undefined } = {},
    ) =>
      run(worker, fault, ({ stores, committed }) =>
        publishView(stores, committed(catalogue), viewNamed(catalogue, name), request, wanted),
      ),
    /** Lets a halted process go on to its end; gives what it threw. */
    async wake(place: number): Promise<unknown> {
      const [zombie] = zombies.splice(place, 1);
      zombie?.worker.life.wake();
      return zombie?.ended;
    },
  };
}

export type Deployment = ReturnType<typeof createDeployment>;
