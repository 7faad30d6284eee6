/**
 * Source files in folders: which of them an interval selects, whether they stay as they were, and
 * their bytes.
 */
import { promises as fs, type Stats } from "node:fs";
import path from "node:path";
import { isDated, reachOf, type Source } from "../engine/language/definitions.ts";
import { messageOf, OnceflowError } from "../engine/errors.ts";
import { formatInterval, type Interval, overlaps } from "../engine/calendar/interval.ts";
import type { PartBytes, PartState, SourcePart } from "./raw-part.ts";

/**
 * A file to read, as it was when it was listed: what runs and training sets keep of it, as JSON,
 * and hash. `partOf` gives its bytes.
 */
export interface SourceFile {
  /** Absolute. */
  readonly path: string;
  /** Place in the ordered list of files: part of every row's ordinal. */
  readonly index: number;
  readonly sizeBytes: number;
  readonly mtimeMs: number;
  /** The event times that its rows may have; absent where no day or hour says. */
  readonly reach?: Interval;
  /** Whether its day or hour lies beside the interval, so that others read it as their own. */
  readonly isBeside?: true;
}

/** Where the files of sources are. */
export interface SourceConfig {
  /** The folder that the paths of definitions are below. */
  readonly dataDir: string;
  /**
   * Replaces a source's path, by source name: one file, or a template with `{date}`, `{hour}` or
   * `*`; absolute, or relative to the working directory. It may lie outside the data folder.
   */
  readonly overrides?: Readonly<Record<string, string>> | undefined;
}

/** An ordinal keeps 2^32 rows of each file and must stay exact as a double. */
const maxFiles = 100_000;
const msPerHour = 3_600_000;
const msPerDay = 24 * msPerHour;

/**
 * What lists the files of an interval of a source; undefined where the data folder is not here.
 * Files that cannot be listed count as none.
 */
export async function openFileLook(
  config: SourceConfig,
): Promise<((source: Source, interval: Interval) => Promise<readonly SourceFile[]>) | undefined> {
  const stats = await fs.stat(config.dataDir).catch(() => undefined);
  if (stats === undefined) return undefined;
  return (source, interval) => listSourceFiles(source, interval, config).catch(() => []);
}

/**
 * Lists the files of a source that an interval selects: by time, then by name.
 *
 * `{date}` stands for each UTC day (2026-01-31) and `{hour}` for each hour (2026-01-31T07) that the
 * interval touches; every one of them must be there. A path with neither selects the same files
 * for every interval. `*` matches within one folder, and no name that begins with a dot.
 *
 * Beside them come the files of earlier and later days or hours that may hold rows of the interval
 * by what the source allows, as far as they are there.
 *
 * @throws SOURCE_MISSING where a selected file is not there, or is no regular file
 * @throws DEFINITION_INVALID where a definition's path leads out of the data folder, also by a link
 * @throws INTERVAL_INVALID where the interval cuts a day or hour of a source without event time
 * @throws CONFIG_INVALID where an override of dated files without event time has no date
 * @throws REQUEST_TOO_LARGE where more than 100 000 files are selected
 */
export async function listSourceFiles(
  source: Source,
  interval: Interval,
  { dataDir, overrides }: SourceConfig,
): Promise<SourceFile[]> {
  const root = path.resolve(dataDir);
  const override =
    overrides !== undefined && Object.hasOwn(overrides, source.name)
      ? overrides[source.name]
      : undefined;
  const template = override ?? source.files;
  const base = override === undefined ? root : process.cwd();
  if (override === undefined && !isBelow(root, path.resolve(root, template)))
    throw outside(source, template, root);

  const files: SourceFile[] = [];
  for (const { template: slot, ...dated } of slotsOf(source, template, interval)) {
    const pattern = path.resolve(base, slot);
    const matches = await expand(pattern);
    if (matches.length === 0) {
      if (dated.isBeside) continue;
      throw missing(source, pattern, interval, slot.includes("*") ? "matches no file" : undefined);
    }
    for (const match of matches) {
      const stats = await inspect(source, match, interval);
      if (override === undefined) await assertBelow(source, template, root, match);
      if (files.length === maxFiles) throw tooMany(source, template);
      files.push({
        path: match,
        index: files.length,
        sizeBytes: stats.size,
        mtimeMs: stats.mtimeMs,
        ...dated,
      });
    }
  }
  return files;
}

