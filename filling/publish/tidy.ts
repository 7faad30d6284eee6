/** Removes what no publish needs any more of the offline store. */
import type { View } from "../../engine/catalogue.ts";
import { parseInterval } from "../../engine/calendar/interval.ts";
import type { OfflineStore } from "../../store/offline/offline-store.ts";
import type { CommittedView } from "../committed-views.ts";
import { partitionRef } from "./partitions.ts";
import type { PublishPlan } from "./plan.ts";

/** How long replaced generations and the plans of publishes are kept, to go back to. */
const keptMs = 35 * 86_400_000;
/** Plans that are kept whatever their age. */
const keptPlans = 3;

/**
 * Removes publishes that are older than 35 days, and with them the generations that were replaced
 * since; the newest three stay, and so does what is published or what the oldest that stays is of.
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
  const read = (generation: number) => journal.readPublish<PublishPlan>(ref, generation);
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
    const plan = await read(generation);
    for (const [text, replaced] of Object.entries(plan?.intervals ?? {})) {
      const isReplaced = replaced < (coverage.get(text)?.generation ?? 0);
      const kept = [oldestKept, published].map((each) => each?.intervals[text]);
      if (!isReplaced || kept.includes(replaced) || kept.includes(undefined)) continue;
      await offline.removePartition(partitionRef(view, parseInterval(text), replaced));
    }
    await journal.removePublish(ref, generation);
  }
}
