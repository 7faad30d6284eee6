/** Waits for a run, and says meanwhile how far it is. */
import { openProgress, silentProgress } from "../dev/progress.ts";
import { type Context, invocation } from "./context.ts";
import { clean } from "./table.ts";
import type { Run } from "./temporal.ts";

/** How a wait ended, and how long it took. */
export type Followed<T> =
  | { readonly outcome: "done"; readonly result: T; readonly seconds: number }
  | { readonly outcome: "interrupted" };

const pollMs = 500;
/** After this long without a word of the run, a worker is probably missing. */
const patienceMs = 4_000;

/**
 * Waits for the end of a run. Ctrl-C ends the wait and leaves the run going; how to follow or
 * cancel it is then written to standard error.
 *
 * @param followUp - the command line, without the program's name, that joins the run; none where
 *   no command can
 * @throws what the run failed with
 */
export async function followRun<T>(
  { terminal }: Context,
  run: Run<T>,
  options: {
    readonly title: string;
    readonly quiet: boolean;
    readonly startedAtMs: number;
    readonly followUp: string | undefined;
  },
): Promise<Followed<T>> {
  const { title, quiet, startedAtMs, followUp } = options;
  const progress = quiet ? silentProgress : openProgress(terminal.err);
  let interrupt = () => {};
  const interrupted = new Promise<Followed<T>>((resolve) => {
    interrupt = () => resolve({ outcome: "interrupted" });
  });
  const release = terminal.onInterrupt(() => interrupt());
  let waits = true;
  try {
    const result = run.result().then((value): Followed<T> => {
      return { outcome: "done", result: value, seconds: (Date.now() - startedAtMs) / 1000 };
    });
    // After Ctrl-C nobody waits for it any more.
    result.catch(() => undefined);
    const followed = await progress.step(
      title,
      (detail) => {
        if (!quiet) void poll(run, detail, () => waits);
        return Promise.race([result, interrupted]);
      },
      ({ outcome }) => (outcome === "done" ? title : `${title}: left running`),
    );
    if (followed.outcome === "interrupted")
      terminal.err.write(
        [
          `The run goes on: ${run.workflowId}`,
          ...(followUp === undefined ? [] : [`  follow it:  ${invocation} ${followUp}`]),
          `  cancel it:  ${invocation} cancel ${run.workflowId}`,
          "",
        ].join("\n"),
      );
    return followed;
  } finally {
    waits = false;
    release();
  }
}

/** Asks the run for its words until nobody waits any more. */
async function poll(
  run: Run<unknown>,
  detail: (text: string) => void,
  waits: () => boolean,
): Promise<void> {
  const since = Date.now();
  // The first answer to a query takes as long as the first worker does.
  const hint = setTimeout(
    () => detail("no worker has answered yet; is one running? (npm run worker)"),
    patienceMs,
  );
  while (waits()) {
    const details = await run.details().catch(() => undefined);
    if (details !== undefined) {
      clearTimeout(hint);
      detail(plainOf(details));
    }
    await new Promise((resolve) => setTimeout(resolve, Date.now() - since < 2_000 ? 100 : pollMs));
  }
  clearTimeout(hint);
}

/** The last words of a run's page as one line: without its heading, tables and Markdown. */
export function plainOf(markdown: string): string {
  const lines = markdown
    .split("\n")
    .map((line) => line.replaceAll(/[*`]/g, "").trim())
    .filter((line) => line !== "" && !line.startsWith("|"));
  return clean((lines.length > 1 ? lines.slice(1) : lines).join(" "));
}
