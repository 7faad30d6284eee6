import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { cli, spawnCli } from "../support/run-cli.ts";

const commands = [
  "materialize",
  "rerun",
  "backfill",
  "training-set",
  "publish",
  "scale",
  "cancel",
  "plan",
  "apply",
  "pause",
  "unpause",
  "trigger",
  "partitions",
  "runs",
  "wait",
  "get",
  "explain",
  "lineage",
  "catalogue",
  "status",
  "keys create",
  "keys list",
  "keys rotate",
  "keys revoke",
  "reset",
  "sweep",
  "backup",
  "restore",
];
const root = fileURLToPath(new URL("../../", import.meta.url));

describe("the CLI", () => {
  it("says of each command what it does, its options and two examples", async () => {
    for (const name of commands) {
      const { code, out, err } = await cli([...name.split(" "), "--help"]);
      assert.equal(code, 0);
      assert.equal(err, "");
      assert.match(out, new RegExp(`^Usage: npm run --silent cli -- ${name} `));
      assert.match(out, /--json +write one JSON document/);
      assert.equal(out.split("\nExamples:\n")[1]?.trimEnd().split("\n").length, 2, name);
      for (const line of out.split("\n")) assert.ok(line.length <= 100, line);
    }
    const { out } = await cli(["--help"]);
    for (const name of commands) assert.match(out, new RegExp(`\n  ${name.split(" ")[0]} `));
  });

  it("shows its help on standard error without a command, with exit code 2", async () => {
    const { code, out, err } = await cli([]);
    assert.equal(code, 2);
    assert.equal(out, "");
    assert.match(err, /^Usage: /);
  });

  it("takes no span that is not whole for 0, since what it guards would go at once", async () => {
    for (const option of ["sweep --yes --older-than", "keys rotate 0 --overlap"])
      for (const text of ["0.5 days", "0,5 days", "0 or so", "00", "-0", ""]) {
        const { code, err } = await cli([...option.split(" "), text]);
        assert.equal(code, 2, `${option} "${text}": ${err}`);
        assert.match(err, /^REQUEST_INVALID --[a-z-]+ is ".*"; give a whole number and a unit/);
      }
  });

  const wrong: readonly (readonly [argv: string, code: number, message: RegExp])[] = [
    ["statu", 2, /^REQUEST_INVALID unknown command 'statu' \(Did you mean status\?\)/],
    [
      "get --servce x",
      2,
      /^REQUEST_INVALID unknown option '--servce' \(Did you mean --service\?\)/,
    ],
    ["materialize", 2, /^REQUEST_INVALID missing required argument 'view'/],
    ["status a b", 2, /^REQUEST_INVALID too many arguments/],
    ["get", 2, /^REQUEST_INVALID give --service or --features/],
    ["get --service a --features b", 2, /cannot be used with option/],
    ["get --service a --input x", 2, /--input is "x"; write name=value/],
    ["get --service a --input x=1 --input x=2", 2, /names "x" twice/],
    ["get --service a --input x=1 --inputs-file -", 2, /cannot be used with option/],
    ["get --service a --via post", 2, /Allowed choices are store, http, temporal/],
    ["get --service a --via http --url nowhere", 2, /--url is "nowhere"; write http/],
    ["get --features a,,b", 2, /it has an empty name/],
    ["explain --service model_x --entity id=11", 2, /need --live/],
    ["explain --service model_x --live --with-inputs", 2, /instead of --with-entity/],
    ["lineage --up", 2, /--up needs a name or --tag/],
    ["lineage a --up --down", 2, /cannot be used with option/],
    ["lineage a --tag b", 2, /exclude each other/],
    ["lineage --tag =b", 2, /write a tag/],
    ["reset absences", 2, /Add --yes/],
    ["keys make", 2, /^REQUEST_INVALID unknown command 'make'/],
    ["keys create shop", 2, /^REQUEST_INVALID required option '--scope/],
    ["keys create shop --scope read", 2, /"read" is no scope\..* There are: admin, describe/],
    ["keys create shop --scope describe --expires soon", 2, /--expires is "soon"/],
    ["keys create shop --scope describe --expires 0d", 2, /--expires is "0d"/],
    ["keys create shop --scope describe --expires 999999999weeks", 2, /at most ten years/],
    ["keys rotate 0 --overlap soon", 2, /--overlap is "soon"/],
    ["keys create shop --scope read:service:model_y", 1, /^UNKNOWN_SERVICE .*"model_x"\?/],
    ["keys create shop --scope read:view:absence", 1, /^UNKNOWN_VIEW .*"absences"\?/],
    [
      "materialize absences --start 2026-01-01 --end 2026-02-01",
      2,
      /^REQUEST_INVALID .*leave out --start/,
    ],
    ["training-set model_x --start 2026-01-01", 2, /go together/],
    ["materialize absencs", 1, /^UNKNOWN_VIEW .* Did you mean "absences"\?/],
    [
      "materialize badges --start 2026-01-01 --end 2026-01-01T12:00:00Z",
      1,
      /^INTERVAL_INVALID .* is no interval of the schedule of view "badges"/,
    ],
    [
      "materialize badges --start 2026-01-01 --end 2026-01-04",
      1,
      /^INTERVAL_INVALID .*One is \[2026-01-01, 2026-01-02\).* backfill badges --from 2026-01-01 --to/,
    ],
    [
      "backfill badges --from 2026-13-01 --to 2026-02-01",
      2,
      /^REQUEST_INVALID --from: .*2026-13-01/,
    ],
    [
      "backfill badges --from 2025-01-01 --to 2025-02-01 --dry-run",
      1,
      /^INTERVAL_INVALID no interval of view "badges" lies whole between .* begins at 2026-01-01/,
    ],
    ["sweep --older-than soon", 2, /^REQUEST_INVALID --older-than is "soon"/],
    ["materialize badges", 1, /^INTERVAL_INVALID .*--start and --end/],
    ["materialize absences --end tomorrow", 1, /^INTERVAL_INVALID "tomorrow" is no time/],
    [
      "materialize absences --end 2100-01-01",
      1,
      /^INTERVAL_INVALID the interval .* of view "absences" ends .* ahead of the clock/,
    ],
    [
      "materialize badges --start 2100-01-01 --end 2100-01-02",
      1,
      /^INTERVAL_INVALID .* of view "badges" ends .* ahead of the clock/,
    ],
    ["materialize absences --end 1960-01-01", 1, /^INTERVAL_INVALID .* is empty/],
    ["training-set model_y", 1, /^UNKNOWN_SERVICE .* Did you mean "model_x"\?/],
    ["status absencs", 1, /^UNKNOWN_VIEW/],
    ["explain --features has_pett", 1, /^UNKNOWN_FEATURE .* Did you mean "has_pet"\?/],
    ["explain --service model_x --with-inputs agee", 1, /^UNKNOWN_INPUT .*mean "age"/],
    ["explain --service model_x --with-inputs age", 1, /^MISSING_INPUT/],
    ["lineage is_sumer", 1, /^UNKNOWN_FEATURE .* Did you mean "is_summer"\?/],
    ["get --service a --inputs-file /nonexistent", 1, /^REQUEST_INVALID .*cannot be read/],
    ["get --service a --via http --url http://127.0.0.1:1", 1, /^SERVER_UNAVAILABLE/],
  ];
  for (const [argv, code, message] of wrong)
    it(`answers "${argv}" with exit code ${code} and a coded error`, async () => {
      const result = await cli(argv.split(" "));
      assert.equal(result.code, code);
      assert.equal(result.out, "");
      assert.match(result.err, message);
      assert.match(result.err, /^[A-Z_]+ .*\n$/);
    });

  it("writes errors as JSON too with --json", async () => {
    for (const [argv, code] of wrong) {
      const { out } = await cli([...argv.split(" "), "--json"]);
      const { error } = JSON.parse(out) as { error: Record<string, unknown> };
      assert.deepEqual(Object.keys(error), ["code", "message", "details"], argv);
      assert.equal(out.trimEnd().includes("\n"), false);
      if (code === 2) assert.equal(error["code"], "REQUEST_INVALID");
    }
  });

  it("reads rows from standard input and names the line that is no JSON", async () => {
    const argv = ["get", "--features", "has_pet", "--inputs-file", "-"];
    const bad = await cli(argv, {}, { input: '{"pet":1}\n\n{"pet":\n' });
    assert.match(bad.err, /^REQUEST_INVALID line 3 of standard input is no JSON/);
    const empty = await cli(argv, {}, { input: "\n" });
    assert.match(empty.err, /has no row/);
  });

  it("shows a stack trace only with ONCEFLOW_DEBUG=1", async () => {
    const { err } = await cli(["materialize", "absencs"], { ONCEFLOW_DEBUG: "1" });
    assert.match(err, /\n {4}at /);
  });

  it("names an environment variable that cannot be read", async () => {
    const { code, err } = await cli(["status"], { ONCEFLOW_SOURCES: "[" });
    assert.equal(code, 1);
    assert.match(err, /^CONFIG_INVALID ONCEFLOW_SOURCES/);
  });

  it("gives no stack trace and a documented exit code for any words", async () => {
    const word = fc.oneof(
      fc.constantFrom(...commands, "help", "statu", ""),
      fc.constantFrom(
        "absences",
        "badges",
        "model_x",
        "age_mean",
        "absences.age",
        "nothing",
        "__proto__",
      ),
      fc.constantFrom(
        "--json",
        "--help",
        "-h",
        "--start",
        "--end",
        "2026-01-01",
        "2026-01-02",
        "--no-wait",
        "--reprocess",
        "--service",
        "--features",
        "--entity",
        "id=11",
        "--input",
        "age=33",
        "--inputs-file",
        "-",
        "--snapshot",
        "absences=1",
        "--via",
        "http",
        "--url",
        "--live",
        "--with-inputs",
        "--with-entity",
        "--up",
        "--down",
        "--tag",
        "region=brazil",
        "--yes",
        "--mermaid",
        "--",
        "-",
        "--no",
        "--constructor",
      ),
      fc.string({ unit: "binary", maxLength: 12 }),
    );
    const argv = fc.tuple(fc.constantFrom(...commands), fc.array(word, { maxLength: 6 }));
    const cases = fc.sample(argv, { numRuns: 200, seed: 20_260_101 });
    // Side by side, since what reaches Temporal waits ten seconds for a server that is down.
    await Promise.all(
      cases.map(async ([command, rest]) => {
        const line = [...command.split(" "), ...rest];
        const { code, out, err } = await cli(line, undefined, { input: "{}" });
        const shown = `${JSON.stringify(line)} → ${code}\n${out}${err}`;
        assert.ok([0, 1, 2, 3, 130].includes(code ?? -1), shown);
        assert.doesNotMatch(err, /\n\s+at |INTERNAL/, shown);
        if (code !== 0) assert.match(err, /^(?:[A-Z_]+ |Usage: )/, shown);
        const isHelp = line.some((each) => /^(--help|-h|help)$/.test(each));
        if (line.includes("--json") && !isHelp && out !== "")
          assert.doesNotThrow(() => void JSON.parse(out), shown);
      }),
    );
  }).timeout(30_000);

  it("loads no polars", () => {
    const seen = new Set<string>();
    const packages = new Set<string>();
    const follow = (file: string): void => {
      if (seen.has(file)) return;
      seen.add(file);
      const text = readFileSync(file, "utf8");
      const imports =
        /^(?:import|export)\s+(?!type\b)(?:[^"';]*?from\s+)?"([^"]+)"|import\("([^"]+)"\)/gm;
      for (const [, from, dynamic] of text.matchAll(imports)) {
        const target = from ?? dynamic ?? "";
        if (target.startsWith(".")) follow(resolve(dirname(file), target));
        else packages.add(target);
      }
    };
    follow(resolve(root, "client.ts"));
    // What project.ts finds at run time.
    follow(resolve(root, "features/index.ts"));
    assert.ok(seen.has(resolve(root, "serving/lookup.ts")));
    assert.ok(packages.has("commander") && packages.has("@temporalio/client"));
    assert.equal(packages.has("nodejs-polars"), false);
    const files = readdirSync(resolve(root, "cli"), { recursive: true, encoding: "utf8" });
    for (const file of files.filter((name) => name.endsWith(".ts")))
      assert.ok(seen.has(resolve(root, "cli", file)), `cli/${file} is used`);
  });

  it("has its help in docs/cli.md", async () => {
    const file = resolve(root, "docs/cli.md");
    const parts = await Promise.all(
      [[], ...commands.map((name) => name.split(" "))].map(async (argv) => {
        const { out } = await cli([...argv, "--help"]);
        return `## ${argv.join(" ") || "Overview"}\n\n\`\`\`text\n${out.trimEnd()}\n\`\`\`\n`;
      }),
    );
    const begin = "<!-- The help of every command; UPDATE_SNAPSHOTS=1 rewrites it. -->\n";
    const [intro = ""] = readFileSync(file, "utf8").split(begin);
    const wanted = `${intro}${begin}\n${parts.join("\n")}`;
    if (process.env["UPDATE_SNAPSHOTS"] === "1") writeFileSync(file, wanted);
    assert.equal(readFileSync(file, "utf8"), wanted);
  });
});

describe("the CLI as a process", () => {
  it("answers JSON on standard output and nothing on standard error", async () => {
    const { code, out, err } = await spawnCli(["lineage", "is_summer", "--json"]);
    assert.equal(code, 0);
    assert.equal(err, "");
    assert.equal((JSON.parse(out) as { name: string }).name, "is_summer");
  });

  it("ends quietly when its reader goes away", async () => {
    const { code, err } = await spawnCli(["catalogue"], {}, { closeOut: true });
    assert.equal(err, "");
    assert.equal(code, 0);
  });

  it("says that Redis is down", async () => {
    const { code, out, err } = await spawnCli(["status", "--json"]);
    assert.equal(code, 1);
    assert.match(err, /^STORE_UNAVAILABLE Redis at 127\.0\.0\.1:1 .*\n$/);
    assert.match(out, /^\{"error":\{"code":"STORE_UNAVAILABLE"/);
  });

  it("says within some ten seconds that Temporal is down", async () => {
    const { code, out, err } = await spawnCli(["materialize", "absences"]);
    assert.equal(code, 1);
    assert.equal(out, "");
    assert.match(err, /^TEMPORAL_UNAVAILABLE no Temporal server answers at 127\.0\.0\.1:1 .*\n$/);
  }).timeout(25_000);
});
