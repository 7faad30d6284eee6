/** The limit of a backfill: empty child workflows with as many empty activities each. */
import { executeChild, proxyActivities, workflowInfo } from "@temporalio/workflow";

const { nothing } = proxyActivities<{ nothing: () => Promise<void> }>({
  startToCloseTimeout: "1 minute",
});

/** One child: `activities` empty activities, one after the other. */
export async function emptyChild(activities: number): Promise<void> {
  for (let i = 0; i < activities; i++) await nothing();
}

/** `children` of them, `atOnce` at once. */
export async function emptyChildren(
  children: number,
  atOnce: number,
  activities: number,
): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < children) {
      const workflowId = `${workflowInfo().workflowId}/${next++}`;
      await executeChild(emptyChild, { workflowId, args: [activities] });
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
}
