import assert from "node:assert/strict";
import { callerOfAddress } from "../../../serving/auth/addresses.ts";
import { createRateLimit } from "../../../serving/auth/rate-limit.ts";

describe("rate limits", () => {
  /** How many of the requests that come every `everyMs` for `seconds` get through. */
  function passed(
    rate: { perSecond: number; burst: number },
    { everyMs, seconds }: { everyMs: number; seconds: number },
  ): number {
    let nowMs = 12_345.678;
    const limit = createRateLimit(rate, () => nowMs);
    let count = 0;
    for (const endMs = nowMs + seconds * 1000; nowMs < endMs; nowMs += everyMs)
      if (limit("one") === 0) count++;
    return count;
  }

  for (const [perSecond, burst] of [
    [1, 1],
    [7, 3],
    [100, 200],
    [999, 1],
    [1000, 2000],
  ] as const)
    it(`let ${perSecond} requests a second through, and ${burst} at once`, () => {
      const asked = { everyMs: 1000 / (perSecond * 10), seconds: 60 };
      const wanted = burst + perSecond * 60;
      const count = passed({ perSecond, burst }, asked);
      assert.ok(count <= wanted && count >= 0.99 * wanted - 2, `${count} of ${wanted}`);
    });

  it("let all through that come no faster", () => {
    assert.equal(passed({ perSecond: 50, burst: 1 }, { everyMs: 20, seconds: 100 }), 5000);
  });

  it("say how long to wait, and keep to it", () => {
    let nowMs = 0;
    const limit = createRateLimit({ perSecond: 2, burst: 3 }, () => nowMs);
    for (let i = 0; i < 3; i++) assert.equal(limit("one"), 0);
    assert.equal(Math.round(limit("one")), 500);
    assert.equal(limit("two"), 0);
    nowMs += 499;
    assert.equal(Math.round(limit("one")), 1);
    nowMs += 1;
    assert.equal(limit("one"), 0);
    assert.equal(Math.round(limit("one")), 500);
  });

  it("forget the caller unheard of for longest beyond 10 000, and none that goes on to ask", () => {
    const limit = createRateLimit({ perSecond: 0.001, burst: 1 }, () => 0);
    limit("first");
    limit("busy");
    for (let i = 0; i < 9_998; i++) limit(`${i}`);
    assert.ok(limit("busy") > 0);
    limit("one more");
    assert.ok(limit("busy") > 0);
    assert.equal(limit("first"), 0);
  });

  it("take an IPv4 address as itself and an IPv6 address by its /64", () => {
    for (const [address, caller] of [
      ["10.1.2.3", "10.1.2.3"],
      ["::ffff:10.1.2.3", "10.1.2.3"],
      ["::FFFF:10.1.2.3", "10.1.2.3"],
      ["::ffff:0a01:0203", "10.1.2.3"],
      ["0:0:0:0:0:FFFF:a01:203", "10.1.2.3"],
      ["[::ffff:10.1.2.3]:443", "10.1.2.3"],
      ["10.1.2.3:5678", "10.1.2.3"],
      ['"10.1.2.3:5678"', "10.1.2.3"],
      ["[2001:db8:1:2:3:4:5:6]:443", "2001:db8:1:2::/64"],
      ["[2001:DB8:1:2::]", "2001:db8:1:2::/64"],
      ["2001:db8:1:2:3:4:10.1.2.3", "2001:db8:1:2::/64"],
      ["::1:10.1.2.3", "0:0:0:0::/64"],
      ["64:ff9b::10.1.2.3", "64:ff9b:0:0::/64"],
      ["unknown", "no address"],
      ["_x:1", "no address"],
      ["", "no address"],
      ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
      ["2001:0db8:0001:0002::1", "2001:db8:1:2::/64"],
      ["2001:db8::1", "2001:db8:0:0::/64"],
      ["fe80::1%eth0", "fe80:0:0:0::/64"],
      ["::1", "0:0:0:0::/64"],
      ["::", "0:0:0:0::/64"],
    ] as const)
      assert.equal(callerOfAddress(address), caller);
  });
});
