/** Command lines that people paste: they run as they are. */
import type { View } from "../engine/catalogue.ts";
import {
  endsOf,
  type Interval,
  joinIntervals,
  showTime,
  type Span,
} from "../engine/calendar/interval.ts";
import { invocation } from "../engine/invocation.ts";

/** Commands in one line, for people to paste. */
const commandsAtOnce = 20;

/** One line of commands; of many the first, and `rest` then says what prints the others. */
export function chainOf(
  view: string,
  commands: readonly string[],
): { readonly fix: string; readonly rest: string } {
  return {
    fix: commands.slice(0, commandsAtOnce).join(" && "),
    rest:
      commands.length <= commandsAtOnce
        ? ""
        : `. Of ${commands.length} commands the fix has the first ${commandsAtOnce}; ${invocation} status ${view} then prints the next`,
  };
}

/** The command that runs one interval of a view; its end alone names that of a full refresh. */
export function materializeLine(view: View, { start, end }: Span): string {
  const first = view.rows.isFullRefresh ? "" : `--start ${showTime(start)} `;
  return `${invocation} materialize ${view.name} ${first}--end ${showTime(end)}`;
}

/** The command that runs what is due of a view with a schedule. */
export function backfillLine(view: string, { start, end }: Span): string {
  return `${invocation} backfill ${view} --from ${showTime(start)} --to ${showTime(end)}`;
}

/** The command that runs what a stretch of time lacks: of a schedule it may hold many intervals. */
export function stretchLine(view: View, stretch: Span): string {
  return view.schedule === undefined || view.rows.isFullRefresh
    ? materializeLine(view, stretch)
    : backfillLine(view.name, stretch);
}

/** Commands that run these intervals of a view and no other, as few as can be. */
export function fillLines(view: View, intervals: readonly Interval[]): string[] {
  return view.schedule === undefined || view.rows.isFullRefresh
    ? intervals.map((each) => materializeLine(view, endsOf(each)))
    : // Without the option, one whose last run failed would be left out.
      joinIntervals(intervals).map(
        (each) => `${backfillLine(view.name, endsOf(each))} --reprocess failed`,
      );
}

/** The command that empties a view, and prints those that fill it again. */
export function resetLine(view: string): string {
  return `${invocation} reset ${view} --yes`;
}

/** The command that publishes what is committed of a view; what Redis has lost is put back first. */
export function publishLine(view: string): string {
  return `${invocation} publish ${view}`;
}
