/** The activity of `trainingSet`: the features of a service for every row of its source. */
import pl from "nodejs-polars";
import { type Service, serviceNamed, type View } from "../engine/catalogue.ts";
import { type BatchProgram, compileBatch, type Frame } from "../engine/compile/batch.ts";
import { heightOf } from "../engine/compile/frame.ts";
import { OnceflowError } from "../engine/errors.ts";
import { hash } from "../engine/fingerprint.ts";
import { interval } from "../engine/calendar/interval.ts";
import { below, restsOnAggregate } from "../engine/rests-on.ts";
import { decodeSnapshot, type Snapshot } from "../engine/snapshot.ts";
import { ordinalColumn } from "../sources/ordinal.ts";
import { readChunks } from "../sources/scan.ts";
import { assertUnchanged, listSourceFiles } from "../sources/files.ts";
import type { TrainingSetInput, TrainingSetResult } from "../workflows/contract.ts";
import type { OfflineDependencies } from "./dependencies.ts";
import { namingRow } from "../filling/map-failure.ts";
import { overlap } from "../filling/pipelined.ts";
import { assertWanted } from "./run-context.ts";
import { valuesByFormula } from "../filling/view-states.ts";
import { pointerRequest } from "../store/ledger.ts";

/** Warnings in a result, so that the payload stays small; the manifest has all. */
const warningsLimit = 50;

/** Makes the activity of `trainingSet`. */
export function createTrainingSets(dependencies: OfflineDependencies) {
  const { catalogue, ledger, offline, sources } = dependencies;
  const programs = new Map<string, BatchProgram>();

  return {
    /**
     * Computes the outputs of a service over the source's rows, in the order of the files, with the
     * values of one aggregate snapshot.
     */
    async buildTrainingSet(input: TrainingSetInput): Promise<TrainingSetResult> {
      const service = serviceNamed(catalogue, input.service);
      const { fingerprint = service.fingerprint } = input;
      if (fingerprint !== service.fingerprint)
        throw new OnceflowError(
          "FINGERPRINT_UNKNOWN",
          `the run wants service "${service.name}" with fingerprint ${fingerprint}; this worker was built with ${service.fingerprint}. Start a worker with the definitions that started the run.`,
          { service: service.name },
        );
      const view = onlyView(service);
      const range = rangeOf(input, view, service);
      const program = programs.get(service.name) ?? compileBatch(service.outputs);
      programs.set(service.name, program);
      const snapshot = program.aggregates.length > 0 ? await snapshotOf(view, input) : undefined;
      const values = snapshot === undefined ? new Map() : valuesByFormula(view, snapshot);

      const files = await listSourceFiles(view.source, range, sources);
      const frames: Frame[] = [];
      const warnings: string[] = [];
      const { eventTime } = view.rows;
      const carried = [...view.rows.key, ...(eventTime === undefined ? [] : [eventTime])];
      const names = service.outputs.map((output) => output.name);
      const keep = carried.filter((name) => !names.includes(name));
      // The ordinal says in which row of its file a map has failed.
      const columns = [...new Set([...carried, ...program.columns, ...ordinalIfMapped(service)])];
      for (const file of files) {
        const chunks = readChunks(view.source, file, range, {
          columns,
          leftOut: ({ warning }) => warnings.push(warning),
        });
        const compute = (chunk: Frame) =>
          namingRow({ view, features: service.outputs, file }, chunk, () =>
            program.run(chunk, values, keep),
          );
        for await (const frame of overlap(chunks, compute)) {
          assertWanted();
          frames.push(frame);
        }
      }
      await assertUnchanged(files);
      const frame = pl.concat(frames);
      const rows = heightOf(frame);
      const id = hash(["training set", service.fingerprint, snapshot?.id ?? null, range, files]);
      const path = await offline.writeTrainingSet(service.name, id, frame, {
        service: service.name,
        fingerprint: service.fingerprint,
        features: service.outputs.map((output) => output.name),
        snapshot: snapshot === undefined ? null : { view: view.name, id: snapshot.id },
        interval: input.start === undefined ? null : { start: input.start, end: input.end },
        rows,
        warnings,
        files,
      });
      return {
        service: service.name,
        fingerprint: service.fingerprint,
        rows,
        snapshot: snapshot?.id ?? null,
        path,
        warnings: warnings.slice(0, warningsLimit),
      };
    },
  };

  async function snapshotOf(view: View, input: TrainingSetInput): Promise<Snapshot> {
    if (input.snapshot !== undefined) {
      const body = await ledger.readSnapshot(view.name, input.snapshot);
      if (body !== null) return decodeSnapshot(view.aggregates, input.snapshot, body);
      throw new OnceflowError(
        "UNKNOWN_SNAPSHOT",
        `view "${view.name}" has no snapshot "${input.snapshot}". Leave it out for the latest, or see \`status ${view.name}\`.`,
      );
    }
    const [pointers] = await ledger.readPointers([pointerRequest(view)]);
    const latest = pointers?.latest ?? null;
    if (latest === null)
      throw new OnceflowError(
        "NO_SNAPSHOT",
        `view "${view.name}" has no aggregate snapshot yet, and service "${input.service}" rests on its aggregates. Run \`materialize ${view.name}\` first.`,
      );
    return decodeSnapshot(view.aggregates, latest.id, latest.body);
  }
}

function ordinalIfMapped({ outputs }: Service): string[] {
  const maps = below(
    outputs.map(({ node }) => node),
    "map",
  );
  return maps.length > 0 ? [ordinalColumn] : [];
}

function onlyView(service: Service): View {
  const [view, second] = new Set(service.outputs.map((output) => output.view));
  if (view !== undefined && second === undefined) return view;
  throw new OnceflowError(
    "REQUEST_INVALID",
    `service "${service.name}" reads views ${[...new Set(service.outputs.map((o) => `"${o.view.name}"`))].join(" and ")}. A training set over several views needs a point-in-time join, which is not there yet; split the service by view.`,
  );
}

/** The rows to take: of an interval, or all of a full refresh. */
function rangeOf(input: TrainingSetInput, view: View, service: Service) {
  const { eventTime } = view.rows;
  if (eventTime !== undefined && service.outputs.some(({ node }) => restsOnAggregate(node)))
    throw new OnceflowError(
      "REQUEST_INVALID",
      `service "${service.name}" rests on aggregates over "${eventTime}". A training set would need their values as of each row, which is not there yet: the latest snapshot would leak the future into the past.`,
    );
  const { start, end } = input;
  if (start !== undefined && end !== undefined) return interval(start, end);
  if (view.rows.isFullRefresh && start === undefined && end === undefined)
    return interval("0001-01-01", "9999-12-31");
  throw new OnceflowError(
    "INTERVAL_INVALID",
    `a training set of view "${view.name}" needs a start and an end: its source has intervals.`,
  );
}
