/** Work on many items, a bounded number at once. */
import { CancellationScope } from "@temporalio/workflow";

/**
 * Runs work on each item; the results keep the order of the items. At the first failure no more
 * items are begun, what is under way is cancelled and waited for, and then the failure is thrown.
 */
export async function mapConcurrently<T, R>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const failures: unknown[] = [];
  const queue = items.entries();
  await CancellationScope.cancellable(async () => {
    const scope = CancellationScope.current();
    const lane = async (): Promise<void> => {
      // The lanes share one iterator, so each item is taken once.
      for (const [place, item] of queue) {
        if (failures.length > 0) return;
        try {
          results[place] = await work(item);
        } catch (error) {
          failures.push(error);
          scope.cancel();
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, lane));
  });
  if (failures.length > 0) throw failures[0];
  return results;
}
