import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FastifyInstance } from "fastify";
import { findFreePorts } from "../../../dev/processes.ts";
import { buildApp } from "../../../serving/http/app.ts";
import type { Access } from "../../../serving/auth/access.ts";
import { openAccess } from "../../../serving/auth/access.ts";
import { createPublicKeys } from "../../../serving/auth/public-keys.ts";
import { createTokens, type Tokens, type TokenSettings } from "../../../serving/auth/tokens.ts";
import type { Lookup } from "../../../serving/lookup.ts";
import { createLookup } from "../../../serving/lookup.ts";
import { accessSettings, addKey, bearer } from "../../support/http/access.ts";
import type { ExampleStore } from "../../support/http/example-store.ts";
import { fillExampleStore } from "../../support/http/example-store.ts";
import {
  encode,
  type KeyServer,
  signatureOf,
  startKeyServer,
  testKey,
  token,
} from "../../support/http/issuer.ts";
import { until } from "../../support/until.ts";

const [issuer, audience] = ["https://issuer.example/", "onceflow"];
const rsa = testKey("rsa", "rsa-1");
const ec = testKey("ec", "ec-1");
const ed = testKey("ed25519", "ed-1");
const stranger = testKey("rsa", "rsa-1");
const strangerEc = testKey("ec", "ec-1");
const short = testKey("rsa-1024", "short-1");

const seconds = () => Math.floor(Date.now() / 1000);
/** Claims that are right, with some of them others; undefined leaves one out. */
function claims(others: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  const now = seconds();
  const own = { iss: issuer, aud: audience, sub: "shop", iat: now, exp: now + 600 };
  return { ...own, scope: "openid describe read:service:model_x", ...others };
}
const header = { alg: "RS256", kid: "rsa-1", typ: "JWT" };
const good = (others?: Readonly<Record<string, unknown>>) =>
  token(header, claims(others), rsa.privateKey);

