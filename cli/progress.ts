/** Tells a person at a terminal, or a log, what is going on and for how long. */

/** Where progress is written; `process.stderr` fits. */
export interface ProgressStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** Replaces the detail that a running step shows after its title. */
export type Detail = (text: string) => void;

/** Lines and steps on one stream. */
export interface Progress {
  /** Writes one line. */
  say(line: string): void;
  /**
   * Shows `title` with the elapsed time while `work` runs, and one closing line after it: what
   * `done` makes of the result, or the title.
   */
  step<T>(
    title: string,
    work: (detail: Detail) => Promise<T>,
    done?: (result: T) => string,
  ): Promise<T>;
}

interface Step {
  readonly title: string;
  readonly startedAtMs: number;
  detail: string;
  isTitled: boolean;
}

const frames = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const redrawMs = 100;
const plainEveryMs = 5_000;
/** A step that ends sooner writes its closing line alone. */
const quietMs = 300;

/**
 * Opens progress on a stream: on a terminal one line with a spinner, redrawn in place; elsewhere a
 * plain line at the start of a step, every five seconds, and at its end.
 */
export function openProgress(stream: ProgressStream = process.stderr): Progress {
  const running: Step[] = [];
  const isTerminal = stream.isTTY === true;
  let frame = 0;
  let redraw: NodeJS.Timeout | undefined;

  const erase = () => {
    if (isTerminal && redraw !== undefined) stream.write("\r\x1b[2K");
  };
  const draw = () => {
    const step = running.at(-1);
    if (step === undefined || Date.now() - step.startedAtMs < quietMs) return;
    const spinner = frames[frame++ % frames.length] ?? "";
    // With a detail the line would be too long for a title, which then has a line of its own.
    if (step.detail !== "" && !step.isTitled) {
      step.isTitled = true;
      say(`… ${step.title}`);
    }
    const elapsed = formatElapsed(Date.now() - step.startedAtMs);
    const line = step.isTitled
      ? `${spinner} ${elapsed.padEnd(8)} ${step.detail}`
      : `${spinner} ${describe(step)}`;
    stream.write(`\r\x1b[2K${line.slice(0, (stream.columns ?? 80) - 1)}`);
  };
  const say = (line: string) => {
    erase();
    stream.write(`${line}\n`);
  };

  return {
    say,
    async step(title, work, done) {
      const step: Step = { title, startedAtMs: Date.now(), detail: "", isTitled: false };
      running.push(step);
      if (isTerminal) redraw ??= setInterval(draw, redrawMs);
      const plain = isTerminal ? undefined : tellPlainly(step, say);
      let closing = "";
      try {
        const result = await work((text) => (step.detail = text));
        closing = `✓ ${done?.(result) ?? title}${elapsedAfter(step)}`;
        return result;
      } catch (error) {
        closing = `✗ ${title}${elapsedAfter(step)}`;
        throw error;
      } finally {
        plain?.stop();
        running.splice(running.indexOf(step), 1);
        say(closing);
        if (running.length === 0) {
          clearInterval(redraw);
          redraw = undefined;
        }
      }
    },
  };
}

/** Progress that writes nothing. */
export const silentProgress: Progress = openProgress({ write: () => true });

/** A duration for people: `3.2 s`, `1 min 05 s`. */
export function formatElapsed(elapsedMs: number): string {
  if (elapsedMs < 10_000) return `${(elapsedMs / 1000).toFixed(1)} s`;
  const seconds = Math.round(elapsedMs / 1000);
  if (seconds < 60) return `${seconds} s`;
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, "0")} s`;
}

function tellPlainly(step: Step, say: (line: string) => void): { stop(): void } {
  let every: NodeJS.Timeout | undefined;
  const first = setTimeout(() => {
    say(`… ${step.title}`);
    every = setInterval(() => say(`… ${describe(step)}`), plainEveryMs);
  }, quietMs);
  return {
    stop() {
      clearTimeout(first);
      clearInterval(every);
    },
  };
}

function describe(step: Step): string {
  const elapsed = formatElapsed(Date.now() - step.startedAtMs);
  return `${step.title} (${elapsed})${step.detail === "" ? "" : `: ${step.detail}`}`;
}

function elapsedAfter(step: Step): string {
  const elapsedMs = Date.now() - step.startedAtMs;
  return elapsedMs < 1000 ? "" : ` (${formatElapsed(elapsedMs)})`;
}
