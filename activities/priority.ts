/** The place of offline work among what shares its cores. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { constants, setPriority } from "node:os";

const priority = constants.priority.PRIORITY_BELOW_NORMAL;
const threadsFolder = "/proc/self/task";

/**
 * Lets all else on the machine go first, such as answers to requests and the Redis that they need;
 * where nothing else wants the cores, it costs nothing. To be called before polars is loaded: the
 * threads to come inherit it.
 */
export function yieldToOthers(): void {
  // On Linux it is said of each thread, elsewhere of the process.
  const threads = existsSync(threadsFolder) ? readdirSync(threadsFolder).map(Number) : [0];
  for (const thread of threads)
    try {
      setPriority(thread, priority);
    } catch {
      // A thread that has ended, or a system that does not let us: all works without.
    }
  yieldToSessions();
}

/** Linux may weigh sessions first, and processes only within each: then ours must yield as a whole. */
function yieldToSessions(): void {
  try {
    const [, , , session] = readFileSync("/proc/self/stat", "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    // One that others are in, as that of a terminal, is not ours to lower.
    if (Number(session) === process.pid) writeFileSync("/proc/self/autogroup", String(priority));
  } catch {
    // Not this Linux, or not allowed.
  }
}
