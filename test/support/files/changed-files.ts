/** Files that are away or another for a while. */
import { readFileSync, renameSync, writeFileSync } from "node:fs";

/** Works without a file, which comes back afterwards. */
export async function without<T>(path: string, work: () => Promise<T>): Promise<T> {
  renameSync(path, `${path}.late`);
  try {
    return await work();
  } finally {
    renameSync(`${path}.late`, path);
  }
}

/** Works with another content of a file. */
export async function changing<T>(
  path: string,
  change: (bytes: Buffer) => string,
  work: () => Promise<T>,
): Promise<T> {
  const bytes = readFileSync(path);
  writeFileSync(path, change(bytes));
  try {
    return await work();
  } finally {
    writeFileSync(path, bytes);
  }
}
