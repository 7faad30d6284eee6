/** Gives up a connection on which Redis says nothing though replies are due. */
import type { Redis } from "ioredis";

/** The limit of silence is counted in so many parts. */
const partsOfSilence = 4;

/**
 * Destroys the stream of a client once replies are due there and no byte has come for that long.
 *
 * After each part of that time the process reads what has arrived, and only then is it counted: of
 * a time in which it was busy, or not run at all, a server is not to blame for more than one part.
 * The client's own time-out gives up a server whose reply has not been read yet.
 */
export function giveUpSilent(client: Redis, limitMs: number): void {
  const { stream } = client;
  let [silentParts, bytesRead] = [0, 0];
  const timer = setInterval(() => setImmediate(count), limitMs / partsOfSilence).unref();

  function count(): void {
    if (stream.destroyed) return clearInterval(timer);
    const isSilent = client.commandQueue.length > 0 && stream.bytesRead === bytesRead;
    silentParts = isSilent ? silentParts + 1 : 0;
    bytesRead = stream.bytesRead;
    // The first part may have begun before the command was sent.
    if (silentParts <= partsOfSilence) return;
    const reason = `Expecting data, but didn't receive any in ${limitMs}ms.`;
    stream.destroy(new Error(`Socket timeout. ${reason}`));
  }
}
