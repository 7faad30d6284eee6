/**
 * The ledger: which intervals of which fingerprints are committed, the partial states and
 * snapshots of aggregates, and the pointers that say what is published. It lives beside the
 * entities, and all of it can be put back from the offline store: see
 * filling/publish/restore.ts.
 *
 * What it stores of a commit holds no wall-clock time and no run id, so the same runs in any order
 * end in the same bytes; those facts are in the run log, apart.
 */
import type { View } from "../engine/catalogue.ts";
import type { Outcome } from "../engine/calendar/grid.ts";
import { formatInterval } from "../engine/calendar/interval.ts";
import {
  beginRun,
  type Commit,
  type CommitOutcome,
  commitRun,
  type Coverage,
  type RestoredInterval,
  restoreView,
  type RunIdentity,
  stableJson,
} from "./commits.ts";
import type { StoreKeys } from "./keys.ts";
import { createKeys, pointerFields, requireNames } from "./keys.ts";
import type { Namespace } from "./namespace.ts";
import { readyNamespace } from "./namespace.ts";
import {
  beginPublish,
  commitPublish,
  decodePublished,
  type PublishCommit,
  type Published,
} from "./published.ts";
import type { Revision } from "./revision.ts";
import type { RedisConnection, RedisReply } from "./redis/types.ts";
import { textOf } from "./redis/connection.ts";
import { pairsOf, wholeHash } from "./redis/pairs.ts";

/** What is covered under one storage fingerprint. */
export interface LedgerEntry {
  readonly revision: Revision;
  readonly namespace: Namespace | null;
  readonly published: Published | null;
  /** By `formatInterval`. */
  readonly coverage: ReadonlyMap<string, Coverage>;
}

/** The partial state of an aggregate over one interval, opaque to the store. */
export interface StoredState {
  readonly generation: number;
  readonly state: string;
}

export interface StoredStates {
  readonly revision: Revision;
  /** By aggregate fingerprint, then by `formatInterval`. */
  readonly states: ReadonlyMap<string, ReadonlyMap<string, StoredState>>;
}

/** Asks for what is committed of a view. */
export interface CommittedRequest {
  readonly view: string;
  readonly fingerprint: string;
  /** Fingerprints of aggregates. */
  readonly aggregates: readonly string[];
  readonly known?: Revision | undefined;
}

/** Coverage and partial states of one moment. */
export interface CommittedEntry extends StoredStates {
  /** By `formatInterval`. */
  readonly coverage: ReadonlyMap<string, Coverage>;
}

export interface LatestSnapshot {
  readonly id: string;
  readonly asOfMs: number;
  readonly body: string;
}

export interface PointerRequest {
  readonly view: string;
  readonly fingerprint: string;
  readonly aggregatesFingerprint: string;
}

/** Names the pointers that this build of a view reads. */
export function pointerRequest({
  name,
  fingerprint,
  aggregatesFingerprint,
}: Pick<View, "name" | "fingerprint" | "aggregatesFingerprint">): PointerRequest {
  return { view: name, fingerprint, aggregatesFingerprint };
}

/** What a server needs to answer for one view. */
export interface Pointers {
  /** Null where nothing was ever written under the fingerprint. */
  readonly namespace: Namespace | null;
  readonly published: Published | null;
  readonly latest: LatestSnapshot | null;
  readonly revision: Revision;
}

/** A line of the run log: wall-clock facts for people; JSON values only. */
export interface RunRecord {
  readonly runId: string;
  readonly fingerprint: string;
  /** By `formatInterval`. */
  readonly interval: string;
  readonly outcome: string;
  readonly startedAtMs: number;
  readonly finishedAtMs: number;
  readonly [fact: string]: unknown;
}

