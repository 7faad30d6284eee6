import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  bundleWorkflowCode,
  DefaultLogger,
  type ReplayResult,
  Worker,
  type WorkflowBundleWithSourceMap,
} from "@temporalio/worker";
import { DeterminismViolationError } from "@temporalio/workflow";
import { dataConverter } from "../../client/temporal.ts";
import * as workflows from "../../workflows/index.ts";
import * as changed from "./fixtures/changed/index.ts";
import { historyFromJson } from "./fixtures/history-json.ts";
import {
  fileOf,
  historiesFolder,
  mapPayloads,
  outcomeNames,
  problemsOf,
  type RecordedHistory,
} from "./fixtures/outcomes.ts";

const again = "record them: node --import tsx test/support/temporal/record-histories.ts";
const eventsLimit = 4000;
const payloadLimit = 32 * 1024;

/** Paths of a machine; `/data` is what the recorder writes for the folder of its deployment. */
const machinePath = /(?:file:\/\/|["' (])\/(?!data\b)[\w.-]+\/[\w.-]+|[A-Z]:\\\\/;

describe("Recorded histories", function () {
  this.timeout(60_000);
  const histories = new Map<string, RecordedHistory>();

  before(() => {
    for (const name of outcomeNames)
      histories.set(name, JSON.parse(readFileSync(fileOf(name), "utf8")) as RecordedHistory);
  });

  /** Replays all, and answers with the results by the name of the history. */
  async function replay(folder: string): Promise<Map<string, ReplayResult>> {
    const workflowBundle: WorkflowBundleWithSourceMap = await bundleWorkflowCode({
      workflowsPath: fileURLToPath(new URL(folder, import.meta.url)),
      ...dataConverter,
      logger: new DefaultLogger("ERROR"),
    });
    // Ids of children begin with the name of the queue, which the types leave out of a replay.
    const options = { workflowBundle, dataConverter, taskQueue: "onceflow" };
    const results = new Map<string, ReplayResult>();
    const named = [...histories].map(([workflowId, history]) => ({
      workflowId,
      history: historyFromJson(history),
    }));
    for await (const result of Worker.runReplayHistories(options, named))
      results.set(result.workflowId, result);
    return results;
  }

  it("are there for every workflow and outcome, and none is left over", () => {
    const files = readdirSync(historiesFolder, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".json"))
      .map((name) => join(historiesFolder, name));
    assert.deepEqual(files.sort(), outcomeNames.map(fileOf).sort(), again);
    const recorded = new Set(outcomeNames.map((name) => name.split(".")[0]));
    assert.deepEqual([...recorded].sort(), Object.keys(workflows).sort());
  });

  it("end as their names say", () => {
    for (const name of outcomeNames) {
      const history = histories.get(name);
      assert.ok(history);
      assert.deepEqual(problemsOf(name, history), [], `${name}: ${again}`);
    }
  });

  it("stay small: 4000 events, and 32 KiB for a payload", () => {
    for (const [name, history] of histories) {
      assert.ok(
        history.events.length <= eventsLimit,
        `${name} has ${history.events.length} events`,
      );
      mapPayloads(history, (text) => {
        const bytes = Buffer.byteLength(text);
        assert.ok(bytes <= payloadLimit, `${name} has a payload of ${bytes} bytes`);
      });
    }
  });

  it("name no machine and none of its folders", () => {
    for (const [name, history] of histories) {
      const text = JSON.stringify(mapPayloads(history, (payload) => JSON.parse(payload)));
      assert.equal(machinePath.exec(text)?.[0], undefined, name);
      for (const [, identity] of text.matchAll(/"\w*identity":"([^"]*)"/gi))
        assert.equal(identity, "worker", name);
    }
  });

  it("replay on the workflows of today", async () => {
    const results = await replay("../../workflows/");
    const failed = [...results].flatMap(([name, { error }]) =>
      error === undefined ? [] : [`${name}: ${error.message}`],
    );
    assert.deepEqual(failed, []);
    assert.deepEqual([...results.keys()].sort(), [...outcomeNames].sort());
  });

  it("are each broken by a workflow that asks for one more activity", async () => {
    assert.deepEqual(Object.keys(changed).sort(), Object.keys(workflows).sort());
    const results = await replay("./fixtures/changed/");
    for (const name of outcomeNames)
      assert.ok(
        results.get(name)?.error instanceof DeterminismViolationError,
        `${name} replays on a changed workflow: ${String(results.get(name)?.error)}`,
      );
  });
});
