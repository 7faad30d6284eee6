import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assert as check, integer, property } from "fast-check";
import { withRedis } from "../../cli/context.ts";
import { buildCatalogue, viewNamed } from "../../engine/catalogue.ts";
import { entity, featureView, int64, source, string, sum } from "../../engine/index.ts";
import { decodeSnapshot } from "../../engine/snapshot.ts";
import { pointerRequest } from "../../store/ledger.ts";
import { createLedger } from "../../store/ledger.ts";
import { type MaterializeResult, slicesOf } from "../../workflows/contract.ts";
import { type Deployment, startDeployment } from "../support/temporal/deployment.ts";
import { startOwnWorker } from "../support/temporal/own-worker.ts";

const shards = source("shards", {
  files: "shards/*.csv",
  entity: entity("thing", { key: "id" }),
  columns: { id: string, x: int64 },
});
const catalogue = buildCatalogue({
  shards: {
    shards,
    x_sum: sum(shards.columns.x),
    shards_view: featureView("shards", { source: shards, stores: [shards.columns.x] }),
  },
});

describe("A run over many files", function () {
  this.timeout(120_000);
  let deployment: Deployment;
  before(async () => {
    deployment = await startDeployment();
  });
  after(() => deployment.stop());

  it("takes each file once, in at most 32 slices", () => {
    check(
      property(integer({ min: 0, max: 20_000 }), (files) => {
        const slices = slicesOf(files);
        assert.ok(slices.length <= 32);
        let next = 0;
        for (const { from, to } of slices) {
          assert.equal(from, next);
          assert.ok(to > from);
          next = to;
        }
        assert.equal(next, files);
      }),
    );
  });

  it("keeps its history below 4000 events and its payloads below 32 KiB", async () => {
    const files = 300;
    const settings = deployment.withPrefix();
    const own = { ...settings, dataDir: join(settings.offlineDir, "data") };
    mkdirSync(join(own.dataDir, "shards"), { recursive: true });
    for (let i = 0; i < files; i++)
      writeFileSync(join(own.dataDir, "shards", `${i}.csv`), `id,x\nthing-${i},${i}\n`);
    const view = viewNamed(catalogue, "shards");
    const stop = await startOwnWorker(own, catalogue);
    try {
      const input = {
        view: "shards",
        start: "1970-01-01T00:00:00.000Z",
        end: "2026-01-01T00:00:00.000Z",
        fingerprint: view.fingerprint,
        definition: view.definition,
      };
      const handle = await deployment.runs.client.workflow.start("materialize", {
        args: [input],
        taskQueue: own.queue,
        workflowId: `${own.queue}/many-files`,
      });
      const { rows, published } = (await handle.result()) as MaterializeResult;
      assert.deepEqual([rows, published?.written], [files, files]);
      const { events } = await handle.fetchHistory();
      assert.ok((events ?? []).length < 4000, `${events?.length} events`);
      for (const event of events ?? [])
        assert.ok(JSON.stringify(event).length < 32 * 1024, String(event.eventType));
    } finally {
      await stop();
    }
    const [pointers] = await withRedis(own, "writing", (redis) =>
      createLedger(redis, own).readPointers([pointerRequest(view)]),
    );
    const { id = "", body = "" } = pointers?.latest ?? {};
    const { values } = decodeSnapshot(view.aggregates, id, body);
    assert.deepEqual([...values.values()], [(files * (files - 1)) / 2]);
  });
});
