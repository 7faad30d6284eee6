/** A local folder, or one that is mounted on all workers, as the place of the offline store. */
import { randomUUID } from "node:crypto";
import { promises as fs } from "node:fs";
import path from "node:path";
import {
  type ByteRange,
  type Content,
  type ObjectStore,
  unavailable,
  unfinishedName,
} from "./objects.ts";

/**
 * Keeps files below a folder, which is made when something is written.
 *
 * Each is written under a temporary name, synced, and renamed or linked, and then its folder is
 * synced: a reader sees all of it or nothing, also after a power cut.
 */
export function localObjects(folder: string): ObjectStore {
  const root = path.resolve(folder);
  const locate = (key: string) => path.join(root, key);
  return {
    locate,
    list: async (key) => {
      const at = locate(key);
      return (await attempt("list", at, () => unlessGone(fs.readdir(at)))) ?? [];
    },
    async stat(key) {
      const file = locate(key);
      const stats = await attempt("read", file, () => unlessGone(fs.stat(file)));
      return stats?.isFile() ? { sizeBytes: stats.size } : undefined;
    },
    read: (key, range) => {
      const file = locate(key);
      return attempt("read", file, () =>
        range === undefined ? fs.readFile(file) : readRange(file, range),
      );
    },
    put: (key, content) => {
      const file = locate(key);
      return putInPlace(file, content, (temporary) => fs.rename(temporary, file));
    },
    putIfAbsent: (key, content) => {
      const file = locate(key);
      return putInPlace(file, content, (temporary) => linkIfAbsent(temporary, file));
    },
    remove: (key) => {
      const at = locate(key);
      return attempt("remove", at, () => fs.rm(at, { recursive: true, force: true }));
    },
  };
}

async function readRange(file: string, { start, end }: ByteRange): Promise<Buffer> {
  const handle = await fs.open(file, "r");
  try {
    const { size } = await handle.stat();
    const bytes = Buffer.allocUnsafe(Math.max(0, Math.min(end, size) - start));
    let length = 0;
    while (length < bytes.length) {
      const { bytesRead } = await handle.read(bytes, length, bytes.length - length, start + length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return bytes.subarray(0, length);
  } finally {
    await handle.close();
  }
}

/** Writes a whole file beside its place, puts it there, and makes that durable. */
function putInPlace<T>(
  file: string,
  content: Content,
  place: (temporary: string) => Promise<T>,
): Promise<T> {
  const folder = path.dirname(file);
  const temporary = path.join(folder, unfinishedName(path.basename(file), randomUUID()));
  return attempt("write", file, async () => {
    try {
      const handle = await createFile(temporary);
      try {
        // What polars' threads have put into the file is synced through any handle.
        await (typeof content === "function" ? content(temporary) : handle.writeFile(content));
        await handle.sync();
      } finally {
        await handle.close();
      }
      const placed = await place(temporary);
      await syncFolder(folder);
      return placed;
    } catch (error) {
      await fs.rm(temporary, { force: true });
      throw error;
    }
  });
}

/**
 * A link is refused where there is a file, as a rename is not. A server of files that lost its
 * answer is asked again and then refuses its own link: the links of the file say who made it.
 */
async function linkIfAbsent(temporary: string, file: string): Promise<boolean> {
  const isFirst = await unlessCode(
    "EEXIST",
    fs.link(temporary, file).then(() => true),
  );
  const isOurs = isFirst ?? (await unlessGone(fs.stat(temporary)))?.nlink === 2;
  await fs.rm(temporary, { force: true });
  return isOurs;
}

/** Opens a new file; its folder is made where it is not there, which is seldom. */
async function createFile(file: string): Promise<fs.FileHandle> {
  const handle = await unlessGone(fs.open(file, "wx"));
  if (handle !== undefined) return handle;
  await fs.mkdir(path.dirname(file), { recursive: true });
  return fs.open(file, "wx");
}

/** Makes a rename or link survive a power cut. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await fs.open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Undefined where what is asked for is not there. */
function unlessGone<T>(asking: Promise<T>): Promise<T | undefined> {
  return unlessCode("ENOENT", asking);
}

async function unlessCode<T>(code: string, asking: Promise<T>): Promise<T | undefined> {
  try {
    return await asking;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === code) return undefined;
    throw error;
  }
}

const fixes: Readonly<Record<string, string>> = {
  ENOSPC: "Free space on that disk.",
  EDQUOT: "The quota of that disk is used up.",
  EACCES: "Give the process the right to use that folder.",
  EROFS: "The disk is mounted read-only.",
  EMFILE: "Let the process open more files (ulimit -n).",
};
const otherFix = "See to that disk, or correct ONCEFLOW_OFFLINE.";

/** Asks the file system. @throws OFFLINE_UNAVAILABLE naming the file, with the fix */
async function attempt<T>(verb: string, file: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    const { code = "" } = cause as NodeJS.ErrnoException;
    throw unavailable(verb, file, cause, fixes[code] ?? otherFix);
  }
}
