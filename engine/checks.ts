/** What is checked when the catalogue is built: every problem is found, none is thrown alone. */
import type { Definitions } from "./checks/definitions.ts";
import { checkFeatures } from "./checks/features.ts";
import { checkServices } from "./checks/services.ts";
import { checkSources } from "./checks/sources.ts";
import { checkViews } from "./checks/views.ts";

/** The outcome of all checks; `viewOf` maps each feature to the view that owns it. */
export interface Checked {
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
  readonly viewOf: ReadonlyMap<string, string>;
}

/** Runs every check. The trees must be free of cycles. */
export function checkDefinitions(definitions: Definitions): Checked {
  const problems: string[] = [];
  const warnings: string[] = [];
  checkSources(definitions, problems);
  const viewOf = checkFeatures(definitions, problems, warnings);
  checkViews(definitions, viewOf, problems);
  checkServices(definitions, problems);
  return { problems: [...new Set(problems)], warnings, viewOf };
}
