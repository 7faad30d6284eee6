/** Files that a test holds to what the code says, and that a person reviews when they change. */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { format, resolveConfig } from "prettier";

const isUpdate = process.env["UPDATE_SNAPSHOTS"] === "1";

/**
 * Asserts that a file holds what `expected` makes of its present text, formatted by prettier.
 * With UPDATE_SNAPSHOTS=1 it writes the file instead.
 */
export async function assertReviewed(
  url: URL,
  expected: (present: string) => string,
): Promise<void> {
  const path = fileURLToPath(url);
  const present = await readFile(path, "utf8").catch(() => "");
  const options = { ...(await resolveConfig(path)), filepath: path };
  const wanted = await format(expected(present), options);
  if (isUpdate) {
    if (wanted !== present) await writeFile(path, wanted);
    return;
  }
  assert.equal(
    present,
    wanted,
    `${basename(path)} is not what the code says. If the change is meant, run the tests with UPDATE_SNAPSHOTS=1 and review the difference in git.`,
  );
}

/** Replaces what stands between `<!-- name: … -->` and the next `<!-- end -->`. */
export function replaceMarked(text: string, name: string, content: string): string {
  const marked = new RegExp(`(<!-- ${name}:[^\\n]*-->\\n)[^]*?(<!-- end -->)`);
  assert.match(text, marked, `the markers of ${name} are missing`);
  return text.replace(marked, (_, start: string, end: string) => `${start}\n${content}\n\n${end}`);
}

/** A Markdown table. */
export function toTable(rows: readonly (readonly string[])[]): string {
  const [head = [], ...body] = rows;
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...body.map(line)].join("\n");
}
