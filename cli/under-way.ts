/** Runs that are under way now, for commands that otherwise ask Redis alone. */
import { connect } from "node:net";
import type { View } from "../engine/catalogue.ts";
import type { Outcome } from "../engine/grid.ts";
import type { Settings } from "../settings.ts";
import { openRuns } from "./context.ts";
import { listRuns, type RunLine } from "./runs.ts";

/** At most these many are asked for. */
const limit = "1000";
const probeMs = 1_000;
/** For how long Temporal may list a run as under way after its end. */
const listLagMs = 10_000;

/** The runs of intervals under way, of a view or of all; null where Temporal does not answer. */
export async function underWay(
  settings: Settings,
  view: View | undefined,
): Promise<readonly RunLine[] | null> {
  // A client would try again for ten seconds.
  if (!(await isOpen(settings.temporalAddress))) return null;
  const { client } = await openRuns(settings);
  return listRuns(client, settings.queue, view?.name, {
    kind: "materialize",
    status: "running",
    limit,
  }).catch(() => null);
}

/**
 * Leaves out runs that the ledger says ended a moment ago, which Temporal may still list. What it
 * recorded earlier was not the end: a pipeline goes on with its steps after the commit, and a run
 * that was blocked may have gone on.
 *
 * @param nowMs - when the runs were listed
 */
export function withoutEnded(
  runs: readonly RunLine[],
  ended: readonly Pick<Outcome, "runId" | "finishedAtMs">[],
  nowMs: number,
): RunLine[] {
  const just = ended.filter(({ finishedAtMs }) => nowMs - finishedAtMs <= listLagMs);
  const ids = new Set(just.map(({ runId }) => runId));
  return runs.filter(({ run_id }) => !ids.has(run_id));
}

function isOpen(address: string): Promise<boolean> {
  const [, host = "", port = ""] = /^(.*):(\d+)$/.exec(address) ?? [];
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port), timeout: probeMs });
    const end = (open: boolean) => {
      socket.destroy();
      resolve(open);
    };
    socket.once("connect", () => end(true));
    socket.once("timeout", () => end(false));
    socket.once("error", () => end(false));
  });
}
