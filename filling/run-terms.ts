/** How the intervals of a view are run, for all who start one. */
import type { Schedule } from "../engine/calendar/schedule.ts";
import type { RunTerms } from "../workflows/contract.ts";

/** The terms of a schedule; a view without one has those of a bare materialization. */
export function termsOf(schedule: Schedule | undefined): RunTerms {
  if (schedule === undefined) return { workflow: "materialize" };
  const { workflow, retry, pools, onFailure } = schedule;
  return {
    workflow,
    ...(onFailure.length === 0 ? {} : { onFailure }),
    ...(retry === null ? {} : { retry }),
    ...(pools.length === 0 ? {} : { pools }),
  };
}
