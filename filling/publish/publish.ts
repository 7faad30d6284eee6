/**
 * The publish of a view: makes what is committed up to an end what is served, entities and aggregates
 * together. It may be killed at any point and begun again: entities are newer-wins by the generation
 * of the publish, and the pointers move once, at its end, fenced by that generation.
 */
import type { View } from "../../engine/catalogue.ts";
import { endsOf } from "../../engine/calendar/interval.ts";
import { setTimeout as pause } from "node:timers/promises";
import { type ErrorCode, OnceflowError } from "../../engine/errors.ts";
import { chooseBuckets, type Namespace } from "../../store/namespace.ts";
import { countOfRevision } from "../../store/revision.ts";
import type { Published } from "../../store/published.ts";
import { isDurable, isSameRun, readRunId } from "../../store/redis/run-id.ts";
import type { Mark } from "../../store/rows/version.ts";
import type { PublishInput, PublishResult } from "../../workflows/contract.ts";
import type { CommittedView, CommittedViews } from "../committed-views.ts";
import type { Stores } from "../stores.ts";
import { storedTable } from "../view-states.ts";
import { pointerRequest } from "../../store/ledger.ts";
import { type Change, changeOf, writeEntities, type WriteOptions } from "./changes.ts";
import {
  isSameTarget,
  type PublishHistory,
  type PublishPlan,
  type PublishTarget,
  readHistory,
  requirePublish,
  storedPlan,
  targetOf,
} from "./plan.ts";
import { restoreView } from "./restore.ts";
import { snapshotOf, type TargetSnapshot } from "./snapshot.ts";
import { tidyView } from "./tidy.ts";

/**
 * Times that a publish is done where Redis restarts in the middle of it or has lost something, or
 * where another publish begins meanwhile.
 */
const publishAttempts = 5;
/** What another attempt mends, at once. */
const passing: readonly ErrorCode[] = [
  "STORE_RESTARTED",
  "STORE_LOST",
  "FENCED",
  "LEDGER_CONFLICT",
];
const fencedPauseMs = 500;

/** What to publish, and how. */
export type PublishRequest = Pick<PublishInput, "whole" | "backTo" | "freeze" | "resume">;

/**
 * Publishes a view, or does nothing where what is committed is published already. What Redis has lost
 * is put back from the offline store first.
 *
 * @param assertWanted - called between parts; it throws once the publish is not wanted any more
 * @throws FENCED where a later publish has begun; OFFLINE_UNAVAILABLE, STORE_UNAVAILABLE, STORE_FULL,
 *   STORE_EVICTS, REQUEST_INVALID
 */
export async function publishView(
  stores: Stores,
  committedViews: CommittedViews,
  view: View,
  request: PublishRequest,
  assertWanted: () => void,
): Promise<PublishResult> {
  let whole = request.whole ?? false;
  let isRestored = false;
  for (let attempt = 1; ; attempt++)
    try {
      const how = { ...request, whole, isRestored };
      return await publishOnce(stores, committedViews, view, how, assertWanted);
    } catch (error) {
      const code = error instanceof OnceflowError ? error.code : undefined;
      if (code === undefined || !passing.includes(code) || attempt === publishAttempts) throw error;
      // Another definition of the view publishes too; what that has left undone is done after it.
      if (code === "FENCED") await pause(fencedPauseMs * attempt);
      else if (code !== "LEDGER_CONFLICT") whole = true;
      if (code !== "STORE_LOST") continue;
      await restoreView(stores, committedViews, view);
      isRestored = true;
    }
}

/** The same, and whether the ledger was put back: then nothing is published any more. */
type Attempt = PublishRequest & { readonly isRestored: boolean };

/** What a publish finds, and what it is to make of it. */
interface Found {
  readonly committed: CommittedView;
  readonly history: PublishHistory;
  readonly published: Published | null;
  readonly namespace: Namespace | null;
  readonly latest: string | null;
  readonly target: PublishTarget | undefined;
  readonly missing: PublishResult["missing"];
}

