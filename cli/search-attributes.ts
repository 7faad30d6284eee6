/**
 * The search attributes of runs in a namespace of Temporal: which it lacks, and their registration.
 * Without them no schedule, backfill or `runs` works.
 */
import { type Connection, isGrpcServiceError } from "@temporalio/client";
import { messageOf, OnceflowError } from "../engine/errors.ts";
import { invocation } from "../engine/invocation.ts";
import type { Settings } from "../settings.ts";
import { searchAttributeKeys } from "../workflows/search-attributes.ts";

/** A namespace of a server. */
export interface NamespaceRef {
  readonly connection: Pick<Connection, "operatorService" | "workflowService">;
  readonly namespace: string;
}

/** What a registration found and did, by name. */
export interface Registration {
  readonly registered: readonly string[];
  /** Those that were there. */
  readonly present: readonly string[];
  /** Why the others could not be registered; null where all are there. */
  readonly refusal: string | null;
}

/** The numbers of Temporal's IndexedValueType. */
const typeNumbers = { KEYWORD: 2 } as const;
const grpc = {
  invalidArgument: 3,
  alreadyExists: 6,
  permissionDenied: 7,
  failedPrecondition: 9,
  unimplemented: 12,
  unauthenticated: 16,
} as const;
/** With these a server refuses; with others it may not have come up yet. */
const refusals: readonly number[] = [
  grpc.invalidArgument,
  grpc.permissionDenied,
  grpc.failedPrecondition,
  grpc.unimplemented,
  grpc.unauthenticated,
];

/** The command that registers them. */
export const registerLine = `${invocation} register-search-attributes`;

/** The names of all that runs carry, for messages. */
export const attributeNames = searchAttributeKeys.map(({ name }) => name).join(", ");

/** Registers what a namespace lacks; safe to repeat, and for many at once. */
export async function registerSearchAttributes({
  connection,
  namespace,
}: NamespaceRef): Promise<Registration> {
  let present: string[] = [];
  try {
    const held = await connection.operatorService.listSearchAttributes({ namespace });
    const types = held.customAttributes ?? {};
    present = searchAttributeKeys.flatMap(({ name }) => (name in types ? name : []));
    const other = searchAttributeKeys.find(
      ({ name, type }) => name in types && Number(types[name]) !== typeNumbers[type],
    );
    if (other !== undefined)
      return { registered: [], present, refusal: `${other.name} is there, and is no Keyword` };
    const missing = searchAttributeKeys.filter(({ name }) => !(name in types));
    if (missing.length > 0)
      await connection.operatorService.addSearchAttributes({
        namespace,
        searchAttributes: Object.fromEntries(
          missing.map(({ name, type }) => [name, typeNumbers[type]]),
        ),
      });
    return { registered: missing.map(({ name }) => name), present, refusal: null };
  } catch (error) {
    // Somebody else was faster.
    if (codeOf(error) === grpc.alreadyExists) return { registered: [], present, refusal: null };
    if (!refusals.includes(codeOf(error))) throw error;
    return { registered: [], present, refusal: messageOf(error) };
  }
}

/**
 * Whether a query may use them all; a server may know one only a minute after it was registered.
 */
export async function knowsSearchAttributes({
  connection,
  namespace,
}: NamespaceRef): Promise<boolean> {
  try {
    await connection.workflowService.countWorkflowExecutions({
      namespace,
      query: searchAttributeKeys.map(({ name }) => `${name} = "none"`).join(" AND "),
    });
    return true;
  } catch (error) {
    if (isUnknownAttribute(error)) return false;
    throw error;
  }
}

/** Whether Temporal refused something for a search attribute. */
export function isUnknownAttribute(error: unknown): boolean {
  for (let at: unknown = error; at instanceof Error; at = at.cause)
    if (codeOf(at) === grpc.invalidArgument && /search attribute/i.test(messageOf(at))) return true;
  return false;
}

/** What is said where they are missing, with the command that registers them. */
export function unknownAttributes(
  { temporalAddress, temporalNamespace }: Settings,
  cause?: unknown,
): OnceflowError {
  return new OnceflowError(
    "CONFIG_INVALID",
    `the namespace "${temporalNamespace}" of the Temporal server at ${temporalAddress} lacks search attributes that runs carry (${attributeNames}). Register them once: ${registerLine}`,
    { name: "TEMPORAL_NAMESPACE", fix: registerLine },
    cause,
  );
}

function codeOf(error: unknown): number {
  return isGrpcServiceError(error) ? Number(error.code) : -1;
}
