/** Waits for a condition, without sleeping longer than it takes. */
import { setTimeout as pause } from "node:timers/promises";

/** Asks every 25 ms until the answer is true; rejects after the limit, naming the condition. */
export async function until(
  condition: string,
  holds: () => boolean | Promise<boolean>,
  limitMs = 60_000,
): Promise<void> {
  const endMs = Date.now() + limitMs;
  while (!(await holds())) {
    if (Date.now() > endMs) throw new Error(`waited ${limitMs} ms in vain: ${condition}`);
    await pause(25);
  }
}
