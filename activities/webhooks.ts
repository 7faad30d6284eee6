/**
 * Calls the webhooks of an operator, signed after the Standard Webhooks specification: the headers
 * webhook-id (the same for every attempt), webhook-timestamp (seconds) and webhook-signature, the
 * HMAC-SHA256 of `id.timestamp.body`.
 */
import { createHmac } from "node:crypto";
import { Context } from "@temporalio/activity";
import { messageOf, OnceflowError } from "../engine/errors.ts";
import type { RunRef, WebhookEvent } from "../workflows/contract.ts";

/** Where to call, and the secret to sign with, `whsec_` and base64. */
export interface Webhook {
  readonly url: string;
  readonly secret: string;
}

const answerTimeoutMs = 10_000;

/** Makes the activity that calls one. */
export function createWebhooks({
  webhooks,
}: {
  readonly webhooks: Readonly<Record<string, Webhook>>;
}) {
  return {
    /** Calls a webhook of ONCEFLOW_WEBHOOKS. @throws WEBHOOK_FAILED, which is retried */
    async callWebhook(
      request: Omit<RunRef, "generation">,
      name: string,
      event: WebhookEvent,
      reason: string,
    ): Promise<void> {
      const webhook = webhooks[name];
      if (webhook === undefined)
        throw new OnceflowError(
          "CONFIG_INVALID",
          `ONCEFLOW_WEBHOOKS of this worker has no "${name}", which the schedule of view "${request.view}" names. Add it, and restart the workers.`,
        );
      const { view, start, end, fingerprint, runId } = request;
      const body = JSON.stringify({
        type: `interval.${event}`,
        timestamp: new Date().toISOString(),
        data: {
          view,
          start,
          end,
          fingerprint,
          workflow_id: Context.current().info.workflowExecution?.workflowId,
          run_id: runId,
          reason,
        },
      });
      try {
        const response = await fetch(webhook.url, {
          method: "POST",
          body,
          headers: {
            "content-type": "application/json",
            ...signatureOf(webhook, `${runId}.${event}.${name}`, body, Date.now()),
          },
          redirect: "error",
          signal: AbortSignal.timeout(answerTimeoutMs),
        });
        await response.body?.cancel();
        if (!response.ok) throw new Error(`it answered ${response.status}`);
      } catch (error) {
        throw new OnceflowError(
          "WEBHOOK_FAILED",
          `webhook "${name}" did not take the call: ${messageOf(error)}.`,
          { webhook: name },
          error,
        );
      }
    },
  };
}

/** The three headers that say who calls. */
export function signatureOf(
  { secret }: Pick<Webhook, "secret">,
  id: string,
  body: string,
  nowMs: number,
): Readonly<Record<string, string>> {
  const timestamp = String(Math.floor(nowMs / 1000));
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const signature = createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64");
  return {
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    "webhook-signature": `v1,${signature}`,
  };
}
