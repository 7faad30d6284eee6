/** `publish`: makes what is committed of a view what is served. One at a time runs for a view. */
import { WorkflowExecutionAlreadyStartedError } from "@temporalio/common";
import {
  type ChildWorkflowHandle,
  isCancellation,
  setCurrentDetails,
  startChild,
  workflowInfo,
} from "@temporalio/workflow";
import { activities } from "./activities.ts";
import { idsOf, type PublishInput, type PublishResult } from "./contract.ts";
import { attributesOf } from "./search-attributes.ts";

/** Publishes a view, or does nothing where all that is committed is published already. */
export async function publish(input: PublishInput): Promise<PublishResult> {
  setCurrentDetails(`Publishing **${input.view}**.`);
  const result = await activities.publishView.executeWithOptions(
    { summary: `publish ${input.view}`, startToCloseTimeout: "24 hours" },
    [input],
  );
  setCurrentDetails([`**${input.view}**`, ...wordsOfPublish(result)].join("\n"));
  return result;
}

/** Publishes of others that are joined in vain before this one fails. */
const mostJoined = 10;

/**
 * Publishes what is committed of a view up to a revision: by a child, which sees all that is committed
 * before it, or by the publish that is under way, where that has seen enough.
 */
export async function publishOf(input: PublishInput, revision: number): Promise<PublishResult> {
  for (let joined = 1; ; joined++) {
    const child = await startPublish(input);
    if (child !== null) return child.result();
    try {
      const result = await activities.joinPublish.executeWithOptions(
        { summary: `join the publish of ${input.view}`, scheduleToCloseTimeout: "30 days" },
        [publishId(input)],
      );
      if (result.revision >= revision) return result;
    } catch (error) {
      // That one was cancelled, or failed for reasons of its own.
      if (isCancellation(error) || joined >= mostJoined) throw error;
    }
  }
}

/** Starts a publish that outlives this workflow, as others may wait for it; null where one is under way. */
export async function startPublish(
  input: PublishInput,
): Promise<ChildWorkflowHandle<typeof publish> | null> {
  const starting = startChild<typeof publish>("publish", {
    workflowId: publishId(input),
    args: [input],
    parentClosePolicy: "ABANDON",
    cancellationType: "ABANDON",
    staticSummary: `publish ${input.view}`,
    typedSearchAttributes: attributesOf("publish", input.view),
  });
  return starting.catch((error: unknown) => {
    if (error instanceof WorkflowExecutionAlreadyStartedError) return null;
    throw error;
  });
}

function publishId(input: PublishInput): string {
  return idsOf(workflowInfo().taskQueue).publish(input);
}

/** What a publish has done, in Markdown. */
export function wordsOfPublish(result: PublishResult | null): string[] {
  if (result === null) return [];
  const { outcome, end, generation, written, withdrawn, missing, frozen, durable } = result;
  const held =
    missing === null
      ? []
      : [
          `\n⚠ \`[${missing.start}, ${missing.end})\` is missing; what is committed after it ${result.covered ? "waits for it" : "is served without it"}.`,
        ];
  const what = {
    published: [
      `Published up to **${end ?? ""}**.`,
      "",
      "| entities written | withdrawn | publish |",
      "|---|---|---|",
      `| ${written} | ${withdrawn} | ${generation ?? ""} |`,
    ],
    current: [`Published up to **${end ?? ""}** already.`],
    frozen: [`⚠ Frozen at **${end ?? ""}**: ${frozen ?? ""}.`],
    nothing: ["Nothing can be published yet."],
  }[outcome];
  const lost = durable
    ? []
    : [
        "\n⚠ Redis appends to no file, so a crash of it costs what was published; a worker publishes it again.",
      ];
  return ["", ...what, ...held, ...lost];
}
