import assert from "node:assert/strict";
import { createPoller, type Poller } from "../../serving/poller.ts";
import { until } from "../support/until.ts";

describe("a reader in the background", () => {
  /** Reads that wait to be answered, in the order in which they began. */
  let reads: Read[];
  let told: string[];
  let poller: Poller<number>;
  const start = (pauseMs = 1e9) => {
    poller = createPoller({
      read() {
        const read = waitingRead();
        reads.push(read);
        return read.promise;
      },
      pauseMs: () => pauseMs,
      onFailing: (error) => void told.push((error as Error).message),
    });
  };
  beforeEach(() => {
    reads = [];
    told = [];
  });
  afterEach(() => poller.close());

  it("answers any number of calls by two reads, of which none is older than its call", async () => {
    start();
    const first = poller.refresh();
    const later = Array.from({ length: 100 }, () => poller.refresh());
    assert.equal(reads.length, 1);
    assert.equal(poller.isReading(), true);
    reads[0]?.resolve(1);
    assert.equal(await first, 1);
    assert.equal(reads.length, 2);
    // One that comes while the second is read is answered by a third.
    const last = poller.refresh();
    reads[1]?.resolve(2);
    assert.deepEqual(new Set(await Promise.all(later)), new Set([2]));
    assert.equal(reads.length, 3);
    reads[2]?.resolve(3);
    assert.equal(await last, 3);
    assert.equal(poller.isReading(), false);
  });

  it("never has two reads under way, whenever it is called", async () => {
    let [underWay, most] = [0, 0];
    poller = createPoller({
      async read() {
        most = Math.max(most, ++underWay);
        await Promise.resolve();
        underWay--;
        return 0;
      },
      pauseMs: () => 1e9,
    });
    const calls: Promise<number>[] = [];
    for (let i = 0; i < 50; i++) {
      calls.push(poller.refresh(), poller.join());
      await Promise.resolve();
    }
    await Promise.all(calls);
    assert.equal(most, 1);
  });

  it("joins the read that is under way where that is enough", async () => {
    start();
    const all = [poller.join(), poller.join()];
    reads[0]?.resolve(1);
    assert.deepEqual(await Promise.all(all), [1, 1]);
    assert.equal(reads.length, 1);
  });

  it("goes on after failures, of which it tells the first in a row", async () => {
    start();
    const fail = async (message: string) => {
      const read = poller.refresh();
      reads.at(-1)?.reject(new Error(message));
      await assert.rejects(read, { message });
    };
    await fail("one");
    await fail("two");
    const read = poller.refresh();
    reads.at(-1)?.resolve(0);
    await read;
    await fail("three");
    assert.deepEqual(told, ["one", "three"]);
  });

  it("answers those who wait behind a read that fails", async () => {
    start();
    const [first, second] = [poller.refresh(), poller.refresh()];
    reads[0]?.reject(new Error("one"));
    await assert.rejects(first);
    reads[1]?.resolve(2);
    assert.equal(await second, 2);
  });

  it("reads by itself until it is closed", async () => {
    start(1);
    for (const length of [1, 2, 3]) {
      await until(`read ${length}`, () => reads.length === length);
      if (length === 2) reads[1]?.reject(new Error("no matter"));
      else reads.at(-1)?.resolve(0);
    }
    poller.close();
    poller.soon();
    assert.equal(reads.length, 3);
  });
});

/** A read that ends when the test says so. */
interface Read {
  readonly promise: Promise<number>;
  readonly resolve: (value: number) => void;
  readonly reject: (error: Error) => void;
}

function waitingRead(): Read {
  let [resolve, reject]: [Read["resolve"], Read["reject"]] = [() => undefined, () => undefined];
  const promise = new Promise<number>((...both) => ([resolve, reject] = both));
  return { promise, resolve, reject };
}
