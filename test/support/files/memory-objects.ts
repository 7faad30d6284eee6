/** Files as a bucket keeps them: keys in memory, and no folders. */
import { randomUUID } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";
import { type Content, type ObjectStore, unavailable } from "../../../store/offline/objects.ts";

/** A place for files that knows keys alone; `uploads` is where content is written first. */
export function memoryObjects(uploads: string): ObjectStore {
  const objects = new Map<string, Buffer>();
  const locate = (key: string) => `memory://${key}`;
  const bytesOf = async (content: Content): Promise<Buffer> => {
    if (typeof content !== "function") return Buffer.from(content);
    const file = path.join(uploads, randomUUID());
    await content(file);
    return fs.readFile(file);
  };
  return {
    locate,
    list: async (key) => {
      const start = key === "" ? "" : `${key}/`;
      const below = [...objects.keys()].filter((each) => each.startsWith(start));
      return [...new Set(below.map((each) => each.slice(start.length).split("/")[0] ?? ""))];
    },
    stat: async (key) => {
      const bytes = objects.get(key);
      return bytes && { sizeBytes: bytes.length };
    },
    read: async (key, range) => {
      const bytes = objects.get(key);
      if (bytes !== undefined) return bytes.subarray(range?.start, range?.end);
      const cause = Object.assign(new Error("404 Not Found"), { code: "ENOENT" });
      throw unavailable("read", locate(key), cause, "See to the bucket.");
    },
    put: async (key, content) => void objects.set(key, await bytesOf(content)),
    putIfAbsent: async (key, content) => {
      const bytes = await bytesOf(content);
      if (objects.has(key)) return false;
      objects.set(key, bytes);
      return true;
    },
    remove: async (key) => {
      for (const each of objects.keys())
        if (each === key || each.startsWith(`${key}/`)) objects.delete(each);
    },
  };
}
