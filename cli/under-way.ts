/** Runs that are under way now, for commands that otherwise ask Redis alone. */
import { connect } from "node:net";
import type { View } from "../engine/catalogue.ts";
import { reasonOf } from "../engine/errors.ts";
import type { Settings } from "../settings.ts";
import { openRuns } from "./context.ts";
import type { RunLine } from "../status/under-way.ts";
import type { Workers } from "./workers.ts";
import { listRuns } from "./commands/runs.ts";

/** At most these many are asked for. */
const limit = "1000";
const probeMs = 1_000;

/** What Temporal tells beside the stores. */
export interface Underway {
  /** The runs of intervals under way; null where they are not known. */
  readonly runs: readonly RunLine[] | null;
  /** Why they are not, in words. */
  readonly unknown: string | null;
  /** Who takes runs; null where that is not known. */
  readonly workers: Workers | null;
}

/** The runs of intervals under way, of a view or of all, and who takes runs. */
export async function underWay(settings: Settings, view: View | undefined): Promise<Underway> {
  // A client would try again for ten seconds.
  if (!(await isOpen(settings.temporalAddress)))
    return { runs: null, unknown: "Temporal does not answer", workers: null };
  const { readWorkers } = await import("./workers.ts");
  const { client, attempt } = await openRuns(settings);
  try {
    const [runs, workers] = await Promise.all([
      attempt(() =>
        listRuns(client, settings.queue, view?.name, {
          kind: "materialize",
          status: "running",
          limit,
        }),
      ),
      readWorkers(client, settings),
    ]);
    return { runs, unknown: null, workers };
  } catch (error) {
    return { runs: null, unknown: reasonOf(error), workers: null };
  }
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
