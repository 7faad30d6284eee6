/** Source files that tests write, and what reading them gives. */
import { mkdtempSync, rmSync } from "node:fs";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type pl from "nodejs-polars";
import { columnNamesOf, heightOf, toColumns, valueAt } from "../../../engine/compile/frame.ts";
import type { Source } from "../../../engine/language/definitions.ts";
import type { Value } from "../../../engine/language/dtypes.ts";
import { type Interval, interval } from "../../../engine/calendar/interval.ts";
import { readChunks, type ReadOptions } from "../../../sources/scan.ts";
import type { SourceFile } from "../../../sources/files.ts";

/** An interval for sources without event time. */
export const anyInterval = interval("2026-01-01", "2026-01-02");

/** A folder for the files of one test file; call `remove` after. */
export function temporaryFolder() {
  const folder = mkdtempSync(path.join(os.tmpdir(), "onceflow-test-"));
  return {
    folder,
    /** Writes a file and describes it as a listing would. */
    write: async (name: string, content: string | Buffer, index = 0): Promise<SourceFile> => {
      const file = path.join(folder, name);
      await fs.mkdir(path.dirname(file), { recursive: true });
      await fs.writeFile(file, content);
      return describeFile(file, index);
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** A file as a listing would describe it. */
export async function describeFile(file: string, index = 0): Promise<SourceFile> {
  const { size, mtimeMs } = await fs.stat(file);
  return { path: file, index, sizeBytes: size, mtimeMs };
}

/** All rows of a file by column, in order, the ordinals included. */
export async function readAll(
  source: Source,
  file: SourceFile,
  selected: Interval = anyInterval,
  options: ReadOptions = {},
): Promise<Record<string, Value[]>> {
  const all = new Map<string, Value[]>();
  for await (const frame of readChunks(source, file, selected, options)) {
    for (const [name, values] of Object.entries(valuesOf(frame)))
      all.set(name, [...(all.get(name) ?? []), ...values]);
  }
  return Object.fromEntries(all);
}

/** The values of a frame by column. */
export function valuesOf(frame: pl.DataFrame): Record<string, Value[]> {
  const columns = toColumns(frame);
  const rows = Array.from({ length: heightOf(frame) }, (_, row) => row);
  return Object.fromEntries(
    columnNamesOf(frame).map((name, i) => {
      const column = columns[i];
      return [name, column === undefined ? [] : rows.map((row) => valueAt(column, row))];
    }),
  );
}
