/** What is wrong with a view, and command lines that mend it, which run as they are. */
import type { View } from "../engine/catalogue.ts";
import { endsOf, type Interval, joinIntervals, type Span } from "../engine/calendar/interval.ts";
import { invocation } from "../engine/invocation.ts";
import { backfillLine, spanOptions } from "./views.ts";

/** What is wrong, and the command that mends it. */
export interface Finding {
  readonly problem: string;
  /** Runs as it is; null where there is nothing to run yet. */
  readonly fix: string | null;
}

/** What is wrong with a view, and what deserves a look. */
export interface Judgement {
  readonly problems: readonly Finding[];
  readonly notes: readonly string[];
}

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
export function materializeLine(view: View, span: Span): string {
  return `${invocation} materialize ${view.name} ${spanOptions(view, span)}`;
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
