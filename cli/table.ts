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

/** `1 row`, `2 rows`. */
export function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** A span of time in its two largest units: `2 d 3 h`, `5 min 20 s`, `0 s`. */
export function formatSpan(seconds: number): string {
  if (seconds < 0) return `-${formatSpan(-seconds)}`;
  const whole = Math.floor(seconds);
  const parts = [
    [Math.floor(whole / 86_400), "d"],
    [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"],
    [whole % 60, "s"],
  ] as const;
  const first = parts.findIndex(([count]) => count > 0);
  if (first === -1) return "0 s";
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(" ");
}

function widthOf(text: string): number {
  return [...stripVTControlCharacters(text)].length;
}
