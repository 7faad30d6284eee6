import assert from "node:assert/strict";
import { OnceflowError } from "../../../engine/errors.ts";
import { type AccessSettings, readAccess } from "../../../serving/auth/settings.ts";

const jwt = {
  ONCEFLOW_AUTH: "jwt",
  ONCEFLOW_JWT_KEYS: "https://issuer.example/jwks.json",
  ONCEFLOW_JWT_ISSUER: "https://issuer.example/",
  ONCEFLOW_JWT_AUDIENCE: "onceflow",
};

/** The settings, or the message of the refusal. */
function read(env: NodeJS.ProcessEnv, insecure = false): AccessSettings | string {
  try {
    return readAccess(env, { insecure });
  } catch (error) {
    assert.ok(error instanceof OnceflowError);
    assert.equal(error.code, "CONFIG_INVALID");
    return error.message;
  }
}

describe("settings of access", () => {
  const loopback = [undefined, "127.0.0.1", "127.9.9.9", "::1", "localhost"];
  const others = [
    "0.0.0.0",
    "::",
    "10.0.0.5",
    "192.168.1.1",
    "example.com",
    "127.0.0.1.example.com",
    "::ffff:127.0.0.1",
    "0",
    "127.1",
    "2130706433",
    "localhost.",
    "[::1]",
    " 127.0.0.1",
  ];
  const auths: readonly (readonly [name: string, env: NodeJS.ProcessEnv, asks: boolean])[] = [
    ["nothing", {}, false],
    ["an empty ONCEFLOW_AUTH", { ONCEFLOW_AUTH: "" }, false],
    ["ONCEFLOW_AUTH=none", { ONCEFLOW_AUTH: "none" }, false],
    ["ONCEFLOW_AUTH=keys", { ONCEFLOW_AUTH: "keys" }, true],
    ["ONCEFLOW_AUTH=jwt", jwt, true],
    ["ONCEFLOW_AUTH=keys,jwt", { ...jwt, ONCEFLOW_AUTH: "keys, jwt" }, true],
  ];
  for (const [name, env, asks] of auths)
    for (const insecure of [false, true])
      it(`with ${name} and ${insecure ? "--insecure" : "no flag"} let it listen where callers are known`, () => {
        for (const host of loopback) {
          const settings = read(host === undefined ? env : { ...env, HOST: host }, insecure);
          assert.equal((settings as AccessSettings).host, host ?? "127.0.0.1");
        }
        for (const host of others) {
          const settings = read({ ...env, HOST: host }, insecure);
          if (asks || insecure) assert.equal((settings as AccessSettings).host, host);
          else assert.ok((settings as string).startsWith(`HOST is "${host}"; others can`), host);
        }
        const empty = read({ ...env, HOST: "" }, insecure);
        assert.equal(empty, 'HOST is ""; give an address to listen on, or leave it unset.');
      });

  it("name the ways out where others could ask", () => {
    assert.equal(
      read({ HOST: "0.0.0.0" }),
      'HOST is "0.0.0.0"; others can reach that address, and nobody would ask who they are. Set ONCEFLOW_AUTH=keys (docs/security.md), listen on loopback (127.0.0.1, ::1 or localhost), or add --insecure if all who can reach it may ask.',
    );
  });

  it("have safe defaults", () => {
    assert.deepEqual(read(jwt), {
      host: "127.0.0.1",
      keys: false,
      tokens: {
        keys: { url: "https://issuer.example/jwks.json" },
        issuer: "https://issuer.example/",
        audience: "onceflow",
        algorithms: ["RS256", "ES256"],
        toleranceSeconds: 5,
        scopeClaim: "scope",
      },
      callerRate: { perSecond: 1000, burst: 2000 },
      addressRate: undefined,
      trustProxy: [],
      hosts: undefined,
    });
  });

  it("let callers ask under addresses and localhost alone where nobody is asked who they are", () => {
    const hosts = (env: NodeJS.ProcessEnv, insecure = false) => {
      const settings = read(env, insecure);
      return typeof settings === "string" ? settings : settings.hosts;
    };
    for (const HOST of loopback) assert.deepEqual(hosts({ HOST }), [], HOST);
    for (const env of [jwt, { ONCEFLOW_AUTH: "keys" }]) assert.equal(hosts(env), undefined);
    assert.equal(hosts({ HOST: "0.0.0.0" }, true), undefined);
    assert.equal(hosts({ ONCEFLOW_HOSTS: "any" }), undefined);
    for (const env of [{}, jwt])
      assert.deepEqual(hosts({ ...env, ONCEFLOW_HOSTS: "a.example, b" }), ["a.example", "b"]);
    for (const ONCEFLOW_HOSTS of ["a:80", "https://a", "*", "a,,b", "a b", "-a", "a..b", "any,b/"])
      assert.match(String(hosts({ ONCEFLOW_HOSTS })), /^ONCEFLOW_HOSTS is .*; list names of hosts/);
  });

  const refused: readonly (readonly [env: NodeJS.ProcessEnv, message: RegExp])[] = [
    [{ ONCEFLOW_AUTH: "key" }, /^ONCEFLOW_AUTH is "key"; give "none", "keys"/],
    [{ ONCEFLOW_AUTH: "keys,none" }, /^ONCEFLOW_AUTH is/],
    [{ ONCEFLOW_AUTH: "jwt" }, /^ONCEFLOW_JWT_KEYS is not set; .* the URL of a JWKS/],
    [{ ...jwt, ONCEFLOW_JWT_ISSUER: "" }, /^ONCEFLOW_JWT_ISSUER is ""; .* the issuer/],
    [{ ...jwt, ONCEFLOW_JWT_AUDIENCE: undefined }, /^ONCEFLOW_JWT_AUDIENCE is not set/],
    ...["HS256", "none", "RS256,HS512", "rs256", ","].map(
      (ONCEFLOW_JWT_ALGORITHMS) =>
        [
          { ...jwt, ONCEFLOW_JWT_ALGORITHMS },
          /^ONCEFLOW_JWT_ALGORITHMS is .* some of RS256/,
        ] as const,
    ),
    ...["61", "-1", "1.5", "5s"].map(
      (ONCEFLOW_JWT_TOLERANCE) =>
        [{ ...jwt, ONCEFLOW_JWT_TOLERANCE }, /^ONCEFLOW_JWT_TOLERANCE is .* from 0 to 60/] as const,
    ),
    ...[
      "http://issuer.example/jwks",
      "http://127.0.0.1.example/",
      "ftp://issuer.example/jwks",
      "file:///etc/keys",
      "https://user:secret@issuer.example/jwks",
      "http://10.0.0.1/jwks",
    ].map(
      (ONCEFLOW_JWT_KEYS) =>
        [{ ...jwt, ONCEFLOW_JWT_KEYS }, /^ONCEFLOW_JWT_KEYS is .* give an https:\/\/ URL/] as const,
    ),
    ...["0", "0:5", "5:0", "-1", "fast", "1:2:3", "1e3"].map(
      (ONCEFLOW_CALLER_RATE) =>
        [
          { ONCEFLOW_CALLER_RATE },
          /^ONCEFLOW_CALLER_RATE is .* as "1000:2000", or "none"/,
        ] as const,
    ),
    [{ ONCEFLOW_ADDRESS_RATE: "x" }, /^ONCEFLOW_ADDRESS_RATE is "x"/],
    ...[
      "true",
      "*",
      "0.0.0.0/0",
      "::/0",
      "10.0.0.0/33",
      "10.0.0.0/8/8",
      "1",
      "loopback",
      "10.0.0",
    ].map(
      (ONCEFLOW_TRUST_PROXY) =>
        [{ ONCEFLOW_TRUST_PROXY }, /^ONCEFLOW_TRUST_PROXY is .* list the addresses/] as const,
    ),
  ];
  it("refuse what they cannot mean, naming the variable and what it may be", () => {
    for (const [env, message] of refused) {
      const outcome = read(env);
      assert.equal(typeof outcome, "string", JSON.stringify(env));
      assert.match(outcome as string, message);
      assert.doesNotMatch(outcome as string, /secret/);
    }
  });

  it("take what is right", () => {
    const settings = read({
      ...jwt,
      ONCEFLOW_JWT_KEYS: "http://[::1]:8000/jwks",
      ONCEFLOW_JWT_ALGORITHMS: "EdDSA,PS512",
      ONCEFLOW_JWT_TOLERANCE: "60",
      ONCEFLOW_JWT_SCOPES: "scp",
      ONCEFLOW_CALLER_RATE: "50",
      ONCEFLOW_ADDRESS_RATE: "10:30",
      ONCEFLOW_TRUST_PROXY: "10.0.0.0/8, ::1",
    }) as AccessSettings;
    assert.deepEqual(settings.tokens?.keys, { url: "http://[::1]:8000/jwks" });
    assert.deepEqual(settings.tokens.algorithms, ["EdDSA", "PS512"]);
    assert.deepEqual([settings.tokens.toleranceSeconds, settings.tokens.scopeClaim], [60, "scp"]);
    assert.deepEqual(settings.callerRate, { perSecond: 50, burst: 50 });
    assert.deepEqual(settings.addressRate, { perSecond: 10, burst: 30 });
    assert.deepEqual(settings.trustProxy, ["10.0.0.0/8", "::1"]);
    const { tokens } = read({ ...jwt, ONCEFLOW_JWT_KEYS: "keys/public.pem" }) as AccessSettings;
    assert.deepEqual(tokens?.keys, { file: "keys/public.pem" });
    const { callerRate } = read({ ONCEFLOW_CALLER_RATE: "none" }) as AccessSettings;
    assert.equal(callerRate, undefined);
  });
});
