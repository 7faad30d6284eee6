import assert from "node:assert/strict";
import { defaultLoadLimits } from "../../serving/http/overload.ts";
import { failovers, redisFaults } from "../support/http/faults.ts";

/** The strict bounds: for a machine that does nothing else. */
describe("a server at 500 requests/s while Redis fails", function () {
  this.timeout(600_000);

  for (const [name, run, lastsMs, recoveryMs] of [
    ["one Redis, each fault for 30 s", redisFaults, 30_000, 6_000],
    ["Sentinels", failovers, 10_000, 10_000],
  ] as const)
    it(`answers within its deadline and 50 ms, keeps 50 MB at most, and recovers: ${name}`, async () => {
      const reports = await run({ perSecond: 500, lastsMs });
      for (const report of reports) {
        console.log(JSON.stringify(report));
        const told = JSON.stringify(report);
        assert.ok(report.slowestMs <= defaultLoadLimits.deadlineMs + 50, told);
        assert.ok(report.recoveryMs <= recoveryMs, told);
        // Where the system does not tell, it is NaN.
        assert.ok(!(report.memoryMb > 50), told);
        assert.ok(
          report.statuses.every((status) => status === "PRESENT"),
          told,
        );
        assert.ok(!("0" in report.outcomes), told);
      }
    });
});
