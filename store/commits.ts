/** Commits of runs: coverage and partial states move together, fenced by generations. */
import { OnceflowError } from "../engine/errors.ts";
import type { Interval } from "../engine/calendar/interval.ts";
import { formatInterval } from "../engine/calendar/interval.ts";
import { requireNames, type StoreKeys } from "./keys.ts";
import { randomId } from "./namespace.ts";
import { textOf } from "./redis/connection.ts";
import type { RedisConnection, RedisReply } from "./redis/types.ts";
import type { Revision } from "./revision.ts";

/** A run over one interval of one storage fingerprint. */
export interface RunIdentity {
  readonly view: string;
  readonly fingerprint: string;
  readonly interval: Interval;
  readonly runId: string;
}

/** The files that a commit was made of. */
export interface CoveredFiles {
  /** When the newest was written, in ms. */
  readonly as_of: number;
  /** Of the sizes and times of all. */
  readonly hash: string;
}

/** Facts of a commit that do not depend on when or by whom it was done; JSON values only. */
export interface CoverageFacts {
  readonly rows: number;
  /** Absent in commits of older releases. */
  readonly files?: CoveredFiles;
  /** Rows of its files that no interval takes; absent for none. */
  readonly outside?: number;
  readonly [fact: string]: unknown;
}

/** A committed interval. */
export interface Coverage extends CoverageFacts {
  readonly generation: number;
}

/** What a run commits, all at once. */
export interface Commit extends RunIdentity {
  readonly generation: number;
  /** The revision that was read with what was merged. */
  readonly expectedRevision: Revision;
  /** Absent where the run wrote no rows, since they were covered and only an aggregate is new. */
  readonly coverage?: CoverageFacts | undefined;
  /** By aggregate fingerprint. */
  readonly states: Readonly<Record<string, string>>;
}

export interface CommitOutcome {
  readonly revision: Revision;
  /** True where this very commit had been done before, so nothing was written. */
  readonly repeated: boolean;
}

/** A committed interval that the offline store has, for a ledger that lost it. */
export interface RestoredInterval {
  readonly interval: string;
  /** The newest that was ever allotted, committed or not. */
  readonly newestGeneration: number;
  readonly coverage: Coverage;
  /** By aggregate fingerprint; those that it lacks are absent. */
  readonly states: Readonly<Record<string, string>>;
}

/** Runs of an interval whose ids are remembered; an attempt of an older one begins anew. */
const rememberedRuns = 16;

export async function beginRun(
  redis: RedisConnection,
  keys: StoreKeys,
  run: RunIdentity,
  newestOffline: number,
) {
  const { view, fingerprint, interval, runId } = run;
  requireNames(view, fingerprint);
  const generation = await redis.send([
    "beginRun",
    keys.generations(view, fingerprint),
    keys.begun(view, fingerprint),
    formatInterval(interval),
    runId,
    rememberedRuns,
    newestOffline,
  ]);
  return generation as number;
}

export async function commitRun(
  redis: RedisConnection,
  keys: StoreKeys,
  commit: Commit,
): Promise<CommitOutcome> {
  const { view, fingerprint, generation, coverage } = commit;
  const aggregates = Object.keys(commit.states).sort();
  requireNames(view, fingerprint, ...aggregates);
  const interval = formatInterval(commit.interval);
  const stateKeys = aggregates.map((aggregate) => keys.states(view, aggregate));
  const reply = await redis.send([
    "commitRun",
    3 + stateKeys.length,
    keys.pointers(view),
    keys.generations(view, fingerprint),
    keys.coverage(view, fingerprint),
    ...stateKeys,
    interval,
    generation,
    commit.expectedRevision,
    coverage ? encodeCoverage({ ...coverage, generation }) : "",
    randomId(),
    ...aggregates.map((aggregate) => `${generation} ${commit.states[aggregate]}`),
  ]);
  const [outcome = "", revision = "0", newest = "0"] = (reply as RedisReply[]).map(
    (part) => textOf(part) ?? "",
  );
  const where = `view "${view}", interval ${interval}, generation ${generation}`;
  const details = { view, fingerprint, interval, generation };
  switch (outcome) {
    case "committed":
    case "repeated":
      return { revision, repeated: outcome === "repeated" };
    case "fenced":
      throw new OnceflowError(
        "FENCED",
        `${where}: the newer generation ${newest} has begun, so this run must not commit. ` +
          "Leave the interval to it.",
        { ...details, newest: Number(newest) },
      );
    case "conflict":
      throw new OnceflowError(
        "LEDGER_CONFLICT",
        `${where}: the ledger is at revision ${revision}, not ${commit.expectedRevision}. ` +
          "Read the states again, merge and commit.",
        { ...details, revision },
      );
    default:
      throw new OnceflowError(
        "STORE_LOST",
        `${where}: the ledger knows generation ${newest} at most, so Redis was emptied or ` +
          "restored since the run began. Start the run again.",
        details,
      );
  }
}

/** Intervals that one call puts back. */
const restoredAtOnce = 500;

export async function restoreView(
  redis: RedisConnection,
  keys: StoreKeys,
  {
    view,
    fingerprint,
    aggregates,
    intervals,
    leastCount,
    voided,
  }: {
    readonly view: string;
    readonly fingerprint: string;
    /** Fingerprints of aggregates. */
    readonly aggregates: readonly string[];
    readonly intervals: readonly RestoredInterval[];
    readonly leastCount: number;
    /** Generations by interval, up to which a reset has made them void. */
    readonly voided: ReadonlyMap<string, number>;
  },
): Promise<Revision> {
  requireNames(view, fingerprint, ...aggregates);
  const none = aggregates.map(() => "");
  const entries = [
    ...[...voided].map(([interval, generation]) => [interval, generation, generation, "", ...none]),
    ...intervals.map(({ interval, newestGeneration, coverage, states }) => [
      interval,
      coverage.generation,
      newestGeneration,
      encodeCoverage(coverage),
      ...aggregates.map((aggregate) =>
        states[aggregate] === undefined ? "" : `${coverage.generation} ${states[aggregate]}`,
      ),
    ]),
  ];
  let revision: RedisReply = null;
  for (let from = 0; from === 0 || from < entries.length; from += restoredAtOnce)
    revision = await redis.send([
      "restoreView",
      3 + aggregates.length,
      keys.pointers(view),
      keys.generations(view, fingerprint),
      keys.coverage(view, fingerprint),
      ...aggregates.map((aggregate) => keys.states(view, aggregate)),
      from + restoredAtOnce < entries.length ? "" : leastCount,
      randomId(),
      ...entries.slice(from, from + restoredAtOnce).flat(),
    ]);
  return textOf(revision) ?? "0";
}

/** The bytes of a commit, the same for equal facts. */
function encodeCoverage(coverage: Coverage): string {
  return stableJson(coverage);
}

/** JSON with the keys of every object in order, so that equal facts have equal bytes. */
export function stableJson(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
