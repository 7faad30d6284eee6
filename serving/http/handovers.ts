/**
 * Connections on their way from the first process to another. The first keeps its own copy of each
 * until the other says that it has it; one that is killed before says so never, and Node would keep
 * the copy, and the client wait, for good.
 */
import type { Worker } from "node:cluster";

/** The copy that the first process has of a connection. */
interface Handle {
  readonly close: () => void;
}

/** What Node's cluster sends with a connection, and what it is answered, by the same number. */
interface ClusterMessage {
  readonly cmd: "NODE_CLUSTER";
  readonly act?: string;
  readonly seq?: number;
  readonly ack?: number;
}

/** Closes what a process was being handed, as soon as it is gone. */
export function closeUntaken({ process: other }: Worker): void {
  const untaken = new Map<number, Handle>();
  const send = other.send.bind(other) as (...sent: unknown[]) => boolean;
  other.send = (...sent: unknown[]) => {
    const [message, handle] = sent;
    if (isOfCluster(message) && message.act === "newconn" && message.seq !== undefined)
      if (isHandle(handle)) untaken.set(message.seq, handle);
    return send(...sent);
  };
  other.on("internalMessage", (message: unknown) => {
    if (isOfCluster(message) && message.ack !== undefined) untaken.delete(message.ack);
  });
  other.once("exit", () => {
    // An answer that is still on its way must not give one that is closed to another process.
    if (other.connected) other.disconnect();
    for (const handle of untaken.values()) handle.close();
    untaken.clear();
  });
}

function isOfCluster(message: unknown): message is ClusterMessage {
  return (message as { readonly cmd?: unknown } | null)?.cmd === "NODE_CLUSTER";
}

function isHandle(handle: unknown): handle is Handle {
  return typeof (handle as { readonly close?: unknown } | null)?.close === "function";
}
