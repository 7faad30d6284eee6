/** `apply --fill`: runs what the definitions of this build lack; status/filled.ts says what that is. */
import { termsOf } from "../filling/run-terms.ts";
import type { Unfilled } from "../status/filled.ts";
import type { Run, Runs } from "./temporal.ts";

/** Starts the runs that fill a view; each is joined where it is under way. */
export async function startFill(
  runs: Runs,
  { view, ranges, outdated, unpublished }: Unfilled,
): Promise<Run<unknown>[]> {
  const definitions = {
    view: view.name,
    fingerprint: view.fingerprint,
    definition: view.definition,
  };
  const { workflow, ...how } = termsOf(view.schedule);
  const started: Run<unknown>[] = [];
  for (const { start, end } of ranges)
    started.push(
      view.schedule === undefined
        ? await runs.startMaterialize(
            { ...definitions, ...how, start, end, reprocess: outdated > 0 },
            workflow,
          )
        : await runs.startBackfill({
            ...definitions,
            from: start,
            to: end,
            reprocess: outdated > 0 ? "all" : "failed",
          }),
    );
  if (ranges.length === 0 && unpublished)
    started.push(
      await runs.startPublish({
        view: view.name,
        fingerprint: view.fingerprint,
        definition: view.definition,
      }),
    );
  return started;
}
