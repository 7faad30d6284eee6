/** What `apply` refuses, so that `plan` can say it before, and the commands that work. */
import type { Client } from "@temporalio/client";
import { OnceflowError } from "../engine/errors.ts";
import { commandLine, invocation } from "../engine/invocation.ts";
import type { Breaking } from "../engine/registry.ts";
import type { Settings } from "../settings.ts";
import { knowsSearchAttributes, registerLine, unknownAttributes } from "./search-attributes.ts";
import { unknownBuild } from "./worker-versions.ts";

/** A change that `apply` makes. */
interface Change {
  readonly kind: string;
  /** What it breaks, of one of definitions. */
  readonly breaking?: readonly Breaking[];
}

/** Why `apply` would refuse, and what is done about it. */
export interface Refusal {
  readonly error: OnceflowError;
  /** What to run first; null where `apply` takes an option instead. */
  readonly first: string | null;
}

/** All that stands against an `apply`; nothing is changed while anything does. */
export async function refusalsOf(
  client: Client,
  settings: Settings,
  changes: readonly Change[],
  { allowBreaking }: { readonly allowBreaking: boolean },
): Promise<Refusal[]> {
  if (changes.length === 0) return [];
  const refusals: Refusal[] = [];
  const breaking = allowBreaking ? undefined : breakingOf(changes);
  if (breaking !== undefined) refusals.push({ error: breaking, first: null });
  const { temporalNamespace: namespace } = settings;
  if (!(await knowsSearchAttributes({ connection: client.connection, namespace })))
    refusals.push({ error: unknownAttributes(settings), first: registerLine });
  const build = await unknownBuild(client, settings);
  if (build !== undefined)
    refusals.push({
      error: build,
      first: `ONCEFLOW_BUILD=${settings.build ?? ""} ${commandLine("worker")}`,
    });
  return refusals;
}

/** What makes the changes, one line each: what is to be run first, and the `apply` that works. */
export function applyLines(refusals: readonly Refusal[]): string[] {
  const breaks = refusals.some(({ error }) => error.code === "BREAKING_CHANGE");
  return [
    ...refusals.flatMap(({ first }) => first ?? []),
    `${invocation} apply${breaks ? " --allow-breaking" : ""}`,
  ];
}

/** BREAKING_CHANGE naming what breaks and for whom; what nobody uses is not refused. */
function breakingOf(changes: readonly Change[]): OnceflowError | undefined {
  const breaking = changes
    .flatMap((change) => change.breaking ?? [])
    .filter(({ consumers }) => consumers.length > 0);
  if (breaking.length === 0) return undefined;
  const list = breaking.map(({ what, consumers }) => `${what} (${consumers.join(", ")})`);
  return new OnceflowError(
    "BREAKING_CHANGE",
    `${list.join("; ")}. Keep what is used and add the new beside it, or tell those who use it and add --allow-breaking.`,
    { breaking },
  );
}
