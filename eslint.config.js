import tseslint from "typescript-eslint";

/** Folders, inner to outer. A folder may import those before it in the list of what it `sees`. */
const folders = {
  engine: [],
  features: ["engine"],
  store: ["engine"],
  activities: ["engine", "store", "serving"],
  serving: ["engine", "store"],
  streaming: ["engine", "store"],
  workflows: [],
  client: ["engine", "store", "serving"],
  testing: ["engine", "store"],
};

const compositionRoots = ["dev", "test", "bench", "cli", "client", "server", "worker", "project"];

function boundary(folder, sees) {
  const forbidden = [...Object.keys(folders), ...compositionRoots].filter(
    (other) => other !== folder && !sees.includes(other),
  );
  return {
    files: [`${folder}/**/*.ts`],
    rules: {
      "@typescript-eslint/no-restricted-imports": [
        "error",
        {
          patterns: [
            {
              // Of the workflows, the names of the contract are open to activities.
              regex: `^(\\.\\./)+(?!workflows/(contract|attributes)\\.ts$)(${forbidden.join("|")})(/|\\.ts$)`,
              // The contract of the workflows is types, for activities and workflows alike.
              allowTypeImports: folder === "workflows" || folder === "activities",
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
  ...Object.entries(folders).map(([folder, sees]) => boundary(folder, sees)),
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
