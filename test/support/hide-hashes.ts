/** Hashes change with every definition, so pages show none of them. */
export function hideHashes(json: unknown): unknown {
  return JSON.parse(
    JSON.stringify(json, (_, value: unknown) =>
      typeof value === "string" && /^[0-9a-f]{32}$/.test(value) ? "…" : value,
    ),
  );
}
