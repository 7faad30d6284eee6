/** Places that runs hold while they work: how a run takes one, and `pool`, which hands them out. */
import {
  CancellationScope,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  getExternalWorkflowHandle,
  setCurrentDetails,
  setHandler,
  setWorkflowOptions,
  workflowInfo,
} from "@temporalio/workflow";
import { activities } from "./activities.ts";
import {
  idsOf,
  type PoolInput,
  type PoolMember,
  poolMessages,
  type PoolState,
} from "./contract.ts";
import type { IntervalRun } from "./interval-run.ts";

/** How often a full pool looks for holders that ended without a word, as a terminated run does. */
const lookAfterMs = 15_000;

/** Does the work while the run holds a place in each of its pools. */
export async function inPools<T>(run: IntervalRun, work: () => Promise<T>): Promise<T> {
  const { pools = [] } = run.input;
  if (pools.length === 0) return work();
  const granted = new Set<string>();
  setHandler(defineSignal<[string]>(poolMessages.granted), (name) => {
    granted.add(name);
  });
  try {
    // One after the other, in the same order everywhere: no two runs wait for each other.
    for (const pool of pools) {
      run.show(`Waiting for a slot of pool \`${pool.name}\`.`);
      await activities.enterPool.executeWithOptions({ summary: `a slot of ${pool.name}` }, [pool]);
      await condition(() => granted.has(pool.name));
    }
    return await work();
  } finally {
    const { taskQueue, workflowId, runId } = workflowInfo();
    const member: PoolMember = { workflowId, runId };
    await CancellationScope.nonCancellable(() =>
      Promise.allSettled(
        pools.map(({ name }) =>
          getExternalWorkflowHandle(idsOf(taskQueue).pool(name)).signal(
            poolMessages.release,
            member,
          ),
        ),
      ),
    );
  }
}

// Runs of every build share a pool, so it moves on with the newest; all others stay with theirs.
// The server refuses the word where workers have no build.
setWorkflowOptions(() => (hasBuild() ? { versioningBehavior: "AUTO_UPGRADE" as const } : {}), pool);

function hasBuild(): boolean {
  return (workflowInfo().currentDeploymentVersion?.deploymentName ?? "") !== "";
}

/**
 * Hands out the places of a pool, first come first served, and ends once nobody wants one. A holder
 * that ended without giving its place back loses it.
 */
export async function pool(input: PoolInput): Promise<void> {
  let places = input.carried?.slots ?? input.slots;
  let { holding, waiting } = input.carried ?? { holding: [], waiting: [] };
  const state = (): PoolState => ({ slots: places, holding, waiting });
  const isSame = (one: PoolMember) => (other: PoolMember) =>
    one.workflowId === other.workflowId && one.runId === other.runId;
  setHandler(defineSignal<[PoolMember, number]>(poolMessages.acquire), (member, wanted) => {
    places = wanted;
    if (![...holding, ...waiting].some(isSame(member))) waiting = [...waiting, member];
  });
  setHandler(defineSignal<[PoolMember]>(poolMessages.release), (member) => {
    holding = holding.filter((each) => !isSame(member)(each));
    waiting = waiting.filter((each) => !isSame(member)(each));
  });
  setHandler(defineQuery<PoolState>(poolMessages.state), state);

  // It is started with a signal, which may come a breath later than this.
  await condition(() => holding.length + waiting.length > 0);
  const isFree = () => waiting.length > 0 && holding.length < places;
  for (;;) {
    setCurrentDetails(
      `Pool **${input.name}**: ${holding.length} of ${places} slots are held, ${waiting.length} wait.`,
    );
    const [next] = waiting;
    if (next !== undefined && isFree()) {
      waiting = waiting.slice(1);
      holding = [...holding, next];
      await getExternalWorkflowHandle(next.workflowId, next.runId)
        .signal(poolMessages.granted, input.name)
        // It has ended.
        .catch(() => {
          holding = holding.filter((each) => !isSame(next)(each));
        });
      continue;
    }
    if (holding.length + waiting.length === 0) return;
    if (workflowInfo().continueAsNewSuggested)
      return continueAsNew<typeof pool>({ ...input, carried: state() });
    const changed = await condition(
      () => isFree() || holding.length + waiting.length === 0,
      lookAfterMs,
    );
    if (changed || waiting.length === 0) continue;
    const ended = await activities.endedRuns.executeWithOptions(
      { summary: "holders that have ended" },
      [holding],
    );
    for (const each of ended) holding = holding.filter((other) => !isSame(each)(other));
  }
}
