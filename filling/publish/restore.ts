/**
 * Makes the ledger and an empty table again from the offline store alone, after Redis was emptied,
 * restored from an older copy, or has lost what it had acknowledged. A whole publish then fills the
 * table.
 */
import type { View } from "../../engine/catalogue.ts";
import { formatInterval, type Interval } from "../../engine/calendar/interval.ts";
import { OnceflowError } from "../../engine/errors.ts";
import { chooseBuckets } from "../../store/namespace.ts";
import { countOfRevision } from "../../store/revision.ts";
import { isLost } from "../../store/offline/objects.ts";
import type { RestoredInterval } from "../../store/commits.ts";
import { coverageOf } from "../commit.ts";
import type { CommittedViews } from "../committed-views.ts";
import { readPassOne } from "../pass-one.ts";
import { readFilledStates, readManifest, type RunManifest, type SliceFacts } from "../run-facts.ts";
import type { Stores } from "../stores.ts";
import { aggregateFingerprints, storedTable } from "../view-states.ts";
import { partitionRef } from "./partitions.ts";
import { readPlan } from "./plan.ts";

/** Puts back what the offline store knows to be committed. Cost: O(intervals + snapshots). */
export async function restoreLedger(
  stores: Pick<Stores, "ledger" | "offline">,
  committedViews: CommittedViews,
  view: View,
): Promise<void> {
  const { ledger, offline } = stores;
  const { name, fingerprint } = view;
  const noted = await offline.journal.readRevision(name);
  const voided = await offline.journal.readVoided({ view: name, fingerprint });
  const intervals = await readCommittedOffline(offline, view);
  const aggregates = aggregateFingerprints(view);
  const least = countOfRevision(noted ?? "0") + 1;
  const revision = await ledger.restoreView(
    name,
    fingerprint,
    aggregates,
    intervals,
    least,
    voided,
  );
  for (const id of await offline.listSnapshots(name)) {
    const body = await offline.readSnapshot(name, id);
    if (body !== undefined) await ledger.restoreSnapshot(name, id, body);
  }
  await restoreLatest(stores, view);
  await offline.journal.noteRevision(name, revision);
  committedViews.forget(view);
}

/** Puts back the ledger, and an empty table under a new epoch, which a whole publish then fills. */
export async function restoreView(
  stores: Pick<Stores, "ledger" | "offline" | "online">,
  committedViews: CommittedViews,
  view: View,
): Promise<void> {
  await restoreLedger(stores, committedViews, view);
  const { coverage } = await committedViews.read(view);
  const rows = [...coverage.values()].reduce((sum, each) => sum + each.rows, 0);
  await stores.online.renewNamespace(storedTable(view), {
    buckets: chooseBuckets(Math.max(rows, view.expectedEntities)),
  });
}

/** Other builds have other sets of aggregates: each gets the snapshot that it had. */
async function restoreLatest(
  { ledger, offline }: Pick<Stores, "ledger" | "offline">,
  view: View,
): Promise<void> {
  const { name, fingerprint } = view;
  const ref = { view: name, fingerprint };
  const restored = new Set<string>();
  for (const generation of (await offline.journal.listPublishes(ref)).reverse()) {
    const plan = await readPlan(offline, view, generation);
    const snapshot = plan?.snapshot ?? null;
    if (plan === undefined || snapshot === null || plan.publishedAt === null) continue;
    if (restored.has(snapshot.aggregates)) continue;
    restored.add(snapshot.aggregates);
    const body = await offline.readSnapshot(name, snapshot.id);
    if (body === undefined) continue;
    const latest = { id: snapshot.id, asOfMs: plan.endMs, body };
    await ledger.restoreLatest(name, snapshot.aggregates, latest);
  }
}

/** The newest committed generation of each interval, but for what a reset has made void. */
export async function readCommittedOffline(
  offline: Stores["offline"],
  view: View,
): Promise<RestoredInterval[]> {
  const ref = { view: view.name, fingerprint: view.fingerprint };
  const voided = await offline.journal.readVoided(ref);
  const found: RestoredInterval[] = [];
  for (const interval of await offline.listIntervals(ref)) {
    const restored = await readInterval(
      offline,
      view,
      interval,
      voided.get(formatInterval(interval)) ?? 0,
    );
    if (restored !== undefined) found.push(restored);
  }
  return found;
}

async function readInterval(
  offline: Stores["offline"],
  view: View,
  interval: Interval,
  voidedGeneration: number,
): Promise<RestoredInterval | undefined> {
  const all = await offline.listGenerations({
    view: view.name,
    fingerprint: view.fingerprint,
    interval,
  });
  const text = formatInterval(interval);
  for (const generation of [...all].reverse()) {
    if (generation <= voidedGeneration) return undefined;
    const manifest = await readManifest(offline, partitionRef(view, interval, generation));
    if (manifest === undefined) continue;
    return {
      interval: text,
      newestGeneration: all.at(-1) ?? generation,
      coverage: { ...(manifest.coverage ?? coverageOf(manifest)), generation },
      states: await statesOf(offline, view, interval, manifest),
    };
  }
  return undefined;
}

/** The states of a committed generation; in older releases, the facts of pass 1 alone have them. */
async function statesOf(
  offline: Stores["offline"],
  view: View,
  interval: Interval,
  manifest: RunManifest,
): Promise<SliceFacts["states"]> {
  const filled = await readFilledStates(offline, partitionRef(view, interval, manifest.generation));
  const own = manifest.states ?? (await statesOfPassOne(offline, view, manifest));
  const states = { ...own, ...filled };
  const known = new Set(aggregateFingerprints(view));
  return Object.fromEntries(Object.entries(states).filter(([each]) => known.has(each)));
}

async function statesOfPassOne(
  offline: Stores["offline"],
  view: View,
  manifest: RunManifest,
): Promise<SliceFacts["states"]> {
  try {
    return (await readPassOne({ offline }, view, manifest)).states;
  } catch (error) {
    if (error instanceof OnceflowError && isLost(error)) return {};
    throw error;
  }
}
