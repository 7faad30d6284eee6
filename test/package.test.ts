/** The package as its users have it: packed, unpacked into a project, and the code of docs/clients.md. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { bundleWorkflowCode, DefaultLogger } from "@temporalio/worker";
import { type TestRedis, testRedis } from "./support/redis/server.ts";
import { startServer } from "./support/http/server-process.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../", import.meta.url));

/** The files and outputs that docs/clients.md shows, by the name of the file. */
async function readExamples(): Promise<Map<string, { text: string; output: string | undefined }>> {
  const page = await readFile(join(root, "docs/clients.md"), "utf8");
  const blocks = [...page.matchAll(/```ts file=(\S+)\n(.*?)```(?:\s+```text output\n(.*?)```)?/gs)];
  assert.equal(blocks.length, page.split("```ts").length - 1, "each block of code names its file");
  assert.equal(
    blocks.filter(([, , , output]) => output !== undefined).length,
    page.split("```text output").length - 1,
  );
  return new Map(blocks.map(([, file = "", text = "", output]) => [file, { text, output }]));
}

const tsconfig = {
  compilerOptions: {
    target: "es2023",
    module: "nodenext",
    strict: true,
    types: ["node"],
    // The types of polars have errors of their own.
    noEmit: true,
    skipLibCheck: true,
  },
  include: ["**/*.ts"],
};

