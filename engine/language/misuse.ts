/**
 * What is wrong with the arguments of a definition. It is kept beside the definition, so that the
 * catalogue reports it with all else, by the name and the file of the definition.
 */

/** Holds across copies of this module, as the mark of expressions does. */
const mark = Symbol.for("onceflow.problems");

/** The definition, frozen, and what is wrong with it. */
export function withProblems<T extends object>(definition: T, problems: readonly string[]): T {
  return Object.freeze(
    problems.length === 0 ? definition : Object.assign(definition, { [mark]: problems }),
  );
}

/** What is wrong with the arguments that a definition was made of, in words that follow its name. */
export function problemsIn(definition: object): readonly string[] {
  return (definition as { readonly [mark]?: readonly string[] })[mark] ?? [];
}
