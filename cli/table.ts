/** Aligned text: tables and lists of named values. */
import { stripVTControlCharacters } from "node:util";
import type { Paint } from "./terminal.ts";

/**
 * A table with a header; columns are as wide as their widest cell, numbers stand to the right.
 * Cells are text that `clean` or a paint made safe.
 */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  paint: Paint,
): string {
  const widths = head.map((name, column) =>
    Math.max(widthOf(name), ...rows.map((row) => widthOf(row[column] ?? ""))),
  );
  const isNumeric = head.map((_, column) =>
    rows.every((row) => /^-?[\d.,]+$/.test(stripVTControlCharacters(row[column] ?? ""))),
  );
  const line = (cells: readonly string[]) =>
    head
      .map((_, column) => {
        const cell = cells[column] ?? "";
        const gap = " ".repeat((widths[column] ?? 0) - widthOf(cell));
        return isNumeric[column] === true && rows.length > 0 ? gap + cell : cell + gap;
      })
      .join("  ")
      .trimEnd();
  return [paint("dim", line(head)), ...rows.map(line)].join("\n");
}

/** Names and values below each other; a value that is undefined leaves its line out. */
export function fields(pairs: readonly (readonly [name: string, value: string | undefined])[]) {
  const shown = pairs.filter(([, value]) => value !== undefined);
  const width = Math.max(0, ...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`).join("\n");
}

/** Text of others made safe to show: control characters, which steer a terminal, are escaped. */
export function clean(text: string): string {
  return text.replace(
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** Indents every line. */
export function indent(text: string, by = 2): string {
  return text.replace(/^(?=.)/gm, " ".repeat(by));
}

function widthOf(text: string): number {
  return [...stripVTControlCharacters(text)].length;
}
