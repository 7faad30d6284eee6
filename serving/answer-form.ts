/**
 * Gives an answer its form: objects for callers in this process and for Temporal, or JSON text for
 * HTTP. JSON is put together from pieces that are made once for a list of features, since
 * `JSON.stringify` over an object of so many members takes most of a request's time.
 */
import type { Dtype, Int64, Value } from "../engine/language/dtypes.ts";
import { formatTimestamp, type Json, toJson } from "../engine/wire.ts";
import type {
  AnswerHead,
  AnswerTable,
  ColumnAnswer,
  FeatureAnswer,
  FeatureRow,
  Status,
} from "./answer.ts";
import { statuses } from "./answer.ts";

/** Which form an answer takes. */
export type AnswerForm = "rows" | "columns";

export function answerInRows(table: AnswerTable): FeatureAnswer {
  const { head, names, dtypes, entities, values } = table;
  const width = names.length;
  const { createRecord } = labelsOf(names);
  const timeOf = timeFormat(table);
  /** What is said of the row before, which rows read together often have in common. */
  let rest: Pick<FeatureRow, "statuses" | "event_times" | "ages"> | undefined;
  const results = entities.map((entity, row): FeatureRow => {
    const start = row * width;
    const features = createRecord<Json>();
    for (let place = 0; place < width; place++)
      features[names[place] as string] = toJson(
        dtypes[place] as Dtype,
        values[start + place] as Value,
      );
    if (rest === undefined || !isLikeLast(table, start)) {
      const statuses = createRecord<Status>();
      const times = createRecord<string | null>();
      const ages = createRecord<number | null>();
      for (let place = 0; place < width; place++) {
        const name = names[place] as string;
        const { text, age } = timeOf(start + place);
        statuses[name] = statusAt(table, start + place);
        times[name] = text;
        ages[name] = age;
      }
      rest = { statuses, event_times: times, ages };
    }
    const violations = table.violations.get(row);
    const errors = table.errors.get(row);
    return {
      ...(entity === undefined ? {} : { entity }),
      features,
      ...rest,
      ...(violations === undefined ? {} : { violations }),
      ...(errors === undefined ? {} : { errors }),
    };
  });
  return { ...head, results };
}

/** Whether all that is said of a row's values was said of the row before. */
function isLikeLast(
  { names: { length }, statuses, eventTimesUs }: AnswerTable,
  start: number,
): boolean {
  for (let at = start; at < start + length; at++)
    if (statuses[at] !== statuses[at - length] || eventTimesUs[at] !== eventTimesUs[at - length])
      return false;
  return true;
}

export function answerInColumns(table: AnswerTable): ColumnAnswer {
  const { head, names, dtypes, entities } = table;
  const timeOf = timeFormat(table);
  const column = <T>(cell: (at: number, place: number) => T): T[][] =>
    names.map((_, place) => entities.map((_, row) => cell(row * names.length + place, place)));
  return {
    ...head,
    entities: entities.map((entity) => entity ?? null),
    features: names,
    values: column((at, place) => toJson(dtypes[place] as Dtype, table.values[at] as Value)),
    statuses: column((at) => statusAt(table, at)),
    event_times: column((at) => timeOf(at).text),
    ages: column((at) => timeOf(at).age),
    ...notesOf(table),
  };
}

/** What is said of single values, in the column form. */
function notesOf({ violations, errors }: AnswerTable): Pick<ColumnAnswer, "violations" | "errors"> {
  const cells = <T, U>(byRow: Map<number, Record<string, T>>, note: (value: T) => U) =>
    [...byRow].flatMap(([row, byFeature]) =>
      Object.entries(byFeature).map(([feature, value]) => ({ row, feature, ...note(value) })),
    );
  return {
    ...(violations.size > 0 && {
      violations: cells(violations, (expectations) => ({ expectations })),
    }),
    ...(errors.size > 0 && { errors: cells(errors, (message) => ({ message })) }),
  };
}

