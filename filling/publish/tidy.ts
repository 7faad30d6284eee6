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
 * since; the newest three stay, and so does what is published.
 */
export async function tidyView(
  offline: OfflineStore,
  view: View,
  { coverage }: Pick<CommittedView, "coverage">,
  published: PublishPlan,
): Promise<void> {
  const { journal } = offline;
  const ref = { view: view.name, fingerprint: view.fingerprint };
  const older = (await journal.listPublishes(ref))
    .filter((generation) => generation < published.generation)
    .slice(0, -(keptPlans - 1));
  for (const generation of older) {
    const plan = await readPlan(offline, view, generation);
    const atMs = Date.parse(plan?.publishedAt ?? published.publishedAt ?? "");
    // One that never ended says nothing of when; what came after it does.
    if (plan?.publishedAt != null && Date.now() - atMs < keptMs) return;
    for (const [text, replaced] of Object.entries(plan?.intervals ?? {})) {
      const committed = coverage.get(text)?.generation ?? 0;
      if (replaced >= committed || replaced === published.intervals[text]) continue;
      await offline.removePartition(partitionRef(view, parseInterval(text), replaced));
    }
    await journal.removePublish(ref, generation);
  }
}
