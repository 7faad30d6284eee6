/** How the activities of one run refer to its view, interval and files. */
import { type Catalogue, type View } from "../engine/catalogue.ts";
import { OnceflowError } from "../engine/errors.ts";
import { interval, type Interval } from "../engine/interval.ts";
import type { OfflineStore, PartitionRef } from "../store/offline-store.ts";
import type { SourceFile } from "../store/source-files.ts";
import type { RunRef } from "../workflows/contract.ts";

/**
 * The view that a run names, in exactly the meaning that it names.
 *
 * @throws FINGERPRINT_UNKNOWN where this build has another definition, or none; retried, since a
 *   newer worker may take it
 */
export function viewOfRun(
  catalogue: Catalogue,
  run: { readonly view: string; readonly fingerprint: string },
): View {
  const view = catalogue.views.get(run.view);
  if (view?.fingerprint === run.fingerprint) return view;
  const has = view === undefined ? "no view of that name" : `fingerprint ${view.fingerprint}`;
  throw new OnceflowError(
    "FINGERPRINT_UNKNOWN",
    `the run wants view "${run.view}" with fingerprint ${run.fingerprint}; this worker was built with ${has}. Deploy a worker built from the definitions that started the run, or start the run again from this build.`,
    { view: run.view, fingerprint: run.fingerprint },
  );
}

/** The interval of a run. @throws INTERVAL_INVALID */
export function intervalOfRun(run: { readonly start: string; readonly end: string }): Interval {
  return interval(run.start, run.end);
}

/** Where the offline rows of a run lie. */
export function partitionOf(run: RunRef): PartitionRef {
  const { view, fingerprint, generation } = run;
  return { view, fingerprint, interval: intervalOfRun(run), generation };
}

/** What `planRun` settles for all activities of a run; a file of the partition. */
export interface RunFacts {
  readonly files: readonly SourceFile[];
  readonly startedAtMs: number;
  readonly due: "rows" | "aggregates";
}

/** What pass 1 found in one part; a file of the partition. */
export interface PartFacts {
  readonly rows: number;
  /** Encoded states by aggregate fingerprint. */
  readonly states: Readonly<Record<string, string>>;
}

/** What `validateRun` merged; a file of the partition. */
export interface IntervalFacts {
  readonly rows: number;
  readonly states: Readonly<Record<string, string>>;
}

const names = {
  run: "_run.json",
  interval: "_interval.json",
  part: (part: number) => `part-${String(part).padStart(5, "0")}.json`,
};

/** The facts of a run, kept beside its offline rows so that payloads stay references. */
export function factsOf(offline: OfflineStore, run: RunRef) {
  const partition = partitionOf(run);
  return {
    writeRun: (facts: RunFacts) => offline.writeJson(partition, names.run, facts),
    readRun: () => offline.readJson<RunFacts>(partition, names.run),
    writePart: (part: number, facts: PartFacts) =>
      offline.writeJson(partition, names.part(part), facts),
    readPart: (part: number) => offline.readJson<PartFacts>(partition, names.part(part)),
    writeInterval: (facts: IntervalFacts) => offline.writeJson(partition, names.interval, facts),
    readInterval: () => offline.readJson<IntervalFacts>(partition, names.interval),
  };
}
