/** An issuer of tokens for tests: key pairs, a JWKS that it serves, and tokens of any form. */
import { constants, createHmac, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

/** A key pair with the id that its public key has in the set. */
export interface TestKey {
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly jwk: Readonly<Record<string, unknown>>;
  readonly pem: string;
}

/** Makes a key pair. */
export function testKey(kind: "rsa" | "rsa-1024" | "ec" | "ed25519", kid: string): TestKey {
  const { publicKey, privateKey } =
    kind === "ec"
      ? generateKeyPairSync("ec", { namedCurve: "P-256" })
      : kind === "ed25519"
        ? generateKeyPairSync("ed25519")
        : generateKeyPairSync("rsa", { modulusLength: kind === "rsa" ? 2048 : 1024 });
  return {
    kid,
    privateKey,
    jwk: { ...publicKey.export({ format: "jwk" }), kid },
    pem: publicKey.export({ type: "spki", format: "pem" }).toString(),
  };
}

/** base64url of text, bytes or, as JSON, anything else. */
export function encode(part: unknown): string {
  const raw = typeof part === "string" || Buffer.isBuffer(part) ? part : JSON.stringify(part);
  return Buffer.from(raw as string).toString("base64url");
}

/** The signature of a text, by the algorithm's name. */
export function signatureOf(alg: string, key: KeyObject | string, text: string): Buffer {
  const hash = `sha${alg.slice(2)}`;
  if (alg.startsWith("HS")) return createHmac(hash, key).update(text).digest();
  if (typeof key === "string") throw new Error("only HMAC has a text as its key");
  if (alg === "EdDSA") return sign(null, Buffer.from(text), key);
  if (alg.startsWith("ES"))
    return sign(hash, Buffer.from(text), { key, dsaEncoding: "ieee-p1363" });
  if (alg.startsWith("PS"))
    return sign(hash, Buffer.from(text), {
      key,
      padding: constants.RSA_PKCS1_PSS_PADDING,
      saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
    });
  return sign(hash, Buffer.from(text), key);
}

/** A token of a header and claims, signed as the header says. */
export function token(
  header: Readonly<Record<string, unknown>> & { readonly alg: string },
  claims: unknown,
  key: KeyObject | string,
): string {
  const text = `${encode(header)}.${encode(claims)}`;
  return `${text}.${signatureOf(header.alg, key, text).toString("base64url")}`;
}

/** A server that counts what it is asked for. */
export interface KeyServer {
  readonly url: string;
  /** What it answers; it may be replaced. */
  answer: { status?: number; headers?: Record<string, string>; body: string | null };
  /** Requests so far. */
  readonly asked: () => number;
  readonly stop: () => Promise<void>;
}

/** Starts a server on loopback that answers everything alike; `body: null` never answers. */
export async function startKeyServer(keys: readonly unknown[]): Promise<KeyServer> {
  let asked = 0;
  const made = { answer: { body: JSON.stringify({ keys }) } as KeyServer["answer"] };
  const server = createServer((_, response) => {
    asked++;
    const { status = 200, headers = {}, body } = made.answer;
    if (body !== null) response.writeHead(status, headers).end(body);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  return Object.assign(made, {
    url: `http://127.0.0.1:${port}/jwks.json`,
    asked: () => asked,
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  });
}
