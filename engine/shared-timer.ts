/** Deadlines of many things that have equally long, by one timer: one for each costs more. */

/** What is under way and must end in time. */
export interface Deadlines<T> {
  /** From now on the time of this runs; each thing once. */
  readonly watch: (thing: T) => void;
  /** It has ended. */
  readonly forget: (thing: T) => void;
}

/**
 * Makes a watch over things that each have `limitMs`; its timer keeps no process alive.
 *
 * @param expire - is called once for each that was not forgotten by then
 */
export function createDeadlines<T>(limitMs: number, expire: (thing: T) => void): Deadlines<T> {
  /** When each is due, by `performance.now()`: in the order in which they were begun. */
  const dueMs = new Map<T, number>();
  let timer: NodeJS.Timeout | undefined;

  function wait(ms: number): void {
    timer = setTimeout(check, Math.ceil(ms));
    timer.unref();
  }

  function check(): void {
    timer = undefined;
    const nowMs = performance.now();
    for (const [thing, due] of dueMs) {
      if (due > nowMs) return wait(due - nowMs);
      dueMs.delete(thing);
      expire(thing);
    }
  }

  return {
    watch(thing) {
      dueMs.set(thing, performance.now() + limitMs);
      if (timer === undefined) wait(limitMs);
    },
    forget: (thing) => void dueMs.delete(thing),
  };
}
