/** Checks of sources: names, columns, keys and event time. */
import { endingOf, fileFormats } from "../language/formats.ts";
import { didYouMean } from "../errors.ts";
import { parseSpan } from "../calendar/duration.ts";
import { longestGapMs } from "../calendar/slots.ts";
import { isDated, type Source } from "../language/definitions.ts";
import { showValue } from "../wire.ts";
import { quote } from "../words.ts";
import { type Definitions, longestName, nameProblem } from "./definitions.ts";

/** Every source that a view or a column names, also where it is not exported itself. */
function sourcesOf({ sources, views }: Definitions): Map<Source, string> {
  const all = new Map<Source, string>();
  for (const { module, definition } of views) all.set(definition.source, module);
  for (const { module, definition } of sources) all.set(definition, module);
  return all;
}

/** Finds what is wrong with sources. */
export function checkSources(definitions: Definitions, problems: string[]): void {
  const names = new Map<string, string>();
  for (const [source, module] of sourcesOf(definitions)) {
    const where = `source "${source.name}" (features/${module}.ts)`;
    const say = (problem: string) => problems.push(`${where} ${problem}`);
    const taken = names.get(source.name);
    if (taken !== undefined) say(`has the name of another source in features/${taken}.ts.`);
    names.set(source.name, module);
    const { entity } = source;
    if (entity.name.length > longestName)
      say(
        `is of an entity with a name of ${entity.name.length} characters; at most ${longestName}.`,
      );
    for (const name of [source.name, ...Object.keys(source.types)]) {
      const problem = nameProblem(name);
      if (problem !== undefined) say(problem);
    }
    checkNamesInFiles(source, say);
    for (const key of source.entity.keys) {
      const type = source.types[key];
      if (type === undefined)
        say(
          `lacks the key column "${key}" of entity "${source.entity.name}".${didYouMean(key, Object.keys(source.types))}`,
        );
      else if (type.dtype !== "string" || type.nullable)
        say(`declares the key column "${key}" as ${describe(type)}; a key is a string, not null.`);
    }
    const { eventTime } = source;
    const type = eventTime === undefined ? undefined : source.types[eventTime];
    if (eventTime !== undefined && type === undefined)
      say(
        `names the event time "${eventTime}", which is none of its columns.${didYouMean(eventTime, Object.keys(source.types))}`,
      );
    else if (type !== undefined && (type.dtype !== "timestamp" || type.nullable))
      say(`has the event time "${eventTime}" as ${describe(type)}; it is a timestamp, not null.`);
    for (const problem of reachProblems(source)) say(problem);
    const ending = endingOf(source.files);
    const { separator } = source.csv;
    if (!/^[\t -~]$/.test(separator) || separator === '"')
      say(
        `has the csv separator ${JSON.stringify(separator)}; give one ASCII character other than a quote or a line end, such as ";".`,
      );
    // A star in the place of the ending: each file is read by its own.
    if (ending === undefined && /\.\*$/.test(source.files)) continue;
    if (ending === undefined) {
      const known = Object.keys(fileFormats).join(" or ");
      say(`has the files "${source.files}", whose format nothing reads; they end in ${known}.`);
      continue;
    }
    const { name: format, lacks } = fileFormats[ending];
    for (const [name, { dtype }] of Object.entries(source.types))
      if (lacks.includes(dtype))
        say(`declares "${name}" as ${dtype}, which a ${format} file cannot hold; use parquet.`);
  }
}

/** What files call columns: a column of a file is one declared column at most. */
function checkNamesInFiles({ types }: Source, say: (problem: string) => void): void {
  const taken = new Map<string, string>();
  for (const [name, type] of Object.entries(types)) {
    const from: unknown = "from" in type ? type.from : name;
    if (!isNameInFile(from)) {
      const got = showValue(from);
      say(`declares "${name}" as column(${got}, …); give the name that its files have for it.`);
      continue;
    }
    const other = taken.get(from);
    if (other !== undefined)
      say(
        `declares "${other}" and "${name}" as the one column ${quote(from)} of its files; give each a column of its own.`,
      );
    taken.set(from, name);
  }
}

/** No file holds a name that is no text, and an empty one names nothing. */
function isNameInFile(name: unknown): name is string {
  return typeof name === "string" && name !== "" && name.isWellFormed();
}

/** What is wrong with what a source says of rows outside the day or hour of their file. */
function reachProblems(source: Source): string[] {
  const { eventTime, files, onOutside } = source;
  const options = ["allowedLateness", "allowedEarliness"] as const;
  const spans = options.filter((option) => source[option] !== undefined);
  const problems = spans.flatMap((option) => {
    const ms = parseSpan(source[option] ?? "");
    const has = `has the ${option} ${JSON.stringify(source[option])}`;
    if (ms === undefined)
      return [`${has}; give a whole number and a unit, such as "9 hours" or "2 days".`];
    return ms <= longestGapMs
      ? []
      : [`${has}; give at most "${longestGapMs / 86_400_000} days", which is nine years.`];
  });
  const given = [...spans, ...(onOutside === "fail" ? [] : ["onOutside"])].join(" and ");
  if (given === "") return problems;
  if (eventTime === undefined)
    problems.push(
      `has ${given} and no event time, by which a row belongs to an interval; name its eventTime, or leave ${given} out.`,
    );
  else if (!isDated(files))
    problems.push(
      `has ${given} and the files "${files}", all of which every interval reads, so that no row lies outside its file; put {date} or {hour} into them, or leave ${given} out.`,
    );
  return problems;
}

function describe({ dtype, nullable }: { readonly dtype: string; readonly nullable: boolean }) {
  return nullable ? `nullable ${dtype}` : dtype;
}
