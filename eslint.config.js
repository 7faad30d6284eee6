import { readFileSync } from "node:fs";
import tseslint from "typescript-eslint";

/** Folders, and what of the project each may import; see test/architecture.test.ts. */
const boundaries = JSON.parse(
  readFileSync(new URL("test/boundaries.json", import.meta.url), "utf8"),
);
const outside = [
  ...[
    "test",
    "client.ts",
    "environment.ts",
    "options.ts",
    "server.ts",
    "worker.ts",
    "project.ts",
    "settings.ts",
  ],
];
/** Folders of which types are open to some that may not import values. */
const typesOnly = ["workflows", "activities", "examples"];

function boundary(folder, sees) {
  const forbidden = [...Object.keys(boundaries), ...outside].filter(
    (other) => other !== folder && !sees.includes(other),
  );
  const names = forbidden.map((name) => (name.endsWith(".ts") ? `${name}$` : `${name}/`));
  return {
    files: [`${folder}/**/*.ts`],
    rules: {
      "@typescript-eslint/no-restricted-imports": [
        "error",
        {
          patterns: [
            {
              regex: folder.includes("/")
                ? "^\\.\\./"
                : // Of the workflows, the names of the contract are open to activities.
                  `^(\\.\\./)+(?!workflows/(contract|search-attributes)\\.ts$)(${names.join("|")})`,
              allowTypeImports: typesOnly.includes(folder),
              message: `${folder}/ may import only: ${sees.join(", ") || "nothing of the project"}.`,
            },
            ...(folder === "workflows"
              ? [
                  {
                    regex:
                      "^(?!\\./|\\.\\./pipeline\\.ts$|@temporalio/workflow$|@temporalio/common$)",
                    allowTypeImports: true,
                    message: "workflows/ runs in a sandbox: import types only.",
                  },
                ]
              : []),
          ],
        },
      ],
    },
  };
}

export default tseslint.config(
  { ignores: ["dist", "node_modules", ".onceflow", "bench/peers/.venv"] },
  ...tseslint.configs.recommendedTypeChecked.map((c) => ({ ...c, files: ["**/*.ts"] })),
  {
    files: ["**/*.ts"],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      "@typescript-eslint/no-floating-promises": "error",
      "@typescript-eslint/switch-exhaustiveness-check": [
        "error",
        { considerDefaultExhaustiveForUnions: true },
      ],
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/restrict-template-expressions": [
        "error",
        { allowNumber: true, allowBoolean: true },
      ],
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
      "max-lines": ["warn", { max: 500, skipBlankLines: false, skipComments: false }],
    },
  },
  {
    files: ["**/*.ts"],
    ignores: ["test/**/*.ts"],
    rules: { "max-lines-per-function": ["error", { max: 100 }] },
  },
  ...Object.entries(boundaries).map(([folder, sees]) => boundary(folder, sees)),
  {
    files: ["engine/compile/batch.ts"],
    rules: {
      "@typescript-eslint/no-unsafe-assignment": "off",
      "@typescript-eslint/no-unsafe-call": "off",
      "@typescript-eslint/no-unsafe-member-access": "off",
      "@typescript-eslint/no-unsafe-return": "off",
      "@typescript-eslint/no-unsafe-argument": "off",
    },
  },
  {
    // The one place where code is generated; its header says why that is safe.
    files: ["engine/compile/online.ts", "test/engine/fixtures/without-code-generation.ts"],
    rules: { "@typescript-eslint/no-implied-eval": "off" },
  },
  {
    files: ["test/**/*.ts"],
    // Activities are passed around as functions; none uses `this`.
    rules: {
      "@typescript-eslint/require-await": "off",
      "@typescript-eslint/unbound-method": "off",
    },
  },
);
