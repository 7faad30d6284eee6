import assert from "node:assert/strict";
import { defaultLoadLimits } from "../../serving/http/overload.ts";
import type { FaultReport } from "../support/http/faults.ts";
import { failovers, redisFaults } from "../support/http/faults.ts";

/** What a server may answer while its Redis fails. */
const outcomes = [
  "200",
  "503 OVERLOADED",
  "503 STORE_LOST",
  "503 STORE_UNAVAILABLE",
  "504 DEADLINE_EXCEEDED",
];

/** Bounds for machines that do much else; test/long has the strict ones, and that of recovery. */
function assertHolds(report: FaultReport): void {
  const told = JSON.stringify(report);
  for (const outcome of Object.keys(report.outcomes)) assert.ok(outcomes.includes(outcome), told);
  assert.ok(report.slowestMs < defaultLoadLimits.deadlineMs + 6_000, told);
  // Where the system does not tell, it is NaN.
  assert.ok(!(report.memoryMb >= 150), told);
  // Of an entity that has a row, nobody may say that it is unknown.
  for (const status of report.statuses) assert.equal(status, "PRESENT", told);
}

describe("a server under load while Redis fails", function () {
  this.timeout(300_000);

  it("answers in time, keeps no memory and recovers, and tells an empty store from unknown entities", async () => {
    const reports = await redisFaults({ perSecond: 200, lastsMs: 1_200 });
    for (const report of reports) assertHolds(report);
    const [killed, hung, , , empty] = reports;
    assert.ok(killed?.outcomes["503 STORE_UNAVAILABLE"]);
    assert.ok(hung?.outcomes["503 STORE_UNAVAILABLE"]);
    assert.ok(empty?.outcomes["503 STORE_LOST"]);
  });

  it("answers in time while a master dies or hangs, and follows the failover", async () => {
    for (const report of await failovers({ perSecond: 200, lastsMs: 0 })) assertHolds(report);
  });
});