/**
 * Checks that files still have the size and time of change that they were listed with.
 *
 * @throws SOURCE_CHANGED naming the first that has not
 */
export async function assertUnchanged(files: readonly SourceFile[]): Promise<void> {
  for (const part of files.map(partOf)) {
    const now = await part.look();
    if (now?.version === part.version) continue;
    const is = now === undefined ? "gone" : describeState(now);
    throw new OnceflowError(
      "SOURCE_CHANGED",
      `${part.id} changed while it was being read: it was ${describeState(part)} and is ${is}. Write a new file and rename it into place.`,
      { path: part.id },
    );
  }
}

function describeState({ sizeBytes, mtimeMs }: PartState): string {
  return `${sizeBytes} bytes of ${new Date(mtimeMs).toISOString()}`;
}

/** A file as a part of its source's rows. */
export function partOf({ path: file, index, sizeBytes, mtimeMs }: SourceFile): SourcePart {
  return {
    ...stateOf(sizeBytes, mtimeMs),
    id: file,
    index,
    async look() {
      const stats = await fs.stat(file).catch(() => undefined);
      return stats && stateOf(stats.size, stats.mtimeMs);
    },
    open: () => openFile(file),
  };
}

function stateOf(sizeBytes: number, mtimeMs: number): PartState {
  return { version: `${sizeBytes} ${mtimeMs}`, sizeBytes, mtimeMs };
}

async function openFile(file: string): Promise<PartBytes> {
  const handle = await fs.open(file, "r");
  return {
    size: async () => (await handle.stat()).size,
    async read(into, start) {
      let length = 0;
      while (length < into.length) {
        const left = into.length - length;
        const { bytesRead } = await handle.read(into, length, left, start + length);
        if (bytesRead === 0) break;
        length += bytesRead;
      }
      return length;
    },
    close: () => handle.close(),
  };
}

/** The template of one day or hour, or of all time. */
type Slot = Pick<SourceFile, "reach" | "isBeside"> & { readonly template: string };

/** The template once for each day or hour that may hold rows of the interval, or once for all. */
function slotsOf(source: Source, template: string, interval: Interval): Slot[] {
  const unit = template.includes("{hour}") ? "hour" : template.includes("{date}") ? "day" : null;
  if (unit === null) {
    // Only an override can lack what the source's own path has.
    if (source.eventTime === undefined && isDated(source.files))
      throw new OnceflowError(
        "CONFIG_INVALID",
        `source "${source.name}" has dated files and no event time, and "${template}", which replaces its path, selects the same files for every interval. Put {date} or {hour} into it.`,
        { source: source.name, files: template },
      );
    return [{ template }];
  }
  const lengthMs = unit === "hour" ? msPerHour : msPerDay;
  const { lateMs, earlyMs } = reachOf(source);
  const first = Math.floor((interval.startMs - earlyMs) / lengthMs);
  const end = Math.ceil((interval.endMs + lateMs) / lengthMs);
  const aligned = first * lengthMs === interval.startMs && end * lengthMs === interval.endMs;
  if (!aligned && source.eventTime === undefined)
    throw new OnceflowError(
      "INTERVAL_INVALID",
      `the interval ${formatInterval(interval)} cuts a ${unit}, and source "${source.name}" has one file for each ${unit} and no event time to filter its rows by. Give whole ${unit}s of UTC.`,
      { source: source.name },
    );
  if (end - first > maxFiles) throw tooMany(source, template);
  return Array.from({ length: end - first }, (_, i): Slot => {
    const own = { startMs: (first + i) * lengthMs, endMs: (first + i + 1) * lengthMs };
    const iso = new Date(own.startMs).toISOString();
    return {
      template: template
        .replaceAll("{date}", iso.slice(0, 10))
        .replaceAll("{hour}", iso.slice(0, 13)),
      ...(source.eventTime === undefined
        ? {}
        : { reach: { startMs: own.startMs - lateMs, endMs: own.endMs + earlyMs } }),
      ...(overlaps(own, interval) ? {} : { isBeside: true }),
    };
  });
}

