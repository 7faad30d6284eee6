/** The publishes of a view, as the offline store keeps them. */
import type { View } from "../../../engine/catalogue.ts";
import { type PublishPlan, readPlan } from "../../../filling/publish/plan.ts";
import type { Settings } from "../../../settings.ts";
import { createOfflineStore } from "../../../store/offline/offline-store.ts";

/** Reads them, the oldest first, whether they have ended or not. */
export async function readPublishes(
  { offlineDir }: Pick<Settings, "offlineDir">,
  view: View,
): Promise<PublishPlan[]> {
  const offline = createOfflineStore({ root: offlineDir });
  const { name, fingerprint } = view;
  const generations = await offline.journal.listPublishes({ view: name, fingerprint });
  const plans = await Promise.all(generations.map((each) => readPlan(offline, view, each)));
  return plans.filter((plan) => plan !== undefined);
}
