/** Asks for the demo's online features in every way, and holds each answer against offline. */
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import pl from "nodejs-polars";
import type { Runs } from "../cli/temporal.ts";
import type { Service, View } from "../engine/catalogue.ts";
import { heightOf, toColumns, valueAt } from "../engine/compile/frame.ts";
import { OnceflowError } from "../engine/errors.ts";
import { interval } from "../engine/calendar/interval.ts";
import { type Json, toJson } from "../engine/wire.ts";
import type { FeatureAnswer } from "../serving/answer.ts";
import { readChunks } from "../sources/scan.ts";
import { listSourceFiles, type SourceConfig } from "../sources/files.ts";

/** A row as JSON, by column or feature. */
export type JsonRow = Readonly<Record<string, Json>>;

/** How online features are asked for. */
export interface Way {
  readonly name: string;
  readonly ask: (request: object) => Promise<FeatureAnswer>;
}

/** The rows of a full refresh's source, in order, as requests carry them. */
export async function readSourceRows(view: View, config: SourceConfig): Promise<JsonRow[]> {
  const always = interval("0001-01-01", "9999-12-31");
  const types = Object.entries(view.rows.columns);
  const rows: JsonRow[] = [];
  for (const file of await listSourceFiles(view.source, always, config))
    for await (const chunk of readChunks(view.source, file, always))
      rows.push(...toJsonRows(chunk, types));
  return rows;
}

/** The rows of a training set, with the outputs of its service only. */
export function readTrainingSet(path: string, service: Service): JsonRow[] {
  const frame = pl.readParquet(join(path, "data.parquet"));
  return toJsonRows(
    frame,
    service.outputs.map(({ name, node }) => [name, node]),
  );
}

function toJsonRows(
  frame: pl.DataFrame,
  types: readonly (readonly [
    name: string,
    type: { readonly dtype: Parameters<typeof toJson>[0] },
  ])[],
): JsonRow[] {
  const columns = toColumns(
    frame,
    types.map(([name]) => name),
  );
  return Array.from({ length: heightOf(frame) }, (_, row) =>
    Object.fromEntries(
      types.map(([name, { dtype }], i) => {
        const column = columns[i];
        return [name, column === undefined ? null : toJson(dtype, valueAt(column, row))];
      }),
    ),
  );
}

/** Asks the HTTP service. */
export function httpWay(url: string): Way {
  return {
    name: "HTTP",
    async ask(request) {
      const response = await fetch(`${url}/v1/features`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(request),
      });
      if (!response.ok) throw new Error(`HTTP ${response.status}: ${await response.text()}`);
      return (await response.json()) as FeatureAnswer;
    },
  };
}

/** Asks the online activity through Temporal, without a workflow. */
export function temporalWay(runs: Runs): Way {
  return { name: "Temporal activity", ask: (request) => runs.getFeatures(request) };
}

/** One answered row, and the offline row that it must equal. */
export interface Compared {
  readonly answer: FeatureAnswer["results"][number];
  readonly snapshot: FeatureAnswer["snapshot"];
  /** Features whose online value is not the offline one, or has no status that fits it. */
  readonly skewed: readonly string[];
}

const rowsPerRequest = 200;

/**
 * Sends rows in requests of up to 200 and compares each value, bit for bit, with the offline one.
 *
 * @param toRequest - the part of a request that carries these rows
 */
export async function compareRows<T>(
  way: Way,
  service: string,
  rows: readonly T[],
  offline: readonly JsonRow[],
  toRequest: (rows: readonly T[]) => object,
  tell: (done: number) => void,
): Promise<Compared[]> {
  const compared: Compared[] = [];
  for (let at = 0; at < rows.length; at += rowsPerRequest) {
    const answer = await way.ask({ service, ...toRequest(rows.slice(at, at + rowsPerRequest)) });
    for (const result of answer.results) {
      const expected = offline[compared.length] ?? {};
      const skewed = Object.entries(result.features).filter(([name, value]) => {
        const want = expected[name] ?? null;
        const status = want === null ? "NULL_VALUE" : "PRESENT";
        // JSON text spells every double in its own way, so equal text is equal bits.
        return JSON.stringify(value) !== JSON.stringify(want) || result.statuses[name] !== status;
      });
      compared.push({
        answer: result,
        snapshot: answer.snapshot,
        skewed: skewed.map(([name]) => name),
      });
    }
    tell(compared.length);
  }
  if (compared.length !== rows.length)
    throw new Error(`${rows.length} rows were asked for and ${compared.length} answered`);
  return compared;
}

/** Milliseconds of single requests, one after another. */
export async function measureLatency(
  way: Way,
  requests: readonly object[],
  warmUp: number,
): Promise<{ requests: number; p50_ms: number; p99_ms: number }> {
  const times: number[] = [];
  for (const [place, request] of requests.entries()) {
    const before = performance.now();
    await way.ask(request);
    if (place >= warmUp) times.push(performance.now() - before);
  }
  times.sort((a, b) => a - b);
  const at = (share: number) =>
    Number((times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0).toFixed(3));
  return { requests: times.length, p50_ms: at(0.5), p99_ms: at(0.99) };
}

/** Waits until answers come from the snapshot that was committed. */
export async function seesSnapshot(way: Way, snapshot: string | null): Promise<void> {
  const giveUpMs = Date.now() + 15_000;
  for (;;) {
    const answer = await way.ask({ features: ["age_mean"] });
    if (answer.snapshot["absences"] === snapshot) return;
    if (Date.now() > giveUpMs)
      throw new OnceflowError(
        "NO_SNAPSHOT",
        `${way.name} still answers from snapshot ${answer.snapshot["absences"]}, not from ${snapshot}, which was committed.`,
      );
    await pause(100);
  }
}

/** The columns of a row without its entity, as a request carries them. */
export function withoutKey({ id: _id, ...columns }: JsonRow): JsonRow {
  return columns;
}

/** Each distinct id in order of first appearance, with the offline values of its last row. */
export function newestByEntity(raw: readonly JsonRow[], offline: readonly JsonRow[]) {
  const newest = new Map<string, JsonRow>();
  raw.forEach((row, i) => newest.set(row["id"] as string, offline[i] ?? {}));
  return [...newest].map(([id, values]) => ({ id, offline: values }));
}

/** Values that were not as offline, of all rows. */
export function countSkewed(compared: readonly Compared[]): number {
  return compared.reduce((total, { skewed }) => total + skewed.length, 0);
}
