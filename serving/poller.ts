/**
 * Reads something again and again in the background, one read at a time: what is current in the
 * store, the API keys, the public keys of tokens.
 */

/** How a thing is read again and again. */
export interface PollerOptions<T> {
  readonly read: () => Promise<T>;
  /** Milliseconds from the end of a read to the beginning of the next; asked each time. */
  readonly pauseMs: () => number;
  /** Is told why a read failed where the one before had not. */
  readonly onFailing?: (error: unknown) => void;
}

/** What a background reader offers those who cannot wait for its next turn. */
export interface Poller<T> {
  /**
   * What a read answers that began no earlier than this call. While one is under way, all who call
   * share the one that follows it, so that any number of calls costs two reads at most.
   *
   * @throws what `read` throws
   */
  readonly refresh: () => Promise<T>;
  /** What the read answers that is under way, or else a new one. @throws what `read` throws */
  readonly join: () => Promise<T>;
  /** Whether a read is under way. */
  readonly isReading: () => boolean;
  /** Refreshes unless closed, and rejects never: for what brings news, such as a reconnect. */
  readonly soon: () => void;
  /** Ends the turns; a read under way goes on to its end, and nobody is told of its failure. */
  readonly close: () => void;
}

/** Starts to read; the first turn comes after a pause. The timer keeps no process alive. */
export function createPoller<T>({ read, pauseMs, onFailing }: PollerOptions<T>): Poller<T> {
  let running: Promise<T> | undefined;
  let queued: Promise<T> | undefined;
  let isFailing = false;
  let isClosed = false;
  let timer: NodeJS.Timeout;

  async function readOnce(): Promise<T> {
    try {
      const found = await read();
      isFailing = false;
      return found;
    } catch (error) {
      if (!isFailing && !isClosed) onFailing?.(error);
      isFailing = true;
      throw error;
    }
  }

  function start(): Promise<T> {
    queued = undefined;
    running = readOnce().finally(() => (running = undefined));
    return running;
  }

  function refresh(): Promise<T> {
    if (queued !== undefined) return queued;
    return running === undefined ? start() : (queued = running.then(start, start));
  }

  const join = () => running ?? queued ?? start();

  function schedule(): void {
    timer = setTimeout(() => {
      const again = () => {
        if (!isClosed) schedule();
      };
      void join().then(again, again);
    }, pauseMs());
    timer.unref();
  }
  schedule();

  return {
    refresh,
    join,
    soon() {
      if (!isClosed) refresh().catch(() => undefined);
    },
    isReading: () => running !== undefined,
    close() {
      isClosed = true;
      clearTimeout(timer);
    },
  };
}
