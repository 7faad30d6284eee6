/**
 * Fingerprints: hashes of what definitions mean. Names of features, descriptions and tags are in
 * none, so that a rename of what is computed at read moves nothing.
 */
import { createHash } from "node:crypto";
import { inputsOf, type Node } from "./language/node.ts";
import { operationOf } from "./operations/table.ts";
import { toJson } from "./wire.ts";

/** Hex characters of a fingerprint: 128 bits. */
const length = 32;

/** The hash of a JSON value whose parts are already in a fixed order. */
export function hash(canonical: unknown): string {
  return createHash("sha256").update(JSON.stringify(canonical)).digest("hex").slice(0, length);
}

const known = new WeakMap<Node, string>();

/** The hash of a formula: two trees that compute the same by the same steps share it. */
export function fingerprintOf(node: Node): string {
  let fingerprint = known.get(node);
  if (fingerprint === undefined) {
    fingerprint = hash([
      node.kind,
      node.dtype,
      ...ownParts(node),
      inputsOf(node).map(fingerprintOf),
    ]);
    known.set(node, fingerprint);
  }
  return fingerprint;
}

function ownParts(node: Node): readonly unknown[] {
  switch (node.kind) {
    case "column":
      return [node.source, node.name, node.nullable];
    case "literal":
      return [toJson(node.dtype, node.value)];
    case "operation": {
      const { version } = operationOf(node.operation);
      return version === undefined ? [node.operation] : [node.operation, version];
    }
    case "aggregate":
      return [node.aggregate];
    case "map":
      // Never the function's text: loaders print it differently.
      return [node.name, node.version, node.inputs.map((input) => input.name)];
    case "invalid":
      return [node.problem];
  }
}