export interface Ledger {
  /**
   * Allots the run's generation: 1 for the first run of an interval, then 2, and so on. All
   * attempts of a run share it: the same run id gets the same answer. It is above the newest that
   * the offline store has of the interval, since a ledger may be lost.
   */
  readonly beginRun: (run: RunIdentity, newestOffline: number) => Promise<number>;
  /** What is covered under a storage fingerprint, at one moment. Cost: O(intervals). */
  readonly readLedger: (view: string, fingerprint: string) => Promise<LedgerEntry>;
  /** Every interval's partial states of some aggregates, at one moment. */
  readonly readStates: (
    view: string,
    aggregateFingerprints: readonly string[],
  ) => Promise<StoredStates>;
  /**
   * Coverage and partial states at one moment, or null where the revision is still the known one.
   * Cost: O(intervals), or O(1) for null.
   */
  readonly readCommitted: (request: CommittedRequest) => Promise<CommittedEntry | null>;
  /**
   * Compares and sets: coverage and states move together or not at all.
   * A repeat of a commit that was done succeeds.
   *
   * @throws FENCED where a newer run of the interval has begun, LEDGER_CONFLICT where the revision
   *   moved (read, merge and commit again), STORE_LOST where the ledger forgot the run
   */
  readonly commitRun: (commit: Commit) => Promise<CommitOutcome>;
  /** Allots the generation of a publish, see `beginPublish`. */
  readonly beginPublish: (view: string, fingerprint: string, least: number) => Promise<number>;
  /** Moves what is published and the latest snapshot, see `commitPublish`. */
  readonly commitPublish: (commit: PublishCommit) => Promise<void>;
  /**
   * Puts back what a ledger has lost; what is there of a newer generation stays.
   *
   * @param leastCount - of the revision afterwards
   * @param voided - generations by interval, up to which a reset has made them void: they go
   */
  readonly restoreView: (
    view: string,
    fingerprint: string,
    aggregates: readonly string[],
    intervals: readonly RestoredInterval[],
    leastCount: number,
    voided?: ReadonlyMap<string, number>,
  ) => Promise<Revision>;
  /** Puts back the body of a snapshot; one that is there stays. */
  readonly restoreSnapshot: (view: string, id: string, body: string) => Promise<void>;
  /** Puts back which snapshot of a set of aggregates is the latest. */
  readonly restoreLatest: (
    view: string,
    aggregatesFingerprint: string,
    latest: LatestSnapshot,
  ) => Promise<void>;
  /** Table, what is published and latest snapshot of each request, in one round trip. */
  readonly readPointers: (requests: readonly PointerRequest[]) => Promise<Pointers[]>;
  /** The body of a snapshot, or null. No snapshot is collected yet, so none needs a pin. */
  readonly readSnapshot: (view: string, id: string) => Promise<string | null>;
  /** Appends to the view's run log, which keeps the newest 1000. */
  readonly logRun: (view: string, record: RunRecord) => Promise<void>;
  /** Keeps how the last run of an interval ended; one that ended earlier does not replace it. */
  readonly recordOutcome: (run: Omit<RunIdentity, "runId">, outcome: Outcome) => Promise<void>;
  /** The committed intervals alone, for who may only read Redis. Cost: O(intervals). */
  readonly readCoverage: (view: string, fingerprint: string) => Promise<LedgerEntry["coverage"]>;
  /** How the last run of each interval ended, by `formatInterval`. Cost: O(intervals). */
  readonly readOutcomes: (
    view: string,
    fingerprint: string,
  ) => Promise<ReadonlyMap<string, Outcome>>;
  /** The newest runs first. */
  readonly readRuns: (view: string, limit: number) => Promise<RunRecord[]>;
}

const runLogLimit = 1000;

/** Makes the ledger under a key prefix of a Redis, `onceflow` unless told otherwise. */
export function createLedger(
  redis: RedisConnection,
  { prefix }: { readonly prefix?: string | undefined } = {},
): Ledger {
  const keys = createKeys(prefix);
  return {
    beginRun: (run, newestOffline) => beginRun(redis, keys, run, newestOffline),
    readLedger: (view, fingerprint) => readLedger(redis, keys, view, fingerprint),
    readStates: (view, aggregates) => readStates(redis, keys, view, aggregates),
    readCommitted: (request) => readCommitted(redis, keys, request),
    commitRun: (commit) => commitRun(redis, keys, commit),
    beginPublish: (view, fingerprint, least) => beginPublish(redis, keys, view, fingerprint, least),
    commitPublish: (commit) => commitPublish(redis, keys, commit),
    restoreView: (view, fingerprint, aggregates, intervals, leastCount, voided = new Map()) =>
      restoreView(redis, keys, { view, fingerprint, aggregates, intervals, leastCount, voided }),
    async restoreSnapshot(view, id, body) {
      requireNames(view);
      await redis.send(["hsetnx", keys.snapshots(view), id, body]);
    },
    async restoreLatest(view, aggregatesFingerprint, { id, asOfMs, body }) {
      requireNames(view, aggregatesFingerprint);
      const field = pointerFields.latest(aggregatesFingerprint);
      await redis.send(["hset", keys.pointers(view), field, `${asOfMs} ${id} ${body}`]);
    },
    readPointers: (requests) => readPointers(redis, keys, requests),
    async readSnapshot(view, id) {
      requireNames(view);
      return textOf(await redis.send(["hget", keys.snapshots(view), id]));
    },
    async logRun(view, record) {
      requireNames(view);
      const key = keys.runs(view);
      await redis.pipeline([
        ["lpush", key, stableJson(record)],
        ["ltrim", key, 0, runLogLimit - 1],
      ]);
    },
    async recordOutcome({ view, fingerprint, interval }, outcome) {
      requireNames(view, fingerprint);
      await redis.send([
        "recordOutcome",
        keys.outcomes(view, fingerprint),
        formatInterval(interval),
        outcome.finishedAtMs,
        stableJson(outcome),
      ]);
    },
    async readCoverage(view, fingerprint) {
      requireNames(view, fingerprint);
      return parseCoverage(await redis.send(wholeHash(keys.coverage(view, fingerprint))));
    },
    async readOutcomes(view, fingerprint) {
      requireNames(view, fingerprint);
      const reply = await redis.send(wholeHash(keys.outcomes(view, fingerprint)));
      return new Map(
        pairsOf(reply).map(([interval, json]) => [
          interval,
          JSON.parse(json.toString()) as Outcome,
        ]),
      );
    },
    async readRuns(view, limit) {
      requireNames(view);
      if (limit <= 0) return [];
      const lines = (await redis.send(["lrange", keys.runs(view), 0, limit - 1])) as Buffer[];
      return lines.map((line) => JSON.parse(line.toString()) as RunRecord);
    },
  };
}

