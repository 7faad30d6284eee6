/** What is checked when the catalogue is built: every problem is found, none is thrown alone. */
import type { Definitions } from "./checks/definitions.ts";
import { collectExports } from "./checks/exports.ts";
import { checkFeatures, findEndless, treeProblems } from "./checks/features.ts";
import { checkServices } from "./checks/services.ts";
import { checkSources } from "./checks/sources.ts";
import { checkViews } from "./checks/views.ts";

/** The modules of features/, by name, with all that they export. */
export type Modules = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** The outcome of all checks; `viewOf` maps each feature to the view that owns it. */
export interface Checked {
  readonly definitions: Definitions;
  readonly problems: readonly string[];
  readonly viewOf: ReadonlyMap<string, string>;
}

/**
 * Finds the definitions of modules and runs every check: first what the others rest on, that trees
 * end and that definitions were made of arguments of the right types.
 */
export function checkModules(modules: Modules): Checked {
  const { definitions, malformed, lost } = collectExports(modules);
  const refused = (problems: readonly string[]): Checked => ({
    definitions,
    problems: [...new Set(problems)],
    viewOf: new Map(),
  });
  const endless = findEndless(definitions);
  if (endless !== undefined) return refused([endless]);
  if (malformed.length > 0) return refused([...malformed, ...lost(), ...treeProblems(definitions)]);
  const problems: string[] = [...lost()];
  checkSources(definitions, problems);
  const viewOf = checkFeatures(definitions, problems);
  checkViews(definitions, viewOf, problems);
  checkServices(definitions, problems);
  return { definitions, problems: [...new Set(problems)], viewOf };
}