async function publishOnce(
  stores: Stores,
  committedViews: CommittedViews,
  view: View,
  request: Attempt,
  assertWanted: () => void,
): Promise<PublishResult> {
  const { redis, offline } = stores;
  await redis.assertNoEviction();
  const found = await find(stores, committedViews, view, request);
  const { target, history, published } = found;
  if (target === undefined) return resultOf(view, found, "nothing", await isDurable(redis));
  const snapshot = await snapshotOf(offline, view, found.committed, target, history.last);
  if (request.backTo !== undefined && snapshot === undefined && view.aggregates.length > 0)
    throw new OnceflowError(
      "REQUEST_INVALID",
      `view "${view.name}" cannot go back to publish ${request.backTo}: its aggregates of then are not those of this build, or are gone. Go back from the build of then, or to another publish.`,
      { view: view.name, generation: request.backTo },
    );
  const isPublished =
    history.last !== undefined &&
    history.begun.length === 0 &&
    published?.generation === history.last.generation &&
    isSameTarget(history.last, target) &&
    (snapshot === undefined || snapshot.id === found.latest);
  if (isPublished && request.whole !== true) {
    const outcome = target.frozen === null ? "current" : "frozen";
    return resultOf(view, found, outcome, await isDurable(redis));
  }
  return write(stores, view, found, target, snapshot, request.whole ?? false, assertWanted);
}

async function find(
  { ledger, offline }: Pick<Stores, "ledger" | "offline">,
  committedViews: CommittedViews,
  view: View,
  request: Attempt,
): Promise<Found> {
  const committed = await committedViews.read(view);
  const history = await readHistory(offline, view);
  const [pointers] = await ledger.readPointers([pointerRequest(view)]);
  const { published = null, namespace = null, latest = null } = pointers ?? {};
  if (!request.isRestored && (published?.generation ?? 0) < (history.last?.generation ?? 0))
    throw new OnceflowError(
      "STORE_LOST",
      `view "${view.name}": Redis has publish ${published?.generation ?? "none"}, and ${history.last?.generation ?? 0} was the last, so it was emptied or restored from an older copy. It is put back from the offline store.`,
      { view: view.name },
    );
  const { target, missing } = await choose(offline, view, committed, history, request);
  return { committed, history, published, namespace, latest: latest?.id ?? null, target, missing };
}

/** What is to be published: by a command an earlier one, or what there is; else what is committed. */
async function choose(
  offline: Stores["offline"],
  view: View,
  committed: CommittedView,
  { last }: PublishHistory,
  { backTo, freeze, resume }: PublishRequest,
): Promise<Pick<Found, "target" | "missing">> {
  const { target, publishable } = targetOf(view, committed);
  const missing = publishable.gap && endsOf(publishable.gap);
  if (backTo !== undefined) {
    const plan = await requirePublish(offline, view, backTo);
    const frozen = freeze ?? `went back to publish ${backTo}`;
    return { target: { ...plan, frozen }, missing };
  }
  if (freeze !== undefined) {
    const kept = last ?? target;
    return { target: kept && { ...kept, frozen: freeze }, missing };
  }
  if (last !== undefined && last.frozen !== null && resume !== true)
    return { target: last, missing };
  return { target, missing };
}

async function write(
  stores: Stores,
  view: View,
  found: Found,
  target: PublishTarget,
  snapshot: TargetSnapshot | undefined,
  isWholeAsked: boolean,
  assertWanted: () => void,
): Promise<PublishResult> {
  const { redis, online, ledger, offline } = stores;
  const { history, published, committed } = found;
  const ref = { view: view.name, fingerprint: view.fingerprint };
  const before =
    isWholeAsked || published === null || found.namespace === null ? undefined : history;
  const change = await changeOf(offline, view, before, target, committed);
  const redisRunId = await readRunId(redis);
  const plan = await begin(stores, view, {
    ...target,
    whole: change.kind === "whole",
    snapshot: snapshot && { id: snapshot.id, aggregates: view.aggregatesFingerprint },
    least: Math.max(history.newest, published?.generation ?? 0) + 1,
  });
  await assertAlone(offline, view, history, plan);
  const mark = { generation: plan.generation, endMs: plan.endMs };
  const namespace = await online.openNamespace(storedTable(view), {
    buckets: chooseBuckets(Math.max(rowsOf(committed, target), view.expectedEntities)),
  });
  const options = { offline, online, view, mark, namespace, assertWanted };
  const sealed = change.kind === "whole" ? null : published;
  const counts = await fill(stores, options, change, sealed).catch(async (error: unknown) => {
    // A table that a later publish has begun anew is no loss.
    await assertNewest(offline, view, plan);
    throw error;
  });
  if (snapshot !== undefined) await offline.writeSnapshot(view.name, snapshot.id, snapshot.body);
  const now: Published = {
    ...mark,
    whole: wholeMark(change, mark, published),
    covered: target.covered,
    frozen: target.frozen,
  };
  await ledger.commitPublish({
    namespace,
    redisRunId,
    published: now,
    snapshot: snapshot && { ...snapshot, aggregatesFingerprint: view.aggregatesFingerprint },
  });
  // Another master of a Cluster may have restarted, which the script cannot see.
  if (!isSameRun(redisRunId, await readRunId(redis)))
    throw new OnceflowError(
      "STORE_RESTARTED",
      `Redis at ${redis.address} restarted while view "${view.name}" was published; it is published again.`,
      { view: view.name },
    );
  const done = { ...plan, publishedAt: new Date().toISOString() };
  await offline.journal.writePublish(ref, plan.generation, storedPlan(done));
  // What it did not write counts as gone already; now it takes no memory any more.
  if (plan.whole && published !== null) await online.clearNamespace(namespace, mark);
  await tidyView(offline, view, committed, done);
  const durable = await isDurable(redis);
  const latest = snapshot?.id ?? found.latest;
  return {
    ...resultOf(view, { ...found, published: now, latest }, "published", durable),
    ...counts,
    whole: plan.whole,
  };
}

