import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import fc from "fast-check";
import { OnceflowError } from "../../../engine/errors.ts";
import { type Fault, Killed } from "../../support/filling/killable.ts";
import {
  catalogueOf,
  type Ground,
  openGround,
  smallDeployment,
} from "../../support/filling/small-deployment.ts";
import {
  busyIds,
  days,
  fileCount,
  ids,
  type Kind,
  kinds,
  type SmallRow,
  times,
  writeSmallFile,
} from "../../support/filling/small-views.ts";
import { runsOf } from "../../support/property.ts";

/** Something that happens to a deployment. */
type Step =
  | ({ readonly does: "materialize"; readonly day: number; readonly reprocess: boolean } & By)
  | ({ readonly does: "publish"; readonly how: (typeof ways)[number]; readonly back: number } & By)
  | { readonly does: "edit"; readonly file: number; readonly rows: readonly SmallRow[] }
  | { readonly does: "wake"; readonly which: number }
  | { readonly does: "flush" | "copy" | "put back" };
/** Who does it, of which build, and what becomes of them. */
interface By {
  readonly worker: number;
  readonly more: boolean;
  readonly fault: Fault | undefined;
}
const ways = ["plain", "plain", "plain", "whole", "freeze", "back", "resume"] as const;

interface Case {
  readonly kind: Kind;
  readonly files: readonly (readonly SmallRow[])[];
  readonly steps: readonly Step[];
}

const row = (id: fc.Arbitrary<number>): fc.Arbitrary<SmallRow> =>
  fc.record({
    id,
    at: fc.nat(times.length - 1),
    x: fc.option(fc.constantFrom(0, -0, 1, 0.1, 1e16, -3.5)),
    note: fc.option(fc.constantFrom("", "é", "x")),
  });
const busyRows = fc.array(row(fc.nat(busyIds - 1)), { maxLength: 6 });
/** Of ids that nothing changes, so that a change is of a part. */
const otherRows = fc.array(
  row(fc.integer({ min: busyIds, max: ids.length - 1 })).map((each) => ({
    ...each,
    at: 2 + (each.at % 4),
  })),
  { minLength: 20, maxLength: 30 },
);
const fault = fc.option(
  fc.record({
    at: fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 60 })),
    how: fc.constantFrom("before" as const, "after" as const, "halt" as const),
  }),
  { nil: undefined, freq: 1 },
);
const by = { worker: fc.nat(1), more: fc.boolean(), fault };

function stepOf(kind: Kind): fc.Arbitrary<Step> {
  return fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        does: fc.constant("materialize" as const),
        day: fc.nat(days.length - 1),
        reprocess: fc.boolean(),
        ...by,
      }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        does: fc.constant("publish" as const),
        how: fc.constantFrom(...ways),
        back: fc.nat(5),
        ...by,
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        does: fc.constant("edit" as const),
        // The first holds what nothing changes.
        file: fc.integer({ min: 1, max: fileCount(kind) - 1 }),
        rows: busyRows,
      }),
    },
    { weight: 2, arbitrary: fc.record({ does: fc.constant("wake" as const), which: fc.nat(5) }) },
    {
      weight: 2,
      arbitrary: fc.record({ does: fc.constantFrom("flush" as const, "copy", "put back") }),
    },
  );
}

const cases: fc.Arbitrary<Case> = fc.constantFrom(...kinds).chain((kind) =>
  fc.record({
    kind: fc.constant(kind),
    files: fc.tuple(otherRows, ...Array.from({ length: fileCount(kind) - 1 }, () => busyRows)),
    steps: fc.array(stepOf(kind), { minLength: 4, maxLength: 24, size: "max" }),
  }),
);

/** What workers may fail with while others are killed, halted and overtaken. */
const expected = [
  "STORE_LOST",
  "FENCED",
  "OFFLINE_UNAVAILABLE",
  "SOURCE_CHANGED",
  "REQUEST_INVALID",
];

/** Undefined where something failed as it may. */
async function unlessExpected<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    assertExpected(error);
    return undefined;
  }
}

function assertExpected(error: unknown): void {
  if (!(error instanceof Error) || error instanceof Killed) return;
  if (error instanceof OnceflowError && expected.includes(error.code)) return;
  throw error;
}

describe("What is served is a function of what is committed", function () {
  this.timeout(180_000);
  let ground: Ground;
  before(async () => {
    ground = await openGround();
  });
  after(() => ground.close());

  async function follow({ kind, files, steps }: Case): Promise<void> {
    const dataDir = await ground.folderOf(kind, files);
    const all = smallDeployment(ground, kind, dataDir);
    const wakeAll = async (): Promise<void> => {
      while (all.zombies.length > 0) assertExpected(await all.wake(0));
    };
    try {
      await take(kind, all, steps);
      await all.finish();
      const clean = smallDeployment(ground, kind, dataDir);
      try {
        await clean.finish();
        const wanted = await clean.state();
        assert.deepStrictEqual(await all.state(), wanted);
        await wakeAll();
        await all.finish();
        assert.deepStrictEqual(await all.state(), wanted, "after what was halted");
        await rm(dataDir, { recursive: true });
        await all.empty();
        mkdirSync(dataDir);
        for (const more of [true, false]) await all.publish(catalogueOf(kind, more), kind);
        assert.deepStrictEqual(await all.state(), wanted, "without the files");
      } finally {
        clean.close();
      }
    } finally {
      while (all.zombies.length > 0) await all.wake(0);
      all.close();
      await ground.client.flushall();
    }
  }

  /** Takes the steps, and looks after each at what is served. */
  async function take(
    kind: Kind,
    all: ReturnType<typeof smallDeployment>,
    steps: readonly Step[],
  ): Promise<void> {
    let copied: Awaited<ReturnType<typeof all.copy>> | undefined;
    let isLost = false;
    for (const [place, step] of steps.entries()) {
      switch (step.does) {
        case "materialize": {
          const { day, more, ...options } = step;
          const bounds = days[day] as (typeof days)[number];
          await unlessExpected(all.materialize(catalogueOf(kind, more), kind, bounds, options));
          break;
        }
        case "publish": {
          const { how, back, more, ...options } = step;
          const plans = await all.readPlans(all.view);
          const ended = plans.filter(({ publishedAt }) => publishedAt !== null);
          const request = {
            plain: {},
            whole: { whole: true },
            freeze: { freeze: "to look at it" },
            back: { backTo: ended[back % ended.length]?.generation ?? 1 },
            resume: { resume: true },
          }[how];
          const done = await unlessExpected(
            all.publish(catalogueOf(kind, more), kind, request, options),
          );
          if (typeof done === "object" && done.outcome !== "nothing") isLost = false;
          break;
        }
        case "edit":
          await writeSmallFile(all.dataDir, kind, step.file, step.rows);
          break;
        case "wake":
          if (all.zombies.length > 0)
            assertExpected(await all.wake(step.which % all.zombies.length));
          break;
        case "flush":
          await all.empty();
          isLost = true;
          break;
        case "copy":
          copied = await all.copy();
          break;
        case "put back":
          if (copied === undefined) break;
          await all.putBack(copied);
          isLost = true;
      }
      await all.check(isLost, `step ${place}, ${step.does}`);
    }
  }

  it("whatever is corrected, killed, overtaken, lost, put back, frozen and gone back to", async () => {
    await fc.assert(fc.asyncProperty(cases, follow), { ...runsOf(15), endOnFailure: true });
  });
});
