import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import type { Browser, Page } from "playwright-core";
import { toEnvironment } from "../../dev/application.ts";
import { writeBadges } from "../../dev/example-data.ts";
import { connectRuns } from "../../cli/temporal.ts";
import { withRedis } from "../../cli/context.ts";
import { silentProgress } from "../../cli/progress.ts";
import { startTemporal, type TemporalService } from "../../dev/temporal.ts";
import { loadCatalogue, viewNamed } from "../../engine/catalogue.ts";
import { idsOf } from "../../workflows/contract.ts";
import type { Settings } from "../../settings.ts";
import { createLedger } from "../../store/ledger.ts";
import { launchChromium } from "../support/chromium.ts";
import { type Deployment, startDeployment } from "../support/temporal/deployment.ts";
import { cli, cliJson } from "../support/run-cli.ts";
import { until } from "../support/until.ts";

const days = 30;
const images = "docs/images";

/** The pictures of the docs: `UPDATE_SCREENSHOTS=1` takes them anew. */
async function picture(page: Page, name: string): Promise<void> {
  if (process.env["UPDATE_SCREENSHOTS"] !== "1") return;
  mkdirSync(images, { recursive: true });
  await page.screenshot({ path: `${images}/${name}.png`, animations: "disabled" });
}

describe("The Temporal UI in a browser", function () {
  this.timeout(180_000);
  let deployment: Deployment;
  let temporal: TemporalService;
  let settings: Settings;
  let browser: Browser;
  let page: Page;

  before(async function () {
    // Installing a browser takes minutes on a new machine.
    this.timeout(900_000);
    const launched = await launchChromium();
    if (launched === undefined) {
      console.log("There is no Chromium on the PATH, and apt-get may not be used.");
      this.skip();
    }
    browser = launched;
    // A server of its own: its lists hold nothing else, as a user's do.
    temporal = await startTemporal({ progress: silentProgress });
    deployment = await startDeployment();
    settings = { ...deployment.settings, temporalAddress: temporal.address, queue: "onceflow" };
    writeBadges(settings.dataDir, Date.parse("2026-01-01"), days, 300);
    page = await browser.newPage({
      timezoneId: "UTC",
      viewport: { width: 1280, height: 960 },
    });
    page.setDefaultTimeout(15_000);
  });
  after(async () => {
    await browser?.close();
    await deployment?.stop();
    await temporal?.stop();
  });

  const open = (path: string) => page.goto(`${temporal.uiUrl}/namespaces/default/${path}`);

  it("backfills a schedule's range from the dialog as it opens", async () => {
    const env = toEnvironment(settings);
    await deployment.startWorker(settings);
    const applied = await cli(["apply"], env);
    assert.equal(applied.code, 0, applied.err);

    await open(`schedules/${encodeURIComponent(idsOf("onceflow").schedule("badges"))}`);
    await page.getByRole("button", { name: "Schedule Actions" }).click();
    await page.getByRole("menuitem", { name: "Backfill" }).click();
    const dialog = page.getByRole("dialog").filter({ hasText: "Schedule Backfill" });
    // The slots of the days [01-01, 01-31) are at 02:00 of the next day.
    await setTime("start", "01/02/2026");
    await setTime("end", "01/31/2026", ["23", "59", "59"]);
    await picture(page, "backfill");
    await dialog.getByRole("button", { name: "Schedule" }).click();
    await dialog.waitFor({ state: "hidden" });

    interface Grid {
      readonly counts: Readonly<Record<string, number>>;
    }
    await until("the ledger is full", async () => {
      const grid = await cliJson<Grid>(["partitions", "badges", "--to", "2026-01-31"], env);
      return grid.counts["done"] === days;
    });
    const catalogue = await loadCatalogue(() => import("../../features/index.ts"));
    const { coverage } = await withRedis(settings, "writing", (redis) =>
      createLedger(redis, settings).readLedger(
        "badges",
        viewNamed(catalogue, "badges").fingerprint,
      ),
    );
    assert.deepEqual(
      [...coverage.values()].map(({ generation }) => generation),
      Array<number>(days).fill(1),
    );

    await open(`schedules/${encodeURIComponent(idsOf("onceflow").schedule("badges"))}`);
    await page.getByText("Recent Runs").first().click();
    await picture(page, "schedule");
  });

  it("lists the intervals by view and kind, each completed", async () => {
    const query = 'OnceflowView = "badges" AND OnceflowKind = "materialize"';
    const path = `workflows?query=${encodeURIComponent(query)}&per-page=50`;
    await until("the list shows all", async () => {
      await open(path);
      await page.locator("tbody tr").first().waitFor();
      return (await page.locator("tbody tr").count()) >= days;
    });
    const rows = await page.locator("tbody tr").allInnerTexts();
    assert.equal(rows.filter((row) => /Completed/i.test(row)).length, days, rows.join("\n"));
    await picture(page, "runs");
  });

  it("says on a run's page what it does and how far it is", async () => {
    const runs = await connectRuns(settings);
    try {
      const run = await runs.startBackfill({
        view: "badges",
        from: "2026-01-01",
        to: "2026-01-31",
        reprocess: "all",
        maxParallel: 1,
      });
      await until("a few are committed", async () => (await run.progress()).committed >= 3);
      await open(`workflows/${encodeURIComponent(run.workflowId)}`);
      await page.getByText("User Metadata").first().click();
      // The UI renders Markdown in a frame.
      const details = page.frameLocator("#user-metadata-current-details");
      const words = details.getByText(/of 30 intervals done/).first();
      await words.waitFor();
      await picture(page, "run");
      await run.result();
    } finally {
      await runs.close();
    }
  });

  async function setTime(
    which: "start" | "end",
    date: string,
    [hour, minute, second] = ["00", "00", "00"],
  ): Promise<void> {
    const field = (name: string) => page.getByTestId(`backfill-${which}-${name}`);
    await field("date").fill(date);
    await page.getByText("Close", { exact: true }).click();
    await field("hour").fill(hour ?? "");
    await field("minute").fill(minute ?? "");
    await field("second").fill(second ?? "");
  }
});
