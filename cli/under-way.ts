/** Runs that are under way now, for commands that otherwise ask Redis alone. */
import { connect } from "node:net";
import type { View } from "../engine/catalogue.ts";
import type { Settings } from "../settings.ts";
import { openRuns } from "./context.ts";
import type { RunLine } from "../status/under-way.ts";
import { listRuns } from "./commands/runs.ts";

/** At most these many are asked for. */
const limit = "1000";
const probeMs = 1_000;

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
