import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, Connection } from "@temporalio/client";
import { defaultPayloadConverter } from "@temporalio/common";
import { traceHeader } from "../../../activities/tracing.ts";
import { startProgram } from "../../../dev/application.ts";
import type { OwnedProcess } from "../../../dev/processes.ts";
import { readSettings, type Settings } from "../../../settings.ts";
import { queuesOf } from "../../../workflows/contract.ts";
import { testTemporal } from "../../support/temporal/deployment.ts";
import type { ExampleStore } from "../../support/http/example-store.ts";
import { fillExampleStore } from "../../support/http/example-store.ts";
import type { OtlpReceiver, ReceivedSpan } from "../../support/http/otlp.ts";
import { startOtlpReceiver } from "../../support/http/otlp.ts";
import { type RunningServer, startServer } from "../../support/http/server-process.ts";
import { until } from "../../support/until.ts";

const traceId = "0af7651916cd43dd8448eb211c80319c";
const callerId = "b7ad6b7169203331";
const traceparent = `00-${traceId}-${callerId}-01`;

describe("traces", function () {
  this.timeout(90_000);
  const folder = mkdtempSync(join(tmpdir(), "onceflow-traces-"));
  const canary = "canary-entity-4711";
  let example: ExampleStore;
  let receiver: OtlpReceiver;
  let settings: Settings;
  const servers: RunningServer[] = [];
  let worker: OwnedProcess | undefined;
  before(async () => {
    example = await fillExampleStore();
    receiver = await startOtlpReceiver();
    const { url: redisUrl, prefix } = example.redis;
    settings = { ...readSettings({}), redisUrl, prefix, queue: prefix };
  });
  after(async () => {
    await Promise.all([worker?.stop(), ...servers.map((each) => each.kill())]);
    await receiver.stop();
    await example.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function askerOf(server: RunningServer) {
    const url = `${await server.listening()}/v1/features`;
    return (id: string, headers: Record<string, string> = {}, feature = "badges.door") =>
      fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify({ features: [feature], entities: [{ id }] }),
      });
  }
  function start(endpoint: string): RunningServer {
    const server = startServer({
      REDIS_URL: example.redis.url,
      ONCEFLOW_PREFIX: example.redis.prefix,
      ONCEFLOW_DRAIN_SECONDS: "0",
      OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
      OTEL_BSP_SCHEDULE_DELAY: "20",
      OTEL_EXPORTER_OTLP_TIMEOUT: "500",
    });
    servers.push(server);
    return server;
  }
  /** The spans of the trace, once these have come. */
  async function spansNamed(...names: readonly string[]): Promise<ReceivedSpan[]> {
    const found = () => names.map((name) => receiver.spans.find((span) => span.name === name));
    await until(`spans ${names.join(", ")}`, () => !found().includes(undefined));
    return found() as ReceivedSpan[];
  }
  const attribute = (span: ReceivedSpan | undefined, name: string) =>
    Object.values(span?.attributes.find(({ key }) => key === name)?.value ?? {})[0] as unknown;

  it("have a request and its read of the store below the caller's span", async () => {
    const ask = await askerOf(start(receiver.url));
    const response = await ask(canary, { traceparent, "x-request-id": "r-1" });
    assert.equal(response.status, 200);
    const [request, read] = await spansNamed("POST /v1/features", "read rows");
    assert.equal(request?.traceId, traceId);
    assert.equal(request?.parentSpanId, callerId);
    assert.equal(attribute(request, "http.response.status_code"), 200);
    assert.equal(attribute(request, "onceflow.request_id"), "r-1");
    assert.equal(read?.traceId, traceId);
    assert.equal(read?.parentSpanId, request?.spanId);
    assert.equal(attribute(read, "onceflow.rows"), 1);
    const [from, to] = [read, request].map((span) => BigInt(span?.startTimeUnixNano ?? 0));
    assert.ok((from ?? 0n) >= (to ?? 0n), "the read began before its request");
    assert.ok(BigInt(read?.endTimeUnixNano ?? 0) <= BigInt(request?.endTimeUnixNano ?? 0));

    // Requests at the same time do not take each other's reads.
    const ids = Array.from({ length: 20 }, (_, i) => `${i + 1}`.padStart(32, "0"));
    await Promise.all(ids.map((id) => ask(canary, { traceparent: `00-${id}-${callerId}-01` })));
    const complete = () =>
      ids.every((id) => receiver.spans.filter((span) => span.traceId === id).length === 2);
    await until("two spans of each trace", complete);
    for (const id of ids) {
      const own = receiver.spans.filter((span) => span.traceId === id);
      const parent = own.find(({ name }) => name === "POST /v1/features");
      assert.equal(own.find(({ name }) => name === "read rows")?.parentSpanId, parent?.spanId);
    }
    // What is wrong says so by its code, and nothing tells of whom was asked.
    assert.equal((await ask(canary, {}, "none")).status, 404);
    await until("the code of the refusal", () =>
      receiver.spans.some((span) => attribute(span, "error.type") === "UNKNOWN_FEATURE"),
    );
    assert.ok(!receiver.bodies.some((body) => body.includes(canary)));
  });

  it("change nothing where nobody receives them", async () => {
    const closed = await startOtlpReceiver();
    await closed.stop();
    const server = start(closed.url);
    const ask = await askerOf(server);
    // More spans than the queue takes.
    for (let i = 0; i < 1_200; i += 100) {
      const answers = await Promise.all(Array.from({ length: 100 }, () => ask("11")));
      for (const each of answers) assert.equal(each.status, 200);
    }
    await until("a line that says so", () => server.errors().includes("traces are lost"));
    assert.equal(server.errors().match(/traces are lost/g)?.length, 1);
    server.child.kill("SIGTERM");
    // It is ended with code 1 where what it has to close takes longer than it may.
    assert.equal(await server.exit, 0);
  });

  it("go through Temporal to the online activity, by the header of its SDKs", async () => {
    const temporal = await testTemporal();
    settings = { ...settings, temporalAddress: temporal.address };
    const args = ["worker.ts", "--queue", "online"];
    worker = await startProgram("traced worker", args, settings, folder, /worker polls/, {
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_BSP_SCHEDULE_DELAY: "20",
      ONCEFLOW_METRICS_PORT: "0",
    });
    const connection = await Connection.connect({ address: temporal.address });
    try {
      const ofCaller = "1af7651916cd43dd8448eb211c80319c";
      const carrier = { traceparent: `00-${ofCaller}-${callerId}-01` };
      const client = new Client({
        connection,
        interceptors: {
          activity: [
            {
              start: (input, next) =>
                next({
                  ...input,
                  headers: { [traceHeader]: defaultPayloadConverter.toPayload(carrier) },
                }),
            },
          ],
        },
      });
      await client.activity.execute("getOnlineFeatures", {
        id: `traced-${settings.queue}`,
        taskQueue: queuesOf(settings.queue).online,
        startToCloseTimeout: "10 s",
        args: [{ features: ["badges.door"], entities: [{ id: "11" }] }],
      });
      const complete = () => receiver.spans.filter((span) => span.traceId === ofCaller);
      await until("both spans", () => complete().length === 2);
      const activity = complete().find(({ name }) => name === "RunActivity:getOnlineFeatures");
      assert.equal(activity?.parentSpanId, callerId);
      const read = complete().find(({ name }) => name === "read rows");
      assert.equal(read?.parentSpanId, activity?.spanId);
    } finally {
      await connection.close();
    }
    const log = readFileSync(join(folder, "traced-worker.log"), "utf8");
    const url = /onceflow metrics at (\S+)/.exec(log)?.[1] ?? "";
    const text = await (await fetch(url)).text();
    // Ours and those of Temporal's SDK, on one endpoint.
    assert.match(text, /^onceflow_store_read_rows_total 1$/m);
    assert.match(text, /^temporal_activity_execution_latency_seconds_bucket/m);
  });
});
