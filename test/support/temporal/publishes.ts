/** The publishes of a view, as the offline store keeps them. */
import type { View } from "../../../engine/catalogue.ts";
import type { PublishPlan } from "../../../filling/publish/plan.ts";
import type { Settings } from "../../../settings.ts";
import { createOfflineStore } from "../../../store/offline/offline-store.ts";

/** Reads them, the oldest first, whether they have ended or not. */
export async function readPublishes(
  { offlineDir }: Pick<Settings, "offlineDir">,
  { name, fingerprint }: View,
): Promise<PublishPlan[]> {
  const { journal } = createOfflineStore({ root: offlineDir });
  const ref = { view: name, fingerprint };
  const generations = await journal.listPublishes(ref);
  const plans = await Promise.all(
    generations.map((generation) => journal.readPublish<PublishPlan>(ref, generation)),
  );
  return plans.filter((plan) => plan !== undefined);
}
