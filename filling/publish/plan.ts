/** What a publish is made of: settled when it begins, and kept in the offline store. */
import type { View } from "../../engine/catalogue.ts";
import { type Publishable, publishableOf } from "../../engine/calendar/publishable.ts";
import { formatInterval, parseInterval } from "../../engine/calendar/interval.ts";
import { OnceflowError } from "../../engine/errors.ts";
import type { OfflineFolders } from "../../store/offline/offline-folders.ts";
import type { CommittedView } from "../committed-views.ts";
import { fromStretches, type Generations, type Stretch, toStretches } from "./generations.ts";

/** What a publish makes of a view: these generations of these intervals, up to this end. */
export interface PublishTarget {
  readonly endMs: number;
  readonly covered: boolean;
  readonly intervals: Generations;
  /** Why nothing but a command moves it afterwards; null where runs do. */
  readonly frozen: string | null;
}

/** A publish, as the offline store keeps it. */
export interface PublishPlan extends PublishTarget {
  readonly generation: number;
  /** Whether it wrote every entity anew, so that what is of an older one has gone. */
  readonly whole: boolean;
  /** Id of the snapshot that went with it, and the set of aggregates that it is of. */
  readonly snapshot: { readonly id: string; readonly aggregates: string } | null;
  /** ISO 8601; null until the pointers have moved. */
  readonly publishedAt: string | null;
}

/** A plan as JSON. */
type StoredPlan = Omit<PublishPlan, "intervals"> & { readonly intervals: readonly Stretch[] };

/** A plan as the journal keeps it. */
export function storedPlan(plan: PublishPlan): StoredPlan {
  return { ...plan, intervals: toStretches(plan.intervals) };
}

/** The plan of a publish; undefined where there is none. */
export async function readPlan(
  { journal }: Pick<OfflineFolders, "journal">,
  view: View,
  generation: number,
): Promise<PublishPlan | undefined> {
  const ref = { view: view.name, fingerprint: view.fingerprint };
  const stored = await journal.readPublish<StoredPlan>(ref, generation);
  return stored && { ...stored, intervals: fromStretches(stored.intervals) };
}

/** The plans that count: of the last publish that ended, and of those that began after it. */
export interface PublishHistory {
  readonly last: PublishPlan | undefined;
  readonly begun: readonly PublishPlan[];
  /** The greatest generation that is known, 0 where none is. */
  readonly newest: number;
}

/** Reads the plans, from the newest back. */
export async function readHistory(
  offline: Pick<OfflineFolders, "journal">,
  view: View,
): Promise<PublishHistory> {
  const ref = { view: view.name, fingerprint: view.fingerprint };
  const generations = await offline.journal.listPublishes(ref);
  const begun: PublishPlan[] = [];
  for (const generation of [...generations].reverse()) {
    const plan = await readPlan(offline, view, generation);
    if (plan === undefined) continue;
    if (plan.publishedAt !== null) return { last: plan, begun, newest: generations.at(-1) ?? 0 };
    begun.push(plan);
  }
  return { last: undefined, begun, newest: generations.at(-1) ?? 0 };
}

/** What is committed of a view, as far as it may be published; undefined where nothing may. */
export function targetOf(
  view: View,
  { coverage, intervals }: Pick<CommittedView, "coverage" | "intervals">,
): { readonly target: PublishTarget | undefined; readonly publishable: Publishable } {
  const covered = [...intervals].flatMap(([text, each]) => (coverage.has(text) ? [each] : []));
  const publishable = publishableOf(view, covered);
  const { endMs } = publishable;
  if (endMs === null) return { target: undefined, publishable };
  const generations = publishable.intervals.map((each): [string, number] => {
    const text = formatInterval(each);
    return [text, coverage.get(text)?.generation ?? 0];
  });
  const target = {
    endMs,
    covered: publishable.covered,
    intervals: Object.fromEntries(generations),
    frozen: null,
  };
  return { target, publishable };
}

/**
 * The plan of a publish that ended, to go back to.
 *
 * @throws REQUEST_INVALID where there is none
 */
export async function requirePublish(
  offline: Pick<OfflineFolders, "journal">,
  view: View,
  generation: number,
): Promise<PublishPlan> {
  const ref = { view: view.name, fingerprint: view.fingerprint };
  const plan = await readPlan(offline, view, generation);
  if (plan !== undefined && plan.publishedAt !== null) return plan;
  const known = (await offline.journal.listPublishes(ref)).slice(-10).join(", ");
  throw new OnceflowError(
    "REQUEST_INVALID",
    `view "${view.name}" has no publish ${generation} that ended; the newest are ${known || "none"}.`,
    { view: view.name, generation },
  );
}

/** Whether two publishes are of the same generations, up to the same end. */
export function isSameTarget(one: PublishTarget, other: PublishTarget): boolean {
  return (
    one.endMs === other.endMs &&
    one.covered === other.covered &&
    one.frozen === other.frozen &&
    changedIntervals([one], other).length === 0
  );
}

/** Intervals that are of another generation, or absent, in any of some plans; oldest first. */
export function changedIntervals(
  before: readonly Pick<PublishTarget, "intervals">[],
  { intervals }: Pick<PublishTarget, "intervals">,
): string[] {
  const names = new Set(before.flatMap((each) => Object.keys(each.intervals)));
  for (const name of Object.keys(intervals)) names.add(name);
  return [...names]
    .filter((name) => before.some((each) => each.intervals[name] !== intervals[name]))
    .sort((a, b) => parseInterval(a).endMs - parseInterval(b).endMs);
}