async function readLedger(
  redis: RedisConnection,
  keys: StoreKeys,
  view: string,
  fingerprint: string,
): Promise<LedgerEntry> {
  requireNames(view, fingerprint);
  const pointers = keys.pointers(view);
  const [revision, fields, coverage] = (await redis.send([
    "readHashes",
    3,
    pointers,
    pointers,
    keys.coverage(view, fingerprint),
  ])) as RedisReply[];
  const pointer = new Map(pairsOf(fields));
  const record = pointer.get(pointerFields.table(fingerprint));
  const published = pointer.get(pointerFields.published(fingerprint));
  return {
    revision: revisionOf(revision),
    namespace: readyNamespace(view, fingerprint, record?.toString() ?? null),
    published: decodePublished(view, published?.toString() ?? null),
    coverage: parseCoverage(coverage),
  };
}

async function readStates(
  redis: RedisConnection,
  keys: StoreKeys,
  view: string,
  aggregates: readonly string[],
): Promise<StoredStates> {
  requireNames(view, ...aggregates);
  const [revision, ...hashes] = (await redis.send([
    "readHashes",
    1 + aggregates.length,
    keys.pointers(view),
    ...aggregates.map((aggregate) => keys.states(view, aggregate)),
  ])) as RedisReply[];
  return { revision: revisionOf(revision), states: parseStates(aggregates, hashes) };
}

async function readCommitted(
  redis: RedisConnection,
  keys: StoreKeys,
  { view, fingerprint, aggregates, known = "" }: CommittedRequest,
): Promise<CommittedEntry | null> {
  requireNames(view, fingerprint, ...aggregates);
  const [revision, coverage, ...states] = (await redis.send([
    "readHashes",
    2 + aggregates.length,
    keys.pointers(view),
    keys.coverage(view, fingerprint),
    ...aggregates.map((aggregate) => keys.states(view, aggregate)),
    known,
  ])) as RedisReply[];
  if (coverage === undefined) return null;
  return {
    revision: revisionOf(revision),
    coverage: parseCoverage(coverage),
    states: parseStates(aggregates, states),
  };
}

/** A ledger that was never written is at revision 0. */
function revisionOf(reply: RedisReply | undefined): Revision {
  return textOf(reply) ?? "0";
}

function parseCoverage(hash: RedisReply | undefined): ReadonlyMap<string, Coverage> {
  return new Map(
    pairsOf(hash).map(([interval, json]) => [interval, JSON.parse(json.toString()) as Coverage]),
  );
}

function parseStates(
  aggregates: readonly string[],
  hashes: readonly RedisReply[],
): ReadonlyMap<string, ReadonlyMap<string, StoredState>> {
  return new Map(
    aggregates.map((aggregate, i) => [
      aggregate,
      new Map(pairsOf(hashes[i]).map(([interval, text]) => [interval, parseState(text)])),
    ]),
  );
}

async function readPointers(
  redis: RedisConnection,
  keys: StoreKeys,
  requests: readonly PointerRequest[],
): Promise<Pointers[]> {
  const replies = await redis.pipeline(
    requests.map(({ view, fingerprint, aggregatesFingerprint }) => {
      requireNames(view, fingerprint, aggregatesFingerprint);
      return [
        "hmget",
        keys.pointers(view),
        pointerFields.table(fingerprint),
        pointerFields.published(fingerprint),
        pointerFields.latest(aggregatesFingerprint),
        pointerFields.revision,
      ];
    }),
  );
  return requests.map(({ view, fingerprint }, i) => {
    const [record, published, latest, revision] = replies[i] as RedisReply[];
    return {
      namespace: readyNamespace(view, fingerprint, textOf(record)),
      published: decodePublished(view, textOf(published)),
      latest: parseLatest(textOf(latest)),
      revision: revisionOf(revision),
    };
  });
}

/** Reads `<as of, ms> <id> <body>`, the body to the end. */
function parseLatest(text: string | null): LatestSnapshot | null {
  if (text === null) return null;
  const afterTime = text.indexOf(" ");
  const afterId = text.indexOf(" ", afterTime + 1);
  return {
    id: text.slice(afterTime + 1, afterId),
    asOfMs: Number(text.slice(0, afterTime)),
    body: text.slice(afterId + 1),
  };
}

function parseState(text: Buffer): StoredState {
  const blank = text.indexOf(" ");
  return {
    generation: Number(text.toString("utf8", 0, blank)),
    state: text.toString("utf8", blank + 1),
  };
}