/**
 * Writes what a change comes to, and seals it.
 *
 * @param before - what every shard must still have; null where all of it is written anew
 */
async function fill(
  { online }: Stores,
  options: WriteOptions,
  change: Change,
  before: Mark | null,
) {
  const counts = await writeEntities(options, change);
  await online.sealNamespace(options.namespace, options.mark, before);
  return counts;
}

/** Allots the generation, and notes what the publish is made of before it writes anything. */
async function begin(
  { ledger, offline }: Pick<Stores, "ledger" | "offline">,
  view: View,
  {
    least,
    snapshot,
    ...target
  }: PublishTarget &
    Pick<PublishPlan, "whole"> & {
      readonly least: number;
      readonly snapshot: PublishPlan["snapshot"] | undefined;
    },
): Promise<PublishPlan> {
  const { name, fingerprint } = view;
  const { endMs, covered, intervals, frozen, whole } = target;
  for (let from = least; ; from++) {
    const generation = await ledger.beginPublish(name, fingerprint, from);
    const plan: PublishPlan = {
      generation,
      endMs,
      covered,
      intervals,
      frozen,
      whole,
      snapshot: snapshot ?? null,
      publishedAt: null,
    };
    const ref = { view: name, fingerprint };
    if (await offline.journal.beginPublish(ref, generation, storedPlan(plan))) return plan;
  }
}

/**
 * Refuses to write beside a publish that began meanwhile. Each notes its plan before it looks, so of
 * two at once the later sees the plan of the earlier, or the earlier that of the later.
 *
 * @param history - what the change was made of
 * @throws FENCED where a later one has begun, LEDGER_CONFLICT where the history lacks an earlier one
 */
async function assertAlone(
  offline: Stores["offline"],
  view: View,
  history: PublishHistory,
  { generation }: PublishPlan,
): Promise<void> {
  const newer = await assertNewest(offline, view, { generation });
  if (newer.every((each) => each <= history.newest || each === generation)) return;
  throw new OnceflowError(
    "LEDGER_CONFLICT",
    `view "${view.name}", publish ${generation}: another publish has begun at the same time; what it may write is to be counted in.`,
    { view: view.name, generation },
  );
}

/** The generations of all publishes. @throws FENCED where a later one has begun */
async function assertNewest(
  { journal }: Stores["offline"],
  { name, fingerprint }: View,
  { generation }: Pick<PublishPlan, "generation">,
): Promise<number[]> {
  const known = await journal.listPublishes({ view: name, fingerprint });
  const newest = known.at(-1) ?? 0;
  if (newest <= generation) return known;
  throw new OnceflowError(
    "FENCED",
    `view "${name}", publish ${generation}: the later publish ${newest} has begun. Leave the view to it.`,
    { view: name, fingerprint, generation, newest },
  );
}

function wholeMark({ kind }: Change, mark: Mark, published: Published | null): Mark {
  return kind === "whole" || published === null ? mark : published.whole;
}

function rowsOf({ coverage }: CommittedView, { intervals }: PublishTarget): number {
  return Object.keys(intervals).reduce((sum, each) => sum + (coverage.get(each)?.rows ?? 0), 0);
}

function resultOf(
  view: View,
  { published, latest, missing, committed }: Found,
  outcome: PublishResult["outcome"],
  durable: boolean,
): PublishResult {
  return {
    view: view.name,
    outcome,
    generation: published?.generation ?? null,
    end: published === null ? null : new Date(published.endMs).toISOString(),
    covered: published?.covered ?? true,
    whole: false,
    written: 0,
    withdrawn: 0,
    snapshot: latest,
    frozen: published?.frozen ?? null,
    missing,
    durable,
    revision: countOfRevision(committed.revision),
  };
}
