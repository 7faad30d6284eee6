/** Worker versioning: which build of the workers new runs go to. */
import type { Client } from "@temporalio/client";
import { isGrpcServiceError } from "@temporalio/client";
import { messageOf, OnceflowError } from "../engine/errors.ts";
import { deploymentOf, type Settings } from "../settings.ts";

/** Statuses of gRPC: NOT_FOUND, FAILED_PRECONDITION. */
const notFound = 5;
const noSuchBuild = [notFound, 9];

/** Another build that is to take new runs. */
export interface BuildChange {
  readonly change: "create" | "update" | "delete";
  readonly kind: "build";
  /** Its id, of ONCEFLOW_BUILD. */
  readonly name: string;
  readonly why: readonly string[];
}

/**
 * What `apply` has to do: nothing where this build is the current one, or none is and this has no
 * name either.
 */
export async function planBuild(client: Client, settings: Settings): Promise<BuildChange[]> {
  const { deploymentName, buildId } = deploymentOf(settings) ?? unnamedOf(settings);
  const current = await currentBuild(client, settings.temporalNamespace, deploymentName);
  if (current === (buildId === "" ? null : buildId)) return [];
  if (buildId === "")
    return [
      {
        change: "delete",
        kind: "build",
        name: current ?? "",
        why: ["new runs go to workers without an ONCEFLOW_BUILD, as this CLI is"],
      },
    ];
  const from =
    current === null ? "" : `, no longer to ${current}; what is under way there ends there`;
  return [
    {
      change: current === null ? "create" : "update",
      kind: "build",
      name: buildId,
      why: [`new runs go to its workers${from}`],
    },
  ];
}

/** The deployment of workers that are not told apart: Temporal knows them by an empty build id. */
function unnamedOf({ queue }: Settings) {
  return {
    deploymentName: deploymentOf({ queue, build: "-" })?.deploymentName ?? queue,
    buildId: "",
  };
}

/**
 * Makes this build the one that new runs go to.
 *
 * @throws BUILD_UNKNOWN where no worker of it has polled yet
 */
export async function applyBuild(client: Client, settings: Settings): Promise<void> {
  const own = deploymentOf(settings) ?? unnamedOf(settings);
  try {
    await client.workflowService.setWorkerDeploymentCurrentVersion({
      namespace: settings.temporalNamespace,
      identity: "onceflow apply",
      ...own,
    });
  } catch (error) {
    if (!isGrpcServiceError(error) || !noSuchBuild.includes(Number(error.code))) throw error;
    throw new OnceflowError(
      "BUILD_UNKNOWN",
      `Temporal cannot send new runs to build "${own.buildId}" (${messageOf(error)}). Start a worker with ONCEFLOW_BUILD=${own.buildId} first.`,
      { build: own.buildId },
      error,
    );
  }
}

async function currentBuild(
  client: Client,
  namespace: string,
  deploymentName: string,
): Promise<string | null> {
  try {
    const { workerDeploymentInfo } = await client.workflowService.describeWorkerDeployment({
      namespace,
      deploymentName,
    });
    return workerDeploymentInfo?.routingConfig?.currentDeploymentVersion?.buildId || null;
  } catch (error) {
    // No versioned worker has polled yet.
    if (isGrpcServiceError(error) && Number(error.code) === notFound) return null;
    throw error;
  }
}
