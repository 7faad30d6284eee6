import assert from "node:assert/strict";
import { commandLine, invocation, type Program, startOne } from "../../engine/invocation.ts";

describe("Command lines in messages", () => {
  const lines = (url: string) =>
    (["client", "server", "worker"] satisfies Program[]).flatMap((program) => [
      commandLine(program, "", url),
      commandLine(program, "--help", url),
    ]);

  it("are those of npm's scripts in a checkout", () => {
    assert.deepEqual(lines("file:///home/me/onceflow/engine/invocation.ts"), [
      "npm run --silent cli",
      "npm run --silent cli -- --help",
      "npm run server",
      "npm run server -- --help",
      "npm run worker",
      "npm run worker -- --help",
    ]);
    assert.equal(invocation, "npm run --silent cli --");
    assert.equal(startOne, "Start one, for example with `npm run dev`,");
  });

  it("are those of the package where it is installed", () => {
    const url = "file:///home/me/shop/node_modules/onceflow/dist/engine/invocation.js";
    assert.deepEqual(lines(url), [
      "npx onceflow",
      "npx onceflow --help",
      "npx onceflow-server",
      "npx onceflow-server --help",
      "npx onceflow-worker",
      "npx onceflow-worker --help",
    ]);
  });

  it("start node in a built tree, as in the image", () => {
    assert.deepEqual(lines("file:///app/dist/engine/invocation.js"), [
      "node dist/client.js",
      "node dist/client.js --help",
      "node dist/server.js",
      "node dist/server.js --help",
      "node dist/worker.js",
      "node dist/worker.js --help",
    ]);
  });
});
