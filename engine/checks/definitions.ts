/** What is checked, and words that several checks say of it. */
import type { FeatureService, FeatureView, Source } from "../language/definitions.ts";
import type { Expr } from "../language/expression.ts";
import { cut } from "../words.ts";
import type { InvalidNode } from "../language/node.ts";

/** What the modules of features/ export, by kind. */
export interface Definitions {
  readonly features: readonly { name: string; module: string; expr: Expr }[];
  readonly views: readonly { exportName: string; module: string; definition: FeatureView }[];
  readonly services: readonly { exportName: string; module: string; definition: FeatureService }[];
  readonly sources: readonly { module: string; definition: Source }[];
}

const validName = /^[a-z][a-z0-9_]*$/;

/** Characters of a name, at most: what a request may name. */
export const longestName = 256;

/** Why a name cannot be used, or nothing. Names of Object.prototype break records and group-by. */
export function nameProblem(name: string): string | undefined {
  if (name.length > longestName)
    return `"${cut(name, 40)}" is no valid name: it has ${name.length} characters, at most ${longestName}.`;
  if (validName.test(name) && !(name in {})) return undefined;
  return `"${name}" is no valid name: use snake_case letters, digits and _, starting with a letter, and no name that JavaScript objects inherit.`;
}

/** What is wrong with an expression, to follow the name of what uses it. */
export function problemOf({ problem, saidOf }: InvalidNode): string {
  return saidOf === "used" ? `uses ${problem}` : problem;
}
