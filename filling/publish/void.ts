/** Makes what the offline store has of a view void, when the view is reset. */
import type { View } from "../../engine/catalogue.ts";
import { formatInterval } from "../../engine/calendar/interval.ts";
import type { OfflineFolders } from "../../store/offline/offline-folders.ts";

/**
 * From now on no restore brings the committed intervals of a view back, and none of its publishes can
 * be gone back to; the offline rows stay for people. Cost: O(intervals).
 */
export async function makeVoid(offline: OfflineFolders, view: View): Promise<void> {
  const ref = { view: view.name, fingerprint: view.fingerprint };
  const generations = new Map<string, number>();
  for (const interval of await offline.listIntervals(ref)) {
    const newest = (await offline.listGenerations({ ...ref, interval })).at(-1);
    if (newest !== undefined) generations.set(formatInterval(interval), newest);
  }
  if (generations.size > 0) await offline.journal.makeVoid(ref, generations);
  for (const generation of await offline.journal.listPublishes(ref))
    await offline.journal.removePublish(ref, generation);
}
