import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { ApplicationFailure } from "@temporalio/common";
import { idsOf, type PublishInput } from "../../workflows/contract.ts";
import { withRedis } from "../../cli/context.ts";
import { connectRuns } from "../../cli/temporal.ts";
import { translate } from "../../cli/temporal-errors.ts";
import { viewNamed } from "../../engine/catalogue.ts";
import { createLedger } from "../../store/ledger.ts";
import { buildDependent, iso } from "../support/temporal/dependent-views.ts";
import { type Deployment, startDeployment } from "../support/temporal/deployment.ts";
import { holdActivity, holdPublishes } from "../support/temporal/own-worker.ts";
import { type WithWorker, workersOf } from "../support/temporal/interval-tools.ts";
import { failsWith } from "../support/fails-with.ts";
import { until } from "../support/until.ts";

/** `orders` has rows alone; `totals` has an aggregate over event time, so that a gap holds it back. */
const catalogue = buildDependent(() => ({}));

describe("The publish workflow", function () {
  this.timeout(120_000);
  let deployment: Deployment;
  let withWorker: WithWorker;
  before(async () => {
    deployment = await startDeployment();
    withWorker = workersOf(deployment);
  });
  after(() => deployment.stop());

  it("is one at a time for a view: runs that commit meanwhile join it, or come after it", async () => {
    const held = holdPublishes("totals");
    await withWorker(
      catalogue,
      async ({ start, handleOf, published }) => {
        const first = await start("totals", 1);
        await until("its publish is under way", () => held.begun === 1);
        const others = [await start("totals", 2), await start("totals", 3)];
        for (const date of [2, 3])
          await until("it has committed, and joins that publish", async () => {
            const { raw } = await handleOf("totals", date).describe();
            return (raw.pendingActivities ?? []).some(
              ({ activityType }) => activityType?.name === "joinPublish",
            );
          });
        assert.equal(await published("totals"), null);
        assert.equal(held.begun, 1);
        held.letGo();
        const results = await Promise.all([first, ...others].map((run) => run.result()));
        // The first publish reads what is committed only now, so it saw all three; who joined it
        // and was told of less would have begun the second.
        for (const { published: own } of results) assert.equal(own?.end, iso(4));
        assert.equal((await published("totals"))?.endMs, Date.parse(iso(4)));
        assert.ok(held.begun <= 2, `${held.begun} publishes`);
      },
      {},
      {},
      held.before,
    );
  });

  it("follows a backfill once, whatever the number of its intervals", async () => {
    const held = holdPublishes();
    await withWorker(
      catalogue,
      async ({ backfill, published }) => {
        const { committed, published: own } = await (await backfill("totals", 1, 6)).result();
        assert.equal(committed, 5);
        assert.deepEqual([own.outcome, own.end, own.covered], ["published", iso(6), true]);
        assert.equal(held.begun, 1);
        assert.equal((await published("totals"))?.endMs, Date.parse(iso(6)));
      },
      {},
      {},
      held.before,
    );
  });

  it("follows a backfill that was cancelled, with what it had committed", async () => {
    await withWorker(catalogue, async ({ backfill, deliver, published }) => {
      deliver(1);
      // Nobody delivers the other days, so their runs wait.
      const run = await backfill("orders", 1, 4);
      await until("a day is committed", async () => (await run.progress()).committed === 1);
      assert.equal(await published("orders"), null);
      await run.cancel();
      await assert.rejects(run.result());
      await until(
        "that day is published",
        async () => (await published("orders"))?.endMs === Date.parse(iso(2)),
      );
    });
  });

  it("is left alone by the cancellation of a run that waits for it", async () => {
    const held = holdPublishes("totals");
    await withWorker(
      catalogue,
      async ({ start, settings, published, states }) => {
        const run = await start("totals", 1);
        await until("its publish is under way", () => held.begun === 1);
        await run.cancel();
        await assert.rejects(run.result());
        assert.deepEqual(await states("totals", [1]), ["done"]);
        const [logged] = await withRedis(settings, "writing", (redis) =>
          createLedger(redis, settings).readRuns("totals", 1),
        );
        assert.equal(logged?.outcome, "committed");
        held.letGo();
        await until("it has published", async () => (await published("totals")) !== null);
        assert.equal(held.begun, 1);
      },
      {},
      {},
      held.before,
    );
  });

  it("is what a deadline waits for, while what depends on the view needs the commit alone", async () => {
    const held = holdPublishes("orders");
    const calls: string[] = [];
    const server = createServer((request, response) => {
      request.on("data", (bytes) => calls.push(String(bytes)));
      request.on("end", () => response.writeHead(204).end());
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const secret = `whsec_${Buffer.from("twenty-four bytes of key").toString("base64")}`;
    try {
      await withWorker(
        buildDependent(),
        async ({ start, deliver, published }) => {
          deliver(1);
          const late = { at: new Date(Date.now() + 2000).toISOString(), webhooks: ["oncall"] };
          const orders = await start("orders", 1, { late });
          await until("its publish is under way", () => held.begun === 1);
          assert.equal((await (await start("totals", 1)).result()).published?.end, iso(2));
          await until("somebody was told", () => calls.length === 1);
          assert.match(calls[0] ?? "", /"type":"interval\.late"/);
          assert.equal(await published("orders"), null);
          held.letGo();
          assert.equal((await orders.result()).published?.outcome, "published");
        },
        {},
        { oncall: { url, secret } },
        held.before,
      );
    } finally {
      server.close();
    }
  });

  it("follows a schedule also where that joined a run of a backfill, which publishes later", async () => {
    const [run, publishes] = [holdActivity("validateRun"), holdPublishes()];
    await withWorker(
      catalogue,
      async ({ settings }) => {
        const { client } = deployment.runs;
        const { fingerprint, definition } = viewNamed(catalogue, "totals");
        const named = { view: "totals", fingerprint, definition };
        const today = new Date().setUTCHours(0, 0, 0, 0);
        const [start, end] = [today - 86_400_000, today].map((ms) => new Date(ms).toISOString());
        const input = { ...named, start: start ?? "", end: end ?? "" };
        const begun = await client.workflow.start("materialize", {
          args: [{ ...input, publishes: false }],
          taskQueue: settings.queue,
          workflowId: idsOf(settings.queue).interval(input),
        });
        const fired = await client.workflow.start("scheduled", {
          args: [named],
          taskQueue: settings.queue,
          workflowId: `${settings.queue}/fired`,
        });
        await until("it joins the run", async () => {
          const { raw } = await fired.describe();
          return (raw.pendingActivities ?? []).some(
            ({ activityType }) => activityType?.name === "joinRun",
          );
        });
        run.letGo();
        await begun.result();
        await fired.result();
        assert.equal(publishes.begun, 1);
      },
      {},
      {},
      async (name, given) => {
        await run.before(name);
        await publishes.before(name, given);
      },
    );
  });

  it("is made up for by a run that finds its interval committed", async () => {
    await withWorker(catalogue, async ({ start, published }) => {
      const left = await (await start("totals", 1, { publishes: false })).result();
      assert.deepEqual([left.outcome, left.published], ["committed", null]);
      assert.equal(await published("totals"), null);
      const again = await (await start("totals", 1)).result();
      assert.deepEqual([again.outcome, again.published?.outcome], ["covered", "published"]);
      assert.equal((await published("totals"))?.endMs, Date.parse(iso(2)));
    });
  });

  it("says what is missing before what was committed, and publishes it all once that is there", async () => {
    await withWorker(catalogue, async ({ start, published }) => {
      const held = await (await start("totals", 2)).result();
      assert.equal(held.published?.outcome, "nothing");
      assert.deepEqual(held.published.missing, { start: iso(1), end: iso(2) });
      assert.equal(await published("totals"), null);
      const filled = await (await start("totals", 1)).result();
      assert.deepEqual([filled.published?.end, filled.published?.missing], [iso(3), null]);
    });
  });

  it("fails with its code, and with it the run that waits; what is committed stays", async () => {
    let isDown = true;
    const before = (name: string) => {
      if (name === "publishView" && isDown)
        throw ApplicationFailure.nonRetryable("the disk is gone", "OFFLINE_UNAVAILABLE");
    };
    await withWorker(
      catalogue,
      async ({ start, settings, states, published }) => {
        const run = await start("totals", 1);
        const failing = run.result().catch((error: unknown) => {
          throw translate(error, settings);
        });
        await failsWith(failing, "OFFLINE_UNAVAILABLE", /the disk is gone/);
        assert.deepEqual(await states("totals", [1]), ["done"]);
        isDown = false;
        const again = await (await start("totals", 1)).result();
        assert.deepEqual([again.outcome, again.published?.outcome], ["covered", "published"]);
        assert.ok(await published("totals"));
      },
      {},
      {},
      before,
    );
  });

  it("keeps what is served while it is frozen, goes back, and resumes", async () => {
    await withWorker(catalogue, async ({ start, settings, published }) => {
      const { fingerprint, definition } = viewNamed(catalogue, "totals");
      const runs = await connectRuns(settings);
      const publish = async (how: Partial<PublishInput>) =>
        (await runs.startPublish({ view: "totals", fingerprint, definition, ...how })).result();
      try {
        await (await start("totals", 1)).result();
        assert.equal((await publish({ freeze: "wrong prices" })).outcome, "published");
        const kept = await (await start("totals", 2)).result();
        assert.deepEqual(
          [kept.outcome, kept.published?.outcome, kept.published?.frozen, kept.published?.end],
          ["committed", "frozen", "wrong prices", iso(2)],
        );
        const resumed = await publish({ resume: true });
        assert.deepEqual([resumed.outcome, resumed.end], ["published", iso(3)]);
        const back = await publish({ backTo: 1 });
        assert.deepEqual([back.outcome, back.end], ["published", iso(2)]);
        assert.match((await published("totals"))?.frozen ?? "", /went back to publish 1/);
        await failsWith(publish({ backTo: 99 }), "REQUEST_INVALID", /no publish 99/);
      } finally {
        await runs.close();
      }
    });
  });
});