/**
 * The answer in that form as JSON. It is ASCII alone, since to measure and encode other text takes
 * as long as to write it; and it is written piece by piece, since to make one text of the pieces
 * first takes twice as long.
 */
export function answerJson(table: AnswerTable, form: AnswerForm): Buffer {
  const pieces = [headText(table.head)];
  if (form === "rows") addRows(pieces, table);
  else addColumns(pieces, table);
  let size = 0;
  for (const piece of pieces) size += piece.length;
  const bytes = Buffer.allocUnsafe(size);
  let at = 0;
  for (const piece of pieces) at += bytes.write(piece, at, "latin1");
  return bytes;
}

/** As `JSON.stringify`, other characters than ASCII escaped. */
function jsonText(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\u0080-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

const headTexts = new WeakMap<AnswerHead, string>();

function headText(head: AnswerHead): string {
  let text = headTexts.get(head);
  if (text === undefined) {
    text = jsonText(head).slice(0, -1);
    headTexts.set(head, text);
  }
  return text;
}

/** What is made once for a list of features. */
interface Labels {
  /** `"name":` of each feature, with a comma before all but the first. */
  readonly labels: readonly string[];
  /** An object with all features as members, in order; to fill one is faster than to build it. */
  readonly createRecord: <T>() => Record<string, T>;
}

const knownLabels = new WeakMap<readonly string[], Labels>();

function labelsOf(names: readonly string[]): Labels {
  let made = knownLabels.get(names);
  if (made === undefined) {
    // Names come from the catalogue, which refuses those that objects inherit.
    const empty = Object.fromEntries(names.map((name) => [name, null]));
    made = {
      labels: names.map((name, place) => `${place === 0 ? "" : ","}${jsonText(name)}:`),
      createRecord: <T>() => ({ ...empty }) as Record<string, T>,
    };
    knownLabels.set(names, made);
  }
  return made;
}

/*
 * Pieces of many characters are joined, not added to: a text that was added to is a tree, which is
 * walked again wherever it is a part of another.
 */

function addRows(pieces: string[], table: AnswerTable): void {
  const { names, dtypes, entities, values, statuses: codes } = table;
  const width = names.length;
  const { labels } = labelsOf(names);
  const timeOf = timeFormat(table);
  const members = (textOf: (place: number) => string): string => {
    const list = new Array<string>(2 * width);
    for (let place = 0; place < width; place++) {
      list[2 * place] = labels[place] as string;
      list[2 * place + 1] = textOf(place);
    }
    return list.join("");
  };
  let rest = "";
  let opening = ',"results":[{';
  for (let row = 0; row < entities.length; row++) {
    const entity = entities[row];
    const start = row * width;
    if (entity !== undefined) opening += `"entity":${jsonText(entity)},`;
    const features = members((place) =>
      valueText(dtypes[place] as Dtype, values[start + place] as Value),
    );
    if (row === 0 || !isLikeLast(table, start)) {
      const said = members((place) => statusTexts[codes[start + place] as number] as string);
      const times = members((place) => timeOf(start + place).json);
      const ages = members((place) => timeOf(start + place).ageJson);
      rest = ['},"statuses":{', said, '},"event_times":{', times, '},"ages":{', ages, "}"].join("");
    }
    pieces.push(opening, '"features":{', features, rest);
    const violations = table.violations.get(row);
    const errors = table.errors.get(row);
    if (violations !== undefined) pieces.push(`,"violations":${jsonText(violations)}`);
    if (errors !== undefined) pieces.push(`,"errors":${jsonText(errors)}`);
    opening = "},{";
  }
  pieces.push(entities.length === 0 ? ',"results":[]}' : "}]}");
}

function addColumns(pieces: string[], table: AnswerTable): void {
  const { names, dtypes, entities, values, statuses: codes, eventTimesUs } = table;
  const width = names.length;
  const timeOf = timeFormat(table);
  const list = (place: number, textOf: (at: number) => string): string => {
    const cells = new Array<string>(entities.length);
    for (let row = 0, at = place; row < entities.length; row++, at += width)
      cells[row] = textOf(at);
    return cells.join(",");
  };
  const lists = {
    values: [] as string[],
    said: [] as string[],
    times: [] as string[],
    ages: [] as string[],
  };
  // Features of one row have these in common, so the lists of neighbours are often the same.
  let [said, times, ages] = ["", "", ""];
  for (let place = 0; place < width; place++) {
    const dtype = dtypes[place] as Dtype;
    lists.values.push(list(place, (at) => valueText(dtype, values[at] as Value)));
    let isSame = place > 0;
    for (let at = place; isSame && at < values.length; at += width)
      isSame = codes[at] === codes[at - 1] && eventTimesUs[at] === eventTimesUs[at - 1];
    if (!isSame) {
      said = list(place, (at) => statusTexts[codes[at] as number] as string);
      times = list(place, (at) => timeOf(at).json);
      ages = list(place, (at) => timeOf(at).ageJson);
    }
    lists.said.push(said);
    lists.times.push(times);
    lists.ages.push(ages);
  }
  const add = (name: string, each: readonly string[]): void => {
    pieces.push(`,"${name}":[`);
    each.forEach((text, place) => pieces.push(place === 0 ? "[" : "],[", text));
    pieces.push(each.length === 0 ? "]" : "]]");
  };
  const rows = jsonText(entities.map((entity) => entity ?? null));
  pieces.push(',"entities":', rows, ',"features":', jsonText(names));
  add("values", lists.values);
  add("statuses", lists.said);
  add("event_times", lists.times);
  add("ages", lists.ages);
  const notes = jsonText(notesOf(table)).slice(1);
  pieces.push(notes === "}" ? notes : `,${notes}`);
}

const statusTexts = statuses.map((status) => `"${status}"`);

function statusAt(table: AnswerTable, at: number): Status {
  return statuses[table.statuses[at] as number] as Status;
}

function valueText(dtype: Dtype, value: Value): string {
  if (value === null) return "null";
  // Most values; −0 is written as a string.
  if (typeof value === "number" && dtype !== "timestamp" && Number.isFinite(value))
    return value === 0 && Object.is(value, -0) ? '"-0"' : `${value}`;
  if (typeof value === "boolean") return value ? "true" : "false";
  return jsonText(toJson(dtype, value));
}

/** An event time as text and as an age, each plain and as JSON. */
interface FormattedTime {
  readonly text: string | null;
  readonly json: string;
  readonly age: number | null;
  readonly ageJson: string;
}

const noTime: FormattedTime = { text: null, json: "null", age: null, ageJson: "null" };

/** Makes the function that formats the event time of a value; neighbours often have the same. */
function timeFormat({ eventTimesUs, nowMs }: AnswerTable): (at: number) => FormattedTime {
  let [lastUs, last] = [null as AnswerTable["eventTimesUs"][number], noTime];
  return (at) => {
    const us = eventTimesUs[at] ?? null;
    if (us !== lastUs) {
      lastUs = us;
      last = us === null ? noTime : formatTime(textOfTime(us), Number(us), nowMs);
    }
    return last;
  };
}

/** Rows that were materialized together have one event time, whoever asks for them. */
let lastText: readonly [us: Int64, text: string] = [0, formatTimestamp(0)];

function textOfTime(us: Int64): string {
  if (lastText[0] !== us) lastText = [us, formatTimestamp(us)];
  return lastText[1];
}

function formatTime(text: string, us: number, nowMs: number): FormattedTime {
  const age = Math.max(0, Math.round(nowMs - us / 1000)) / 1000;
  return { text, json: `"${text}"`, age, ageJson: `${age}` };
}
