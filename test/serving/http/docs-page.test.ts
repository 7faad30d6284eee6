import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { FastifyInstance } from "fastify";
import type { Browser } from "playwright-core";
import { findOnPath } from "../../../dev/processes.ts";
import { type Catalogue, type Service, serviceNamed } from "../../../engine/catalogue.ts";
import { buildApp } from "../../../serving/http/app.ts";
import { preparePage } from "../../../serving/http/docs-page.ts";
import type { Lookup } from "../../../serving/lookup.ts";
import { createLookup } from "../../../serving/lookup.ts";
import { describeApi } from "../../../serving/http/openapi.ts";
import { routes } from "../../../serving/http/routes.ts";
import { launchChromium } from "../../support/chromium.ts";
import type { ExampleStore } from "../../support/http/example-store.ts";
import { fillExampleStore } from "../../support/http/example-store.ts";
import { hostileCatalogue } from "../../support/engine/hostile-catalogue.ts";

const run = promisify(execFile);

describe("the page of the API", () => {
  let example: ExampleStore;
  const opened: { readonly app: FastifyInstance; readonly lookup: Lookup }[] = [];
  before(async () => {
    example = await fillExampleStore();
  });
  afterEach(async () => {
    for (const { app, lookup } of opened.splice(0)) {
      await app.close();
      lookup.close();
    }
  });
  after(() => example.stop());

  function open(catalogue: Catalogue): FastifyInstance {
    const { serving, redis } = example;
    const lookup = createLookup({ catalogue, redis: serving, prefix: redis.prefix });
    const app = buildApp({ catalogue, lookup, log: "silent" });
    opened.push({ app, lookup });
    return app;
  }

  it("has a place to link to for each route, service and schema, and no link to nowhere", async () => {
    const app = open(example.catalogue);
    const { body } = await app.inject("/docs");
    const ids = new Set([...body.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id));
    for (const { id } of routes) assert.ok(ids.has(id), id);
    for (const name of example.catalogue.services.keys()) assert.ok(ids.has(`service.${name}`));
    const links = [...body.matchAll(/ href="#([^"]+)"/g)].map(([, id]) => id);
    assert.ok(links.length > 50);
    for (const id of links) assert.ok(ids.has(id), `#${id} leads nowhere`);
  });

  it("forbids scripts and whatever else could be loaded, and has none", async () => {
    const { body, headers } = await open(hostileCatalogue()).inject("/docs");
    assert.match(
      String(headers["content-security-policy"]),
      /^default-src 'none'; style-src 'sha256-[^']+'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$/,
    );
    assert.equal(headers["content-type"], "text/html; charset=utf-8");
    assert.equal(headers["x-content-type-options"], "nosniff");
    assert.doesNotMatch(body, /<script|<link|<img|<iframe| on\w+=| style=/i);
    assert.match(body, /&#60;script&#62;document\.title = &#34;run&#34;&#60;\/script&#62;/);
  });

  it("shows no host that could be no host", async () => {
    const app = open(example.catalogue);
    for (const [host, shown] of [
      ["features.example.org:8080", "http://features.example.org:8080/v1/features"],
      ["[::1]:80", "http://[::1]:80/v1/features"],
      ['"><script>x</script>', "http://127.0.0.1:8080/v1/features"],
      ["a'; rm -rf ~; '", "http://127.0.0.1:8080/v1/features"],
    ] as const) {
      const { body } = await app.inject({ url: "/docs", headers: { host } });
      assert.ok(body.includes(shown), host);
      assert.ok(!body.includes("rm -rf"));
    }
  });

  it("is made once, whatever the hosts, and plans no service twice", async () => {
    let looked = 0;
    class Counted<V> extends Map<string, V> {
      override get(name: string): V | undefined {
        looked++;
        return super.get(name);
      }
    }
    const services = Array.from({ length: 40 }, (_, i): [string, Service] => {
      const name = `model_${i}`;
      return [name, { ...serviceNamed(example.catalogue, "model_x"), name }];
    });
    const app = open({ ...example.catalogue, services: new Counted(services) });
    const pages = new Set<string>();
    for (const host of ["a.example", "b.example", "a.example", "c.example:80"]) {
      const { body } = await app.inject({ url: "/docs", headers: { host } });
      assert.ok(body.includes(`&#39;http://${host}/v1/features&#39;`), host);
      pages.add(body.replaceAll(host, "HOST"));
    }
    assert.equal(pages.size, 1);
    assert.ok(looked <= 5 * services.length, `${looked} look-ups of a service`);
  });

  it("keeps an origin within its quotes, whatever it is", () => {
    const { catalogue } = example;
    const page = preparePage(catalogue, describeApi(catalogue, {}), {})("http://a'<b>$&");
    assert.ok(
      page.includes(`curl -sS &#39;http://a&#39;\\&#39;&#39;&#60;b&#62;$&#38;/v1/services&#39;`),
    );
  });

  it("has examples that a shell runs as they are", async function () {
    if (findOnPath("curl", process.env) === undefined) this.skip();
    const app = open(example.catalogue);
    const address = await app.listen({ port: 0, host: "127.0.0.1" });
    const page = await (await fetch(`${address}/docs`)).text();
    const commands = [...page.matchAll(/<pre>([^]*?)<\/pre>/g)]
      .map(([, text = ""]) =>
        text.replaceAll(/&#(\d+);/g, (_, code) => String.fromCharCode(Number(code))),
      )
      .filter((command) => command.includes("-d "));
    assert.equal(commands.length, 2 * example.catalogue.services.size);
    for (const command of commands) {
      const { stdout } = await run("sh", ["-c", command]);
      assert.ok("results" in (JSON.parse(stdout) as object), command);
    }
  });

  it("shows with its commands where the key goes, if callers need one", () => {
    const { catalogue } = example;
    const terms = { asksWho: true };
    const pageAt = preparePage(catalogue, describeApi(catalogue, terms), terms);
    const page = pageAt("http://127.0.0.1:8080");
    const keys = page.split("-H &#34;authorization: Bearer $ONCEFLOW_KEY&#34;").length - 1;
    assert.equal(keys, page.split("<pre>").length - 1);
  });

  describe("in a browser", function () {
    this.timeout(60_000);
    let browser: Browser | undefined;
    before(async function () {
      // Installing a browser takes minutes on a new machine.
      this.timeout(900_000);
      browser = await launchChromium();
      if (browser === undefined) {
        console.log("There is no Chromium on the PATH, and apt-get may not be used.");
        this.skip();
      }
    });
    after(() => browser?.close());

    it("shows hostile words as text, styled, without a request or a complaint", async () => {
      const address = await open(hostileCatalogue()).listen({ port: 0, host: "127.0.0.1" });
      const page = await browser!.newPage();
      const asked: string[] = [];
      const said: string[] = [];
      page.on("request", (request) => asked.push(new URL(request.url()).pathname));
      page.on("console", (message) => said.push(message.text()));
      page.on("pageerror", (error) => said.push(error.message));
      await page.goto(`${address}/docs`);
      assert.equal(await page.title(), "onceflow HTTP API");
      assert.ok((await page.getByText("<script>document.title").count()) >= 2);
      assert.equal(await page.locator("script").count(), 0);
      assert.equal(
        await page.evaluate(`getComputedStyle(document.querySelector("table")).borderCollapse`),
        "collapse",
      );
      await page.locator('nav a[href="#getFeatures"]').click();
      await page.locator("#getFeatures").waitFor();
      assert.equal(new URL(page.url()).hash, "#getFeatures");
      await page.locator("pre").first().click();
      assert.match(
        String(await page.evaluate(`String(getSelection())`)),
        /^curl -sS 'http:\/\/127\.0\.0\.1:\d+\/v1\/services'$/,
      );
      assert.deepEqual(
        asked.filter((path) => path !== "/favicon.ico"),
        ["/docs"],
      );
      assert.deepEqual(said, []);
    });
  });
});
