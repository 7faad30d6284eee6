/** Removes what no publish needs any more of the offline store. */
import type { View } from "../../engine/catalogue.ts";
import { parseInterval } from "../../engine/calendar/interval.ts";
import type { OfflineStore } from "../../store/offline/offline-store.ts";
import type { CommittedView } from "../committed-views.ts";
import { partitionRef } from "./partitions.ts";
import { type PublishPlan, readPlan } from "./plan.ts";

/** How long replaced generations and the plans of publishes are kept, to go back to. */
const keptMs = 35 * 86_400_000;
/** Plans that are kept whatever their age. */
const keptPlans = 3;

/**
 * Removes publishes that are older than 35 days, and with them the generations that were replaced
 * since; the newest three stay, and so does what is published, or named by one that stays.
 */
export async function tidyView(
  offline: OfflineStore,
  view: View,
  { coverage }: Pick<CommittedView, "coverage">,
  published: PublishPlan,
): Promise<void> {
  const { journal } = offline;
  const ref = { view: view.name, fingerprint: view.fingerprint };
  const all = (await journal.listPublishes(ref)).filter((each) => each <= published.generation);
  const read = (generation: number) => readPlan(offline, view, generation);
  let outdated = 0;
  for (const [i, generation] of all.slice(0, -keptPlans).entries()) {
    const { publishedAt = null } = (await read(generation)) ?? {};
    // One that never ended says nothing of when; what came after it does.
    if (publishedAt === null) continue;
    if (Date.now() - Date.parse(publishedAt) < keptMs) break;
    outdated = i + 1;
  }
  const oldestKept = await read(all[outdated] ?? published.generation);
  for (const generation of all.slice(0, outdated)) {
    const intervals = Object.entries((await read(generation))?.intervals ?? {});
    // Of a full refresh, what the next one does not name has been replaced by it.
    const next = (text: string) =>
      oldestKept?.intervals[text] ?? (view.rows.isFullRefresh ? Infinity : 0);
    // The next one went back before it: one after that may be of the same.
    if (intervals.some(([text, each]) => next(text) < each)) continue;
    for (const [text, each] of intervals) {
      const isReplaced = each < next(text) && each < (coverage.get(text)?.generation ?? 0);
      if (!isReplaced || published.intervals[text] === each) continue;
      await offline.removePartition(partitionRef(view, parseInterval(text), each));
    }
    await journal.removePublish(ref, generation);
  }
}
