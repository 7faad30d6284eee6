/** The activities of the offline queue: a factory over injected dependencies. */
import { withFailures } from "./failure.ts";
import { createMaterialization, type OfflineDependencies } from "./materialization.ts";
import { withHeartbeats } from "./run-context.ts";
import { createScheduling } from "./scheduling.ts";
import { createTrainingSets } from "./training-set.ts";

/** All I/O that the workflows of the offline queue may ask for. */
export function createOfflineActivities(dependencies: OfflineDependencies) {
  return withFailures(
    withHeartbeats({
      ...createMaterialization(dependencies),
      ...createScheduling(dependencies),
      ...createTrainingSets(dependencies),
    }),
  );
}
