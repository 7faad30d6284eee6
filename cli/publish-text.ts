/** What people are told of a publish. */
import { showSpan, showTime } from "../engine/calendar/interval.ts";
import type { PublishResult } from "../workflows/contract.ts";

/** The lines of a publish; none where there was none. */
export function publishFields(
  result: PublishResult | null,
): (readonly [string, string | undefined])[] {
  if (result === null) return [];
  const { outcome, end, generation, whole, written, withdrawn, snapshot, missing } = result;
  const upTo = end === null ? "nothing" : `up to ${showTime(end)}, as publish ${generation}`;
  const isNew = outcome === "published";
  return [
    ["published", outcome === "current" ? `${upTo}, already` : upTo],
    ["entities", isNew ? `${written} written${whole ? ", all anew" : ""}` : undefined],
    ["withdrawn", isNew && withdrawn > 0 ? `${withdrawn}` : undefined],
    ["snapshot", snapshot ?? "none"],
    [
      "missing",
      missing === null
        ? undefined
        : `${showSpan(missing)}; what is committed after it ${result.covered ? "waits for it" : "is served without it"}`,
    ],
    ["frozen", result.frozen ?? undefined],
    ["durable", result.durable ? undefined : "no: Redis appends to no file (appendonly no)"],
  ];
}
