/** Spans of time as users write them: "90 s", "5 min", "6 hours", "1 day"; and as they read them. */

const units = new Map([
  ["s", 1_000],
  ["second", 1_000],
  ["min", 60_000],
  ["minute", 60_000],
  ["h", 3_600_000],
  ["hour", 3_600_000],
  ["d", 86_400_000],
  ["day", 86_400_000],
  ["week", 7 * 86_400_000],
]);

/** Milliseconds of a whole number and a unit, or of a bare 0; undefined where the text is neither. */
export function parseSpan(text: string): number | undefined {
  return text === "0" ? 0 : parseDuration(text);
}

/** Milliseconds of a whole number and a unit; undefined where the text is no such span. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,9}) ?([a-z]+)$/.exec(text);
  const unit = match?.[2] ?? "";
  const unitMs = units.get(unit) ?? units.get(unit.replace(/s$/, ""));
  return match === null || unitMs === undefined ? undefined : Number(match[1]) * unitMs;
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