describe("tokens", () => {
  let server: KeyServer;
  /** Where forged tokens say that keys are; nobody may ask it. */
  let trap: KeyServer;
  let example: ExampleStore;
  let lookup: Lookup;
  let app: FastifyInstance;
  let access: Access;
  const log: string[] = [];
  const settings = (others: Partial<TokenSettings> = {}): TokenSettings => ({
    keys: { url: server.url },
    issuer,
    audience,
    algorithms: ["RS256", "ES256"],
    toleranceSeconds: 5,
    scopeClaim: "scope",
    ...others,
  });
  before(async () => {
    server = await startKeyServer([rsa.jwk, ec.jwk, ed.jwk, short.jwk]);
    trap = await startKeyServer([stranger.jwk]);
    example = await fillExampleStore();
    const { catalogue, serving, redis } = example;
    lookup = createLookup({ catalogue, redis: serving, prefix: redis.prefix });
    access = openAccess(accessSettings({ tokens: settings() }), {
      redis: serving,
      prefix: redis.prefix,
    });
    await access.refresh();
    app = buildApp({
      catalogue,
      lookup,
      access,
      logStream: { write: (line) => void log.push(line) },
    });
  });
  after(async () => {
    await app.close();
    access.close();
    lookup.close();
    await Promise.all([server.stop(), trap.stop(), example.stop()]);
  });

  const ask = (text: string, url = "/v1/services") => app.inject({ url, headers: bearer(text) });
  const features = (text: string, service: string) =>
    app.inject({
      method: "POST",
      url: "/v1/features",
      headers: bearer(text),
      payload: { service, entities: [{ id: "11" }] },
    });

  it("let their scopes be done, and nothing else", async () => {
    assert.equal((await ask(good())).statusCode, 200);
    assert.equal((await features(good(), "model_x")).statusCode, 200);
    assert.equal((await features(good(), "presence")).statusCode, 403);
    assert.equal((await ask(good({ scope: "openid" }))).statusCode, 403);
    assert.equal((await ask(good({ scope: undefined }))).statusCode, 403);
    assert.equal((await ask(good({ scope: 7 }))).statusCode, 403);
    assert.equal((await ask(good({ scope: ["describe", 7, null] }))).statusCode, 200);
    const other = token({ alg: "ES256", kid: "ec-1" }, claims(), ec.privateKey);
    assert.equal((await ask(other)).statusCode, 200);
  });

  it("stand beside API keys", async () => {
    const { key } = await addKey(example.writing, example.redis.prefix, ["describe"]);
    await access.refresh();
    assert.equal((await ask(key)).statusCode, 200);
    assert.equal((await ask(`${key.slice(0, -1)}.`)).statusCode, 401);
  });

  it("count for as long as the clocks may differ, and no longer", async () => {
    const now = seconds();
    assert.equal((await ask(good({ exp: now - 2 }))).statusCode, 200);
    assert.equal((await ask(good({ exp: now - 6 }))).statusCode, 401);
    assert.equal((await ask(good({ nbf: now + 3 }))).statusCode, 200);
    assert.equal((await ask(good({ nbf: now + 60 }))).statusCode, 401);
    const brief = good({ exp: seconds() - 3 });
    assert.equal((await ask(brief)).statusCode, 200);
    await until(
      "the token that was valid is not",
      async () => (await ask(brief)).statusCode === 401,
    );
  });

  /** Tokens that nobody may have: each is right but for one thing. */
  function forged(): Readonly<Record<string, string>> {
    const [head = "", body = "", signature = ""] = good().split(".");
    const [, otherBody = ""] = good({ sub: "somebody else" }).split(".");
    const part = (header: unknown, claims: unknown, signature: string | Buffer) =>
      `${encode(header)}.${encode(claims)}.${typeof signature === "string" ? signature : signature.toString("base64url")}`;
    const at = { jku: trap.url, x5u: trap.url };
    const es = { alg: "ES256", kid: "ec-1" };
    const own = claims();
    const now = seconds();
    return {
      "no signature at all": `${head}.${body}.`,
      "two parts": `${head}.${body}`,
      "four parts": `${head}.${body}.${signature}.${signature}`,
      "five parts, as of JWE": `${head}.${body}.${signature}.${body}.${signature}`,
      "alg none": part({ ...header, alg: "none" }, own, ""),
      "alg None": part({ ...header, alg: "None" }, own, ""),
      "alg nOnE with a signature": part({ ...header, alg: "nOnE" }, own, signature),
      "alg left out": part({ kid: "rsa-1" }, own, signature),
      "alg empty": part({ ...header, alg: "" }, own, signature),
      "alg a list": part({ ...header, alg: ["RS256"] }, own, signature),
      "alg in lower case": part({ ...header, alg: "rs256" }, own, signature),
      "HS256 by the public key as PEM": token({ ...header, alg: "HS256" }, own, rsa.pem),
      "HS256 by the public key as JWK": token(
        { ...header, alg: "HS256" },
        own,
        JSON.stringify(rsa.jwk),
      ),
      "HS256 by the modulus": token({ ...header, alg: "HS256" }, own, rsa.jwk["n"] as string),
      "HS512 by nothing": token({ ...header, alg: "HS512" }, own, ""),
      "an algorithm that is not allowed": token({ ...header, alg: "PS256" }, own, rsa.privateKey),
      "an algorithm that is not allowed, of another key": token(
        { alg: "EdDSA", kid: "ed-1" },
        own,
        ed.privateKey,
      ),
      "another key with the same kid": token(header, own, stranger.privateKey),
      "another curve key with the same kid": token(es, own, strangerEc.privateKey),
      "a key of too few bits": token({ alg: "RS256", kid: "short-1" }, own, short.privateKey),
      "RS256 said of a curve key": part({ alg: "RS256", kid: "ec-1" }, own, signature),
      "a kid that is not there": token({ ...header, kid: "x" }, own, rsa.privateKey),
      "a kid that is a path": token({ ...header, kid: "../../dev/null" }, own, rsa.privateKey),
      "a kid that is no text": token({ ...header, kid: 1 }, own, rsa.privateKey),
      "a kid of an object's own": token({ ...header, kid: "__proto__" }, own, rsa.privateKey),
      "no kid, with a key that is not in the set": token(
        { alg: "RS256" },
        own,
        stranger.privateKey,
      ),
      "jku of a trap": token({ ...header, ...at }, own, stranger.privateKey),
      "jku of a trap, and a kid that is not there": token(
        { ...header, ...at, kid: "trap" },
        own,
        stranger.privateKey,
      ),
      "its own key as jwk": token({ ...header, jwk: stranger.jwk }, own, stranger.privateKey),
      "its own key as x5c": token(
        { ...header, x5c: [encode(stranger.pem)] },
        own,
        stranger.privateKey,
      ),
      "a critical extension": token({ ...header, crit: ["exp"], exp: 1 }, own, rsa.privateKey),
      "an empty list of critical extensions": token({ ...header, crit: [] }, own, rsa.privateKey),
      "a body that is not encoded": token(
        { ...header, b64: false, crit: ["b64"] },
        own,
        rsa.privateKey,
      ),
      "a body of another token": `${head}.${otherBody}.${signature}`,
      "a header of another token": `${encode({ ...header, kid: undefined })}.${body}.${signature}`,
      "a signature of zeros": part(es, own, Buffer.alloc(64)),
      "a signature as DER": part(
        es,
        own,
        Buffer.concat([Buffer.from([0x30, 0x44]), signatureOf("ES256", ec.privateKey, "x")]),
      ),
      "a signature cut by one byte": good().slice(0, -2),
      padding: `${good()}==`,
      "characters that base64url has not": `${head}.${body}.${signature.replace(/^./, "+")}`,
      "a character more": `${good()}A`,
      "a header that is no JSON": `${encode("{")}.${body}.${signature}`,
      "a header that is null": part(null, own, signature),
      "claims that are no JSON": token(header, "{", rsa.privateKey),
      "claims that are a list": token(header, [own], rsa.privateKey),
      "claims that are null": token(header, null, rsa.privateKey),
      expired: good({ exp: now - 60 }),
      "expired as text": good({ exp: `${now + 600}` }),
      "without exp": good({ exp: undefined }),
      "exp null": good({ exp: null }),
      "not yet valid": good({ nbf: now + 600 }),
      "nbf as text": good({ nbf: "0" }),
      "another issuer": good({ iss: "https://evil.example/" }),
      "the issuer without its slash": good({ iss: issuer.slice(0, -1) }),
      "a list of issuers": good({ iss: [issuer] }),
      "no issuer": good({ iss: undefined }),
      "another audience": good({ aud: "other" }),
      "audiences without ours": good({ aud: ["other", "onceflow "] }),
      "an audience that begins as ours": good({ aud: "onceflow-admin" }),
      "no audience": good({ aud: undefined }),
      "no subject": good({ sub: undefined }),
      "an empty subject": good({ sub: "" }),
      "a subject that is no text": good({ sub: { $ne: null } }),
      "over 8192 characters": good({ padding: "x".repeat(7000) }),
      nothing: "..",
      words: "null",
    };
  }

  it("that are forged, whatever the way, are all answered alike, and nobody else is asked", async () => {
    const cases = Object.entries(forged());
    assert.ok(cases.length >= 60, `${cases.length}`);
    const bodies = new Set<string>();
    for (const [name, text] of cases) {
      const response = await ask(text);
      assert.equal(response.statusCode, 401, name);
      assert.equal(response.headers["www-authenticate"], 'Bearer realm="onceflow"', name);
      bodies.add(response.body.replace(/"request_id":"[0-9a-f]+"/, ""));
    }
    const without = (await app.inject("/v1/services")).body;
    assert.deepEqual([...bodies], [without.replace(/"request_id":"[0-9a-f]+"/, "")]);
    assert.equal(trap.asked(), 0);
    assert.equal((await ask(good())).statusCode, 200);
    assert.doesNotMatch(log.join(""), /eyJ/);
  });

  describe("by public keys", () => {
    const opened: Tokens[] = [];
    afterEach(() => {
      for (const each of opened.splice(0)) each.close();
      server.answer = { body: JSON.stringify({ keys: [rsa.jwk, ec.jwk, ed.jwk, short.jwk] }) };
    });
    const open = (
      others: Partial<TokenSettings> = {},
      options: Parameters<typeof createTokens>[1] = {},
    ): Tokens => {
      const made = createTokens(settings(others), options);
      opened.push(made);
      return made;
    };
    const ok = async (tokens: Tokens, text: string) => (await tokens.check(text)).ok;

    it("of a server are asked for once, not for each token", async () => {
      const before = server.asked();
      const tokens = open();
      await tokens.refresh();
      for (let i = 0; i < 20; i++) assert.ok(await ok(tokens, good({ jti: i })));
      assert.equal(server.asked(), before + 1);
    });

    it("are read anew for one that is not known, but not again at once", async () => {
      const added = testKey("rsa", "rsa-2");
      const tokens = open({}, { cooldownMs: 200 });
      await tokens.refresh();
      const text = token({ alg: "RS256", kid: "rsa-2" }, claims(), added.privateKey);
      assert.equal(await ok(tokens, text), false);
      const before = server.asked();
      server.answer = { body: JSON.stringify({ keys: [rsa.jwk, added.jwk] }) };
      await until("the new key counts", () => ok(tokens, text));
      for (let i = 0; i < 20; i++)
        await tokens.check(token({ alg: "RS256", kid: `no-${i}` }, claims(), added.privateKey));
      assert.ok(server.asked() - before <= 3, `${server.asked() - before}`);
    });

    it("stay in force while their server is down or speaks nonsense", async () => {
      const warnings: string[] = [];
      const tokens = open({}, { refreshMs: 20, warn: (message) => void warnings.push(message) });
      await tokens.refresh();
      const answers = [
        { status: 500, body: "" },
        { body: "<html>" },
        { body: "{}" },
        { body: '{"keys":{}}' },
        { body: JSON.stringify({ keys: Array<unknown>(101).fill(rsa.jwk) }) },
        { body: JSON.stringify({ keys: [{ kty: "oct", k: "c2VjcmV0" }] }) },
        { body: JSON.stringify({ keys: [rsa.jwk] }).padEnd(300_000) },
        { status: 302, headers: { location: trap.url }, body: "" },
      ];
      for (const answer of answers) {
        server.answer = answer;
        const before = server.asked();
        await until("it was read", () => server.asked() > before + 1);
        assert.ok(
          await ok(tokens, good({ jti: Math.random() })),
          JSON.stringify(answer).slice(0, 90),
        );
      }
      assert.equal(trap.asked(), 0);
      assert.equal(warnings.length, 1, warnings.join("\n"));
      assert.match(
        warnings[0] ?? "",
        /^the public keys of tokens cannot be read from http:.* 500\. Those that were read before stay/,
      );
    });

    it("that were never read are warned of with the cause", async () => {
      const [port = 0] = await findFreePorts(1);
      // A name leads to more than one address, and the failure of all of them has no words.
      for (const host of ["127.0.0.1", "localhost"]) {
        const warnings: string[] = [];
        const url = `http://${host}:${port}/jwks.json`;
        const tokens = open({ keys: { url } }, { warn: (message) => void warnings.push(message) });
        await assert.rejects(tokens.refresh(), { code: "CONFIG_INVALID" });
        assert.equal(warnings.length, 1, warnings.join("\n"));
        assert.match(
          warnings[0] ?? "",
          /read from http:\S+: [^.]*ECONNREFUSED.*\. Until they can, .* AUTH_UNAVAILABLE\.$/,
        );
      }
    });

    it("that do not come hold a request up for no longer than they may", async () => {
      const tokens = open({}, { cooldownMs: 0, waitMs: 200 });
      await tokens.refresh();
      server.answer = { body: null };
      const strange = token({ alg: "RS256", kid: "no" }, claims(), rsa.privateKey);
      const startMs = performance.now();
      assert.equal(await ok(tokens, strange), false);
      const tookMs = performance.now() - startMs;
      assert.ok(tookMs > 150 && tookMs < 2_000, `${tookMs} ms`);
      assert.ok(await ok(tokens, good()));
    });

    it("that were never read make the answer 503, of which probes know nothing", async () => {
      const { catalogue, serving, redis } = example;
      const own = openAccess(
        accessSettings({ tokens: settings({ keys: { url: "http://127.0.0.1:1/" } }) }),
        { redis: serving, prefix: redis.prefix },
      );
      await own.refresh();
      const made = buildApp({ catalogue, lookup, access: own, log: "silent" });
      const ask = (url: string) => made.inject({ url, headers: bearer(good()) });
      const response = await ask("/v1/services");
      assert.equal(response.statusCode, 503);
      assert.equal(response.json<{ code: string }>().code, "AUTH_UNAVAILABLE");
      assert.equal((await ask("/readyz")).statusCode, 200);
      await made.close();
      own.close();
    });

    describe("in a file", () => {
      let folder: string;
      before(async () => (folder = await mkdtemp(join(tmpdir(), "onceflow-keys-"))));
      after(() => rm(folder, { recursive: true }));
      async function inFile(text: string, algorithms = ["RS256"]): Promise<Tokens> {
        const file = join(folder, "keys");
        await writeFile(file, text);
        return open({ keys: { file }, algorithms });
      }

      it("may be a JWKS", async () => {
        const tokens = await inFile(JSON.stringify({ keys: [rsa.jwk, ed.jwk] }), [
          "RS256",
          "EdDSA",
        ]);
        await tokens.refresh();
        assert.ok(await ok(tokens, good()));
        assert.ok(await ok(tokens, token({ alg: "EdDSA", kid: "ed-1" }, claims(), ed.privateKey)));
        assert.equal(
          await ok(tokens, token({ ...header, kid: "x" }, claims(), rsa.privateKey)),
          false,
        );
      });

      it("may be one key as PEM, whatever tokens call it", async () => {
        const tokens = await inFile(rsa.pem);
        await tokens.refresh();
        assert.ok(await ok(tokens, good()));
        assert.ok(await ok(tokens, token({ alg: "RS256" }, claims(), rsa.privateKey)));
        assert.equal(await ok(tokens, token(header, claims(), stranger.privateKey)), false);
        assert.equal(
          await ok(tokens, token({ ...header, alg: "HS256" }, claims(), rsa.pem)),
          false,
        );
      });

      it("must be public", async () => {
        const pem = rsa.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
        const jwk = rsa.privateKey.export({ format: "jwk" });
        for (const text of [pem, JSON.stringify({ keys: [jwk] })])
          await assert.rejects((await inFile(text)).refresh(), {
            code: "CONFIG_INVALID",
            message: /private key.*public/,
          });
      });

      it("must be there", async () => {
        const keys = createPublicKeys({ file: join(folder, "none") });
        await assert.rejects(keys.refresh(), { code: "CONFIG_INVALID", message: /ENOENT/ });
        keys.close();
      });
    });
  });
});
