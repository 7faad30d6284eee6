import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { parseScrape } from "../../support/http/scrape.ts";
import { until } from "../../support/until.ts";

describe("metrics of several workers", () => {
  let primary: ChildProcess;
  let url: string;
  let withinMs: number;
  before(async () => {
    primary = fork(
      fileURLToPath(new URL("../../support/http/metrics-cluster.ts", import.meta.url)),
      {
        execArgv: ["--import", "tsx"],
      },
    );
    const [message] = (await once(primary, "message")) as [{ url: string; withinMs: number }];
    ({ url, withinMs } = message);
  });
  after(() => primary.kill("SIGKILL"));

  const scrape = async () => parseScrape(await (await fetch(url)).text());

  it("are one scrape, which keeps what a worker counted that is slow or gone", async () => {
    // A worker may be online before it listens to its primary.
    await until("both workers answer", async () => (await scrape()).value("processes") === 2);
    const both = await scrape();
    assert.equal(both.value("requests_total"), 3);
    assert.equal(both.value("age"), 2);

    primary.send({ block: 1 });
    await once(primary, "message");
    const sentMs = performance.now();
    assert.equal((await scrape()).value("requests_total"), 3);
    // It was waited for in vain; a timer may be early by a part of a millisecond.
    assert.ok(performance.now() - sentMs > withinMs - 2, "the worker was not blocked");

    primary.send({ kill: 1 });
    await once(primary, "message");
    const one = await scrape();
    // A sum that fell would look like a restart of all, and so like a burst of requests.
    assert.equal(one.value("requests_total"), 3);
    assert.equal(one.value("processes"), 1);
  });
});
