import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { nativePackage, requirePolars } from "../../../engine/compile/polars.ts";
import { failureOf } from "../../support/fails-with.ts";

describe("polars at start-up", () => {
  it("loads where its native part is installed", async () => {
    await requirePolars();
    assert.ok(createRequire(import.meta.url).resolve(nativePackage()));
  });

  it("says by name what is missing, and the fix", async () => {
    const error = await failureOf(() =>
      requirePolars(() => Promise.reject(new Error("Cannot find module"))),
    );
    assert.equal(error.code, "POLARS_MISSING");
    assert.ok(error.message.includes(`"${nativePackage()}" (Cannot find module)`));
    assert.match(error.message, /npm ci --include=optional/);
  });
});