describe("the package", function () {
  this.timeout(300_000);
  let project: string;
  /** What the compiler says of the project. */
  let compilerOutput: string;
  let redis: TestRedis;
  let examples: Awaited<ReturnType<typeof readExamples>>;
  const installed = (...path: readonly string[]) =>
    join(project, "node_modules", "onceflow", ...path);
  before(async () => {
    redis = await testRedis();
    examples = await readExamples();
    project = await mkdtemp(join(tmpdir(), "onceflow-project-"));
    await install();
    for (const [file, { text }] of examples) {
      await mkdir(dirname(join(project, file)), { recursive: true });
      await writeFile(join(project, file), text);
    }
    await writeFile(join(project, "package.json"), '{"type":"module"}');
    await writeFile(join(project, "tsconfig.json"), JSON.stringify(tsconfig));
    await onceflow(["types", "--out", "onceflow-types.ts"]);
    compilerOutput = await compile("--noEmit", "false", "--outDir", "built");
  });
  after(async () => {
    await redis.stop();
    await rm(project, { recursive: true, force: true });
  });

  /**
   * Does what `npm install` of the tarball would, from what is on this machine: it unpacks it, and
   * links its dependencies, what a TypeScript project has, and the commands.
   */
  async function install(): Promise<void> {
    const packed = await run("npm", ["pack", "--json", "--pack-destination", project], {
      cwd: root,
    });
    const [tarball] = JSON.parse(packed.stdout.slice(packed.stdout.indexOf("["))) as [
      { filename: string },
    ];
    await mkdir(installed(), { recursive: true });
    const archive = join(project, tarball.filename);
    await run("tar", ["-xzf", archive, "-C", installed(), "--strip-components=1"]);
    const { dependencies, bin } = await manifest();
    for (const name of [...Object.keys(dependencies), "@types/node", "tsx"]) {
      const link = join(project, "node_modules", name);
      await mkdir(dirname(link), { recursive: true });
      await symlink(join(root, "node_modules", name), link);
    }
    await mkdir(join(project, "node_modules/.bin"));
    for (const [name, path] of Object.entries(bin)) {
      await chmod(installed(path), 0o755);
      await symlink(installed(path), join(project, "node_modules/.bin", name));
    }
  }

  async function manifest() {
    return JSON.parse(await readFile(installed("package.json"), "utf8")) as {
      readonly dependencies: Record<string, string>;
      readonly bin: Record<string, string>;
      readonly exports: Record<string, string | { types: string; default: string }>;
    };
  }

  /** Runs a command of the package in the project. */
  const onceflow = (args: readonly string[], env: NodeJS.ProcessEnv = {}, cwd = project) =>
    run(join(project, "node_modules/.bin/onceflow"), args, {
      cwd,
      env: { ...process.env, ...env },
    });
  /** Compiles the project; answers what the compiler says, nothing where all is well. */
  const compile = (...args: readonly string[]) =>
    run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), ...args], {
      cwd: project,
    }).then(
      ({ stdout }) => stdout,
      (error: unknown) => (error as { stdout: string }).stdout,
    );

  it("holds what it exports and runs, and no tests, sources or examples", async () => {
    const files = await readdir(installed(), { recursive: true });
    const { bin, exports } = await manifest();
    for (const target of Object.values(exports).flatMap((each) =>
      typeof each === "string" ? each : Object.values(each),
    ))
      assert.ok(files.includes(target.slice(2)), target);
    for (const path of Object.values(bin))
      assert.match(await readFile(installed(path), "utf8"), /^#!\/usr\/bin\/env node\n/);
    for (const script of await readdir(join(root, "store/lua")))
      assert.ok(files.includes(join("dist/store/lua", script)), script);
    assert.ok(files.includes("LICENSE"));
    const top = new Set(files.map((file) => file.split("/").slice(0, 2).join("/")));
    for (const folder of ["test", "features", "bench", "dev", "examples"])
      assert.ok(!top.has(folder) && !top.has(`dist/${folder}`), folder);
    assert.deepEqual(
      files.filter((file) => file.endsWith(".ts") && !file.endsWith(".d.ts")),
      [],
    );
    assert.deepEqual(
      files.filter((file) => file.includes(".test.")),
      [],
    );
  });

  it("lists the features of the project's own folder, written in TypeScript", async () => {
    const { stdout } = await onceflow(["catalogue", "--json"]);
    const { views, services } = JSON.parse(stdout) as Record<string, { name: string }[]>;
    assert.deepEqual(
      [views?.map(({ name }) => name), services?.map(({ name }) => name)],
      [["orders"], ["checkout"]],
    );
  });

  it("names its commands as they are called where it is installed, and where it is built", async () => {
    for (const [folder, prefix] of [
      [installed(), "npx onceflow"],
      [root, "node dist/"],
    ] as const) {
      const helpOf = async (program: string) => {
        const args = [join(folder, `dist/${program}.js`), "--help"];
        return (await run(process.execPath, args, { cwd: project })).stdout;
      };
      const [client, server, worker] =
        folder === root ? ["client.js", "server.js", "worker.js"] : ["", "-server", "-worker"];
      const cli = await helpOf("client");
      assert.ok(cli.startsWith(`Usage: ${prefix}${client} COMMAND`), cli);
      const service = await helpOf("server");
      assert.ok(service.startsWith(`Usage: ${prefix}${server} [--processes N]`), service);
      assert.ok(service.includes(`(API keys: ${prefix}${client} keys)`), service);
      const polls = await helpOf("worker");
      assert.ok(polls.startsWith(`Usage: ${prefix}${worker} [--queue offline|online]`), polls);
    }
  });

  it("compiles every example of the docs against its own types and those that it writes", async () => {
    assert.equal(compilerOutput, "");
    await onceflow(["types", "--out", "onceflow-types.ts", "--check"]);
    const wrong = join(project, "wrong.ts");
    const text = examples.get("over-http.ts")?.text ?? "";
    for (const [right, slip, said] of [
      ["amount_per_item", "amount_per_itme", /error TS2551: .*Did you mean 'amount_per_item'/],
      ['"checkout"', '"chekout"', /error TS2345: Argument of type '"chekout"' is not assignable/],
      ["basket: 20", "baskt: 20", /error TS2\d+: .*'baskt' does not exist in type/],
    ] as const) {
      await writeFile(wrong, text.replace(right, slip));
      const told = await compile();
      assert.match(told, /^wrong\.ts\(\d+,\d+\): /);
      assert.match(told, said);
      // Of several signatures the compiler would tell what each of them misses.
      assert.doesNotMatch(told, /overload/);
    }
    await rm(wrong);
  });

  it("answers the examples of the docs by its own server, and in the process", async () => {
    const server = startServer(
      { REDIS_URL: redis.url, ONCEFLOW_METRICS_PORT: "0" },
      { command: join(project, "node_modules/.bin/onceflow-server"), args: [], cwd: project },
    );
    try {
      const env = { ...process.env, ONCEFLOW_URL: await server.listening(), REDIS_URL: redis.url };
      const shown = [...examples].filter(
        ([file, { output }]) => output !== undefined || file.includes(".test."),
      );
      assert.equal(shown.length, 4);
      for (const [file, { output = "" }] of shown) {
        const args = ["--import", "tsx", file];
        assert.equal(
          (await run(process.execPath, args, { cwd: project, env })).stdout,
          output,
          file,
        );
      }
      const [, metrics = ""] = /metrics at (\S+)/.exec(server.out()) ?? [];
      const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as {
        version: string;
      };
      assert.ok((await (await fetch(metrics)).text()).includes(`version="${version}"`), metrics);
    } finally {
      await server.kill();
    }
  });

  it("loads features by tsx also where Node says that it runs TypeScript", async () => {
    // What such a Node says; of itself it would look for the orders.js that index.ts names.
    const says = 'Object.defineProperty(process.features,"typescript",{value:"strip"})';
    const { stdout } = await onceflow(["catalogue", "--json"], {
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(says)}`,
    });
    assert.match(stdout, /"name":"checkout"/);
  });

  it("takes built features where it is told, without tsx", async () => {
    await rm(join(project, "node_modules/tsx"));
    const { stdout } = await onceflow(["catalogue", "--json"], {
      ONCEFLOW_FEATURES: "built/features/index.js",
    });
    assert.match(stdout, /"name":"checkout"/);
    const runsTypeScript = "typescript" in process.features && Boolean(process.features.typescript);
    if (!runsTypeScript)
      await refuses(
        onceflow(["catalogue"]),
        /^CONFIG_INVALID .*index\.ts is TypeScript, which Node .* does not run, and tsx is not there/,
      );
    await refuses(
      onceflow(["catalogue"], { ONCEFLOW_FEATURES: "none.js" }),
      /^CONFIG_INVALID ONCEFLOW_FEATURES is "none\.js", and there is no file/,
    );
    await refuses(
      onceflow(["catalogue"], {}, tmpdir()),
      /^CONFIG_INVALID there are no features: .*features has no index\.ts and no index\.js\. Start in the folder of the project/,
    );
  });

  it("has workflows that Temporal can bundle where they are", async () => {
    const { code } = await bundleWorkflowCode({
      workflowsPath: installed("dist/workflows"),
      payloadConverterPath: installed("dist/client/payload-converter"),
      logger: new DefaultLogger("ERROR"),
    });
    assert.match(code, /materialize/);
  });

  it("has a payload converter that Temporal can load", async () => {
    const program = `
      import { Client } from "@temporalio/client";
      import { dataConverter } from "onceflow/temporal";
      const { payloadConverter } = new Client({ dataConverter }).options.loadedDataConverter;
      process.stdout.write(payloadConverter.toPayload(9007199254740993n).data);`;
    await writeFile(join(project, "converter.mjs"), program);
    const { stdout } = await run(process.execPath, ["converter.mjs"], { cwd: project });
    assert.equal(stdout, '"9007199254740993"');
  });

  async function refuses(work: Promise<unknown>, message: RegExp): Promise<void> {
    await assert.rejects(work, (error) => {
      assert.match((error as { stderr: string }).stderr, message);
      return true;
    });
  }
});
