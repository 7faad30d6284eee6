/** Rows whose event time lies outside what their file may hold, so that no interval takes them. */
import { longestGapMs } from "../engine/calendar/slots.ts";
import { endsOf, type Interval, showSpan } from "../engine/calendar/interval.ts";
import { reachOf } from "../engine/language/definitions.ts";
import { formatTimestamp } from "../engine/wire.ts";
import { countOf } from "../engine/words.ts";
import { type Chunk, fault, type Input } from "./chunk.ts";

/** Such rows of a file, where the source says to leave them out. */
export interface OutsideRows {
  readonly count: number;
  /** Says so, with file, place and event time of the first. */
  readonly warning: string;
}

const msPerHour = 3_600_000;

/** Looks for them in the chunks of a file, by what its rows may have. */
export function lookOutside(input: Input, reach: Interval) {
  const { eventTime = "", onOutside } = input.source;
  const [start, end] = [microseconds(reach.startMs), microseconds(reach.endMs)];
  const isOutside = (us: bigint) => us < start || us >= end;
  let count = 0;
  let first = { place: "", us: 0n };
  let [least, greatest] = [start, end - 1n];
  return {
    /** Counts those of a chunk, whose event times lie between two of them. */
    add({ times, place }: Chunk, range: { readonly min: bigint; readonly max: bigint }): void {
      if (!isOutside(range.min) && !isOutside(range.max)) return;
      if (range.min < least) least = range.min;
      if (range.max > greatest) greatest = range.max;
      for (const [row, us] of (times.get(eventTime) ?? []).entries())
        if (isOutside(us) && count++ === 0) first = { place: place(row), us };
    },
    /**
     * What becomes of those that were found.
     *
     * @throws EVENT_TIME_OUTSIDE where the source says to fail
     */
    judge(): OutsideRows | undefined {
      if (count === 0) return undefined;
      const time = formatTimestamp(first.us);
      const span = `${showSpan(endsOf(reach))}, which is all that the file may hold`;
      if (onOutside === "warn")
        return {
          count,
          warning: `source "${input.source.name}", file ${input.part.id}: ${countOf(count, "row")} left out, outside ${span}; the first is ${first.place}, whose "${eventTime}" is ${time}`,
        };
      const others = count === 1 ? "" : ` and ${countOf(count - 1, "other")}`;
      throw fault(
        "EVENT_TIME_OUTSIDE",
        input,
        `${first.place}: "${eventTime}" is ${time}, outside ${span}, so that no interval takes this row${others}`,
        { column: eventTime, event_time: time, rows: count, fix: fixOf(least, greatest) },
      );
    },
  };

  /** Names the options that would take rows between two times. */
  function fixOf(from: bigint, to: bigint): string {
    const { lateMs, earlyMs } = reachOf(input.source);
    const later = from < start ? lateMs + milliseconds(start - from) : 0;
    const earlier = to >= end ? earlyMs + milliseconds(to + 1n - end) : 0;
    const options = [
      ...(later > 0 ? [`allowedLateness: "${spell(later)}"`] : []),
      ...(earlier > 0 ? [`allowedEarliness: "${spell(earlier)}"`] : []),
    ];
    const left = 'the file, or leave such rows out, counted, with onOutside: "warn".';
    // A span of more is refused; such a time is rather a mistake.
    return Math.max(later, earlier) > longestGapMs
      ? `Mend ${left}`
      : `If that is by design, set ${options.join(" and ")} in the source; else mend ${left}`;
  }
}

/** A span of whole hours or days, no shorter. */
function spell(ms: number): string {
  const hours = Math.ceil(ms / msPerHour);
  return hours < 48 ? countOf(hours, "hour") : countOf(Math.ceil(hours / 24), "day");
}

function milliseconds(us: bigint): number {
  return Number(us) / 1000;
}

function microseconds(ms: number): bigint {
  return BigInt(ms) * 1000n;
}