/** The paths that match, ordered by name; a pattern without `*` is its own match if it exists. */
async function expand(pattern: string): Promise<string[]> {
  const { root } = path.parse(pattern);
  let matches = [root];
  for (const part of pattern.slice(root.length).split(path.sep)) {
    if (!part.includes("*")) {
      matches = matches.map((folder) => path.join(folder, part));
      continue;
    }
    const literals = part.split("*").map((text) => text.replaceAll(/[.+?^${}()|[\]\\]/g, "\\$&"));
    const regExp = new RegExp(`^(?!\\.)${literals.join(".*")}$`, "s");
    const found: string[] = [];
    for (const folder of matches) {
      // A match that is no folder has no files below it.
      const names = await fs.readdir(folder).catch(() => []);
      // Plain comparison: the order must not depend on a locale.
      for (const name of names.filter((each) => regExp.test(each)).sort())
        found.push(path.join(folder, name));
    }
    matches = found;
  }
  const there = await Promise.all(matches.map(exists));
  return matches.filter((_, i) => there[i]);
}

/** Whether the path names anything, if only a broken link: that must not pass for no match. */
async function exists(file: string): Promise<boolean> {
  try {
    await fs.lstat(file);
    return true;
  } catch (error) {
    return !["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "");
  }
}

async function inspect(source: Source, file: string, interval: Interval): Promise<Stats> {
  try {
    await fs.access(file, fs.constants.R_OK);
    const stats = await fs.stat(file);
    if (stats.isFile()) return stats;
    const kind = stats.isDirectory() ? "a folder" : "no regular file";
    throw missing(source, file, interval, `is ${kind}`);
  } catch (error) {
    if (error instanceof OnceflowError) throw error;
    throw missing(source, file, interval, `cannot be read: ${messageOf(error)}`);
  }
}

function isBelow(root: string, file: string): boolean {
  const relative = path.relative(root, file);
  return relative !== "" && relative.split(path.sep)[0] !== ".." && !path.isAbsolute(relative);
}

/** Links may lead anywhere inside the data folder, and not out of it. */
async function assertBelow(source: Source, template: string, root: string, file: string) {
  if (!isBelow(await fs.realpath(root), await fs.realpath(file)))
    throw outside(source, template, root, file);
}

function outside(source: Source, template: string, root: string, file?: string): OnceflowError {
  const what = file === undefined ? `the path "${template}"` : `${file}, found by "${template}",`;
  return new OnceflowError(
    "DEFINITION_INVALID",
    `source "${source.name}": ${what} leads out of the data folder ${root}. Put the files below it, or override the source's path.`,
    { source: source.name, files: template },
  );
}

function missing(
  source: Source,
  file: string,
  interval: Interval,
  problem = "does not exist",
): OnceflowError {
  return new OnceflowError(
    "SOURCE_MISSING",
    `${file} ${problem}; source "${source.name}" needs it for the interval ${formatInterval(interval)}.`,
    { source: source.name, path: file, interval: formatInterval(interval) },
  );
}

function tooMany(source: Source, template: string): OnceflowError {
  return new OnceflowError(
    "REQUEST_TOO_LARGE",
    `"${template}" of source "${source.name}" selects more than ${maxFiles} files; narrow the interval or the path.`,
    { source: source.name },
  );
}
