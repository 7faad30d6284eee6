import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client, Connection } from "@temporalio/client";
import { ApplicationFailure, type Payload, RawValue } from "@temporalio/common";
import { NativeConnection, Worker } from "@temporalio/worker";
import type { FastifyInstance } from "fastify";
import { connectRuns, type Runs } from "../../cli/temporal.ts";
import { payloadConverter } from "../../client/payload-converter.ts";
import { dataConverter } from "../../client/temporal.ts";
import { startProgram } from "../../dev/application.ts";
import type { OwnedProcess } from "../../dev/processes.ts";
import { parseJson } from "../../engine/json-text.ts";
import { buildApp } from "../../serving/http/app.ts";
import { createLookup, type Lookup } from "../../serving/lookup.ts";
import { readSettings, type Settings } from "../../settings.ts";
import { queuesOf } from "../../workflows/contract.ts";
import { type ExampleStore, fillExampleStore } from "../support/http/example-store.ts";
import { testTemporal } from "../support/temporal/deployment.ts";

/** JSON text as the payload that every SDK makes of it. */
const payloadOf = (text: string): Payload => ({
  metadata: { encoding: Buffer.from("json/plain") },
  data: Buffer.from(text),
});
const textOf = ({ data }: Payload): string => Buffer.from(data ?? []).toString();

describe("The payload converter", () => {
  it("writes what JSON has no number for as the wire has it, and plain JSON for the rest", () => {
    const value = {
      ...{ large: 9007199254740993n, small: -1n, zero: -0, nan: NaN, most: -Infinity },
      ...{ text: 'a "number"', list: [1.5, null, undefined, new Date(0)], none: undefined },
    };
    const payload = payloadConverter.toPayload(value);
    assert.equal(Buffer.from(payload.metadata?.["encoding"] ?? []).toString(), "json/plain");
    assert.equal(
      textOf(payload),
      '{"large":"9007199254740993","small":"-1","zero":-0.0,"nan":"NaN","most":"-Infinity",' +
        '"text":"a \\"number\\"","list":[1.5,null,null,"1970-01-01T00:00:00.000Z"]}',
    );
    const read = payloadConverter.fromPayload<{ zero: number }>(payload);
    assert.ok(Object.is(read.zero, -0));
  });

  it("keeps the text of every number that a double would round, whatever stands around it", () => {
    const text =
      '{"__proto__":{"number":9007199254740991.4},"numberx":["number1.5",-0.0,1e-400,{},[]]}';
    assert.equal(textOf(payloadConverter.toPayload(parseJson(text))), text);
    const read = payloadConverter.fromPayload(payloadOf(text));
    assert.equal(textOf(payloadConverter.toPayload(read)), text);
  });

  it("keeps bytes and undefined as Temporal does, and refuses text that is no UTF-8", () => {
    for (const value of [undefined, new Uint8Array([0, 255])])
      assert.deepEqual(payloadConverter.fromPayload(payloadConverter.toPayload(value)), value);
    const cut = { ...payloadOf(""), data: Buffer.from([0x22, 0xc3, 0x22]) };
    assert.throws(() => payloadConverter.fromPayload(cut), TypeError);
    assert.throws(() => payloadConverter.toPayload(() => 1), /Unable to convert/);
  });
});

