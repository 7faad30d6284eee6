/** Marks what is no expression yet, so that the catalogue can say so where it is exported as it is. */

/** Holds across copies of this module, as the mark of expressions does. */
const mark = Symbol.for("onceflow.unfinished");

/** Marks an object that lacks a call to become an expression. */
export function unfinished<T extends object>(value: T): T {
  return Object.freeze(Object.assign(value, { [mark]: true }));
}

/** Whether a value is one that was marked. */
export function isUnfinished(value: unknown): boolean {
  return typeof value === "object" && value !== null && mark in value;
}
