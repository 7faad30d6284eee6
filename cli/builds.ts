/** Worker versioning: which build of the workers new runs go to. */
import type { Client } from "@temporalio/client";
import { isGrpcServiceError, ServiceError } from "@temporalio/client";
import { messageOf, OnceflowError } from "../engine/errors.ts";
import { deploymentOf, type Settings } from "../settings.ts";

/** The status of gRPC. */
const notFound = 5;

/** Another build that is to take new runs. */
export interface BuildChange {
  readonly change: "create" | "update";
  readonly kind: "build";
  /** Its id, of ONCEFLOW_BUILD. */
  readonly name: string;
  readonly why: readonly string[];
}

/** What `apply` has to do: nothing without ONCEFLOW_BUILD, or where this build is the current one. */
export async function planBuild(client: Client, settings: Settings): Promise<BuildChange[]> {
  const own = deploymentOf(settings);
  if (own === undefined) return [];
  const current = await currentBuild(client, settings.temporalNamespace, own.deploymentName);
  if (current === own.buildId) return [];
  return [
    {
      change: current === null ? "create" : "update",
      kind: "build",
      name: own.buildId,
      why: [
        current === null
          ? "new runs go to its workers"
          : `new runs go to its workers, no longer to ${current}; what is under way there ends there`,
      ],
    },
  ];
}

/**
 * Makes this build the one that new runs go to.
 *
 * @throws BUILD_UNKNOWN where no worker of it has polled yet
 */
export async function applyBuild(client: Client, settings: Settings): Promise<void> {
  const own = deploymentOf(settings);
  if (own === undefined) return;
  try {
    await client.workflowService.setWorkerDeploymentCurrentVersion({
      namespace: settings.temporalNamespace,
      identity: "onceflow apply",
      ...own,
    });
  } catch (error) {
    throw new OnceflowError(
      "BUILD_UNKNOWN",
      `Temporal cannot send new runs to build "${own.buildId}" (${messageOf(error instanceof ServiceError ? (error.cause ?? error) : error)}). Start a worker with ONCEFLOW_BUILD=${own.buildId} first.`,
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
