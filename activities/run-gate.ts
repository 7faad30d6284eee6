/**
 * The gate: whether the run of an interval may begin, since what is upstream is committed and what
 * it waits for is there.
 */
import type { View } from "../engine/catalogue.ts";
import { OnceflowError } from "../engine/errors.ts";
import type { Outcome } from "../engine/calendar/grid.ts";
import { type Interval, interval as intervalOf } from "../engine/calendar/interval.ts";
import { readUpstream, type Upstream, upstreamKeys } from "../status/read-grid.ts";
import type { ReadyRequest, Waiting } from "../workflows/contract.ts";
import type { OfflineDependencies } from "./dependencies.ts";
import { inputOf, runUnderWay } from "./interval-runs.ts";

/** A run may begin, and what it then rests on of upstream views, by view. */
export interface MayBegin {
  readonly due: "ready";
  readonly upstream: Readonly<Record<string, string>>;
}

/**
 * What keeps a run from beginning; or the tokens of what it rests on.
 *
 * @throws UPSTREAM_FAILED where something upstream ended without a commit
 */
export async function checkReadiness(
  { catalogue, ledger }: Pick<OfflineDependencies, "catalogue" | "ledger">,
  view: View,
  request: ReadyRequest,
): Promise<Waiting | MayBegin> {
  const { schedule } = view;
  if (schedule === undefined) return { due: "ready", upstream: {} };
  const own = intervalOf(request.start, request.end);
  const upstream = await readUpstream(ledger, catalogue, schedule);
  const waiting: string[] = [];
  for (const first of upstream) waiting.push(...(await missingOf(first, view, own)));
  if (waiting.length > 0) return { due: "waiting", upstream: shorten(waiting), sensors: [] };
  if (!request.sensed && schedule.waitFor.length > 0)
    return {
      due: "waiting",
      upstream: [],
      sensors: schedule.waitFor.map(({ name, timeoutMs }, index) => ({ index, name, timeoutMs })),
    };
  return { due: "ready", upstream: upstreamKeys(upstream, own) };
}

/** Upstream intervals that are still to be committed, in words. */
async function missingOf(first: Upstream, view: View, own: Interval): Promise<string[]> {
  const missing = first.missing(own);
  const outcomes = missing.length === 0 ? new Map<string, Outcome>() : await first.outcomes();
  const names: string[] = [];
  for (const each of missing) {
    const outcome = outcomes.get(each.key);
    const name = `${first.view.name} [${each.start}, ${each.end})`;
    if (outcome !== undefined && outcome.outcome !== "committed") {
      const run = await runUnderWay(inputOf(first.view, each));
      // The run that ended so tells of it before it closes.
      if (run === null || run === outcome.runId)
        throw new OnceflowError(
          "UPSTREAM_FAILED",
          `${name} comes first and ${endedWords[outcome.outcome]}: ${outcome.reason ?? "no reason is known."} Mend and run it; this run then starts by itself.`,
          { view: view.name, upstream: first.view.name, interval: each.key },
        );
    }
    names.push(name);
  }
  return names;
}

/** A few words stay few, however long the list. */
function shorten(list: readonly string[]): string[] {
  const most = 10;
  return list.length <= most
    ? [...list]
    : [...list.slice(0, most), `${list.length - most} more intervals`];
}

const endedWords = {
  failed: "failed",
  cancelled: "was cancelled",
  blocked: "is blocked",
} as const;