describe("Numbers through Temporal", function () {
  this.timeout(120_000);
  let example: ExampleStore;
  let settings: Settings;
  let worker: OwnedProcess;
  let runs: Runs;
  let client: Client;
  let lookup: Lookup;
  let app: FastifyInstance;
  const folder = mkdtempSync(join(tmpdir(), "onceflow-numbers-"));
  before(async () => {
    const [{ address }, store] = await Promise.all([testTemporal(), fillExampleStore()]);
    example = store;
    const { url: redisUrl, prefix } = example.redis;
    settings = { ...readSettings({}), redisUrl, prefix, queue: prefix, temporalAddress: address };
    runs = await connectRuns(settings);
    client = new Client({ connection: await Connection.connect({ address }) });
    const args = ["worker.ts", "--queue", "online"];
    worker = await startProgram("online worker", args, settings, folder, /worker polls/);
    const { catalogue, serving } = example;
    lookup = createLookup({ catalogue, redis: serving, prefix });
    app = buildApp({ catalogue, lookup, log: "silent" });
  });
  after(async () => {
    await worker.stop();
    await app.close();
    lookup.close();
    await client.connection.close();
    await runs.close();
    await example.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** A request for an int64 and a float64 column, which it brings itself. */
  const requestOf = (pet: string, load: string) =>
    `{"features":["absences.pet","absences.work_load_average_per_day"],"inputs":{"pet":${pet},"work_load_average_per_day":${load}}}`;
  let calls = 0;
  const options = () => ({
    id: `${settings.queue}-${calls++}`,
    taskQueue: queuesOf(settings.queue).online,
    scheduleToCloseTimeout: "20 s" as const,
  });
  /** The values, or the code and message, of a caller of any language. */
  async function ask(text: string): Promise<unknown> {
    const request = new RawValue(payloadOf(text), {
      toPayload: (payload) => payload as Payload,
      fromPayload: () => assert.fail(),
    });
    try {
      return valuesOf(
        await client.activity.execute("getOnlineFeatures", { ...options(), args: [request] }),
      );
    } catch (error) {
      const { cause } = error as Error;
      assert.ok(cause instanceof ApplicationFailure, String(error));
      return `${cause.type} ${cause.message}`;
    }
  }
  const valuesOf = (answer: unknown) =>
    Object.values(
      (answer as { results: readonly { features: object }[] }).results[0]?.features ?? {},
    ) as unknown;

  for (const [pet, load, expected] of [
    ["9007199254740993", "1", /^VALUE_INVALID .*pet is 9007199254740992; expected int64/],
    ["9007199254740991.4", "1", /^VALUE_INVALID .*pet is 9007199254740991\.4; expected int64/],
    ["4503599627370497.5", "1", /^VALUE_INVALID .*pet is 4503599627370497\.5; expected int64/],
    ['"9007199254740993"', "9007199254740991.4", ["9007199254740993", 9007199254740991]],
    ["-0", "-0.0", [0, "-0"]],
    ["9007199254740991.0", '"NaN"', [9007199254740991, "NaN"]],
  ] as const)
    it(`are what HTTP makes of them: ${pet}, ${load}`, async () => {
      const text = requestOf(pet, load);
      const response = await app.inject({
        method: "POST",
        url: "/v1/features",
        headers: { "content-type": "application/json" },
        payload: text,
      });
      const body: { code?: string; detail?: string } = response.json();
      const overHttp = response.statusCode === 200 ? valuesOf(body) : `${body.code} ${body.detail}`;
      assert.deepEqual(await ask(text), overHttp);
      if (expected instanceof RegExp) assert.match(String(overHttp), expected);
      else assert.deepEqual(overHttp, expected);
    });

  const inputs = { pet: 9007199254740993n, work_load_average_per_day: -0 };
  const features = ["absences.pet", "absences.work_load_average_per_day"];

  it("leave a client of TypeScript as they are", async () => {
    const answer = await runs.getFeatures({ features, inputs });
    assert.deepEqual(valuesOf(answer), ["9007199254740993", "-0"]);
    await assert.rejects(
      runs.getFeatures(parseJson(requestOf("9007199254740991.4", "1"))),
      /VALUE_INVALID|pet is 9007199254740991\.4/,
    );
  });

  it("pass through a workflow as they are", async () => {
    const { temporalAddress: address, queue } = settings;
    const connection = await NativeConnection.connect({ address });
    const workflows = await Worker.create({
      connection,
      dataConverter,
      taskQueue: `${queue}-pass-on`,
      workflowsPath: fileURLToPath(new URL("./fixtures/pass-on.ts", import.meta.url)),
    });
    const passOn = (request: unknown) =>
      new Client({ connection, dataConverter }).workflow.execute<
        (request: unknown, queue: string) => Promise<unknown>
      >("passOn", {
        args: [request, queuesOf(queue).online],
        taskQueue: `${queue}-pass-on`,
        workflowId: `${queue}-pass-on-${calls++}`,
      });
    await workflows.runUntil(async () => {
      assert.deepEqual(valuesOf(await passOn({ features, inputs })), ["9007199254740993", "-0"]);
      const rounded = parseJson(requestOf('"1"', "9007199254740991.4"));
      assert.deepEqual(valuesOf(await passOn(rounded)), [1, 9007199254740991]);
      await assert.rejects(passOn(parseJson(requestOf("9007199254740991.4", "1"))), (error) => {
        const { cause } = (error as Error).cause as Error;
        assert.ok(cause instanceof ApplicationFailure);
        return cause.type === "VALUE_INVALID" && /is 9007199254740991\.4;/.test(cause.message);
      });
    });
    await connection.close();
  });
});
