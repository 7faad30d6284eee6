/** Words of messages. */

/** The head of a text, marked where something is left out. */
export function cut(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length)}…` : text;
}

/** `1 row`, `2 rows`. */
export function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** What nobody sees: controls, and blanks other than the plain one. */
const hidden = /\p{C}|(?! )\p{Z}/gu;
/** And marks that would look as composed letters do. */
const hiddenOrMarks = /\p{C}|\p{M}|(?! )\p{Z}/gu;

/** A text in quotes as TypeScript has it, with what nobody could see or tell apart as escapes. */
export function quote(text: string): string {
  const escaped = text.normalize() === text ? hidden : hiddenOrMarks;
  return JSON.stringify(text).replaceAll(escaped, (character) =>
    Array.from({ length: character.length }, (_, i) => escapeOf(character.charCodeAt(i))).join(""),
  );
}

function escapeOf(unit: number): string {
  return `\\u${unit.toString(16).padStart(4, "0")}`;
}
