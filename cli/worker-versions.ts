/** Worker versioning: which build of the workers new runs go to. */
import type { Client } from "@temporalio/client";
import { isGrpcServiceError } from "@temporalio/client";
import { OnceflowError } from "../engine/errors.ts";
import { deploymentOf, type Settings } from "../settings.ts";

/** The status of gRPC. */
const notFound = 5;

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

/** BUILD_UNKNOWN where a build has no worker: nothing is to be changed for it. */
export async function unknownBuild(
  client: Client,
  settings: Settings,
): Promise<OnceflowError | undefined> {
  const own = deploymentOf(settings);
  if (own === undefined || (await hasPolled(client, settings.temporalNamespace, own)))
    return undefined;
  return new OnceflowError(
    "BUILD_UNKNOWN",
    `no worker of build "${own.buildId}" has polled Temporal yet. Start one with ONCEFLOW_BUILD=${own.buildId} first.`,
    { build: own.buildId },
  );
}

/** Whether Temporal knows a build by one of its workers. */
export async function hasPolled(
  client: Client,
  namespace: string,
  { deploymentName, buildId }: { readonly deploymentName: string; readonly buildId: string },
): Promise<boolean> {
  const held = await deploymentNamed(client, namespace, deploymentName);
  return (held?.versionSummaries ?? []).some((each) => each.deploymentVersion?.buildId === buildId);
}

/** Makes this build the one that new runs go to. */
export async function applyBuild(client: Client, settings: Settings): Promise<void> {
  await client.workflowService.setWorkerDeploymentCurrentVersion({
    namespace: settings.temporalNamespace,
    identity: "onceflow apply",
    ...(deploymentOf(settings) ?? unnamedOf(settings)),
  });
}

async function currentBuild(
  client: Client,
  namespace: string,
  deploymentName: string,
): Promise<string | null> {
  const held = await deploymentNamed(client, namespace, deploymentName);
  return held?.routingConfig?.currentDeploymentVersion?.buildId || null;
}

/** Null where no versioned worker has polled yet. */
async function deploymentNamed(client: Client, namespace: string, deploymentName: string) {
  try {
    const { workerDeploymentInfo } = await client.workflowService.describeWorkerDeployment({
      namespace,
      deploymentName,
    });
    return workerDeploymentInfo ?? null;
  } catch (error) {
    if (isGrpcServiceError(error) && Number(error.code) === notFound) return null;
    throw error;
  }
}
