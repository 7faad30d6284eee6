/**
 * The API description as a page. It has no script, loads nothing and says so in its content
 * security policy; all text of definitions is escaped in one place, `html`.
 */
import { createHash, randomBytes } from "node:crypto";
import type { RouteHandlerMethod } from "fastify";
import type { Catalogue } from "../../engine/catalogue.ts";
import { createLru } from "../../engine/lru.ts";
import type { Json } from "../../engine/wire.ts";
import { describeService } from "../describe.ts";
import type { OpenApiDocument, ServiceTerms } from "./openapi.ts";
import { describeApi, exampleName } from "./openapi.ts";
import { routes } from "./routes.ts";
import type { Schema } from "./schemas.ts";

/** Markup that is safe to put into a page. */
interface Html {
  readonly markup: string;
}

type Part = string | number | Html | readonly Html[];

/** A template whose values are escaped unless they are markup themselves. */
function html(strings: TemplateStringsArray, ...values: readonly Part[]): Html {
  const parts = values.map((value) =>
    typeof value === "string" || typeof value === "number" ? escape(`${value}`) : join(value),
  );
  return { markup: strings.map((text, i) => text + (parts[i] ?? "")).join("") };
}

function join(value: Html | readonly Html[]): string {
  return "markup" in value ? value.markup : value.map(({ markup }) => markup).join("");
}

function escape(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

const style = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 62rem; margin: 0 auto; padding: 1rem 1.5rem 4rem; }
h2 { margin-top: 3rem; border-bottom: 1px solid #8886; }
h3 { margin-top: 2rem; }
h2 a, h3 a { color: inherit; text-decoration: none; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.8rem 0.3rem 0; border-bottom: 1px solid #8883; overflow-wrap: anywhere; }
code, pre { font: 0.875rem/1.45 ui-monospace, monospace; }
pre { padding: 0.8rem 1rem; background: #8881; overflow-x: auto; user-select: all; }
nav ul { columns: 2; padding-left: 1.2rem; }
.note { opacity: 0.75; }
`;

/** Nothing may be loaded or run; the one style is named by its hash. */
const pagePolicy = [
  "default-src 'none'",
  `style-src 'sha256-${createHash("sha256").update(style).digest("base64")}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** A host name or address, with a port or without: nothing else of what a client says goes in. */
const validHost = /^([a-zA-Z0-9.-]+|\[[0-9a-fA-F:]+\])(:\d+)?$/;

/** Names of this service whose page is kept; of others it is made anew. */
const originLimit = 16;

/** The description, which is made once, when it is first asked for, and the handler of its page. */
export function createDocs(catalogue: Catalogue, terms: ServiceTerms) {
  let made: OpenApiDocument | undefined;
  let page: ((origin: string) => string) | undefined;
  const pages = createLru<string, Buffer>(originLimit);
  const document = () => (made ??= describeApi(catalogue, terms));
  function pageFor(origin: string): Buffer {
    const known = pages.get(origin);
    if (known !== undefined) return known;
    page ??= preparePage(catalogue, document(), terms);
    const bytes = Buffer.from(page(origin));
    pages.set(origin, bytes);
    return bytes;
  }
  const getDocs: RouteHandlerMethod = ({ protocol, host }, reply) => {
    const scheme = protocol === "https" ? "https" : "http";
    return reply
      .header("content-security-policy", pagePolicy)
      .type("text/html; charset=utf-8")
      .send(pageFor(`${scheme}://${validHost.test(host) ? host : "127.0.0.1:8080"}`));
  };
  return { document, getDocs };
}

/** What the commands on the page are made of. */
interface CommandTerms extends ServiceTerms {
  /** Where they send requests, such as `http://127.0.0.1:8080`. */
  readonly origin: string;
}

/**
 * Renders the page but for the origin of its commands, which each caller may know by another name:
 * to put one in costs no more than the text.
 */
export function preparePage(
  catalogue: Catalogue,
  document: OpenApiDocument,
  terms: ServiceTerms,
): (origin: string) => string {
  // No text of definitions can hold it.
  const place = randomBytes(16).toString("hex");
  const parts = renderPage(catalogue, document, { ...terms, origin: place }).split(place);
  return (origin) => parts.join(escape(withinQuotes(origin)));
}

/** The page. */
function renderPage(catalogue: Catalogue, document: OpenApiDocument, terms: CommandTerms): string {
  const services = [...catalogue.services.keys()];
  const { schemas } = document.components;
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>onceflow HTTP API</title>
        ${{ markup: `<style>${style}</style>` }}
      </head>
      <body>
        <h1>onceflow HTTP API</h1>
        <p>${textAt(document.info, "description")}</p>
        <p>
          The same as an OpenAPI ${document.openapi} document:
          <a href="/openapi.json">/openapi.json</a>. A click on an example selects all of it.
        </p>
        <nav>
          <ul>
            ${routes.map(
              ({ id, method, path }) =>
                html`<li>
                  <a href="#${id}"><code>${method} ${path}</code></a>
                </li>`,
            )}
            ${services.map(
              (name) =>
                html`<li>
                  <a href="#service.${name}">Service <code>${name}</code></a>
                </li>`,
            )}
            <li><a href="#schemas">Schemas</a></li>
          </ul>
        </nav>
        <h2>Operations</h2>
        ${routes.map((route) => routeHtml(route, document, terms))}
        <h2>Services</h2>
        ${services.map((name) => serviceHtml(catalogue, name, terms))}
        <h2 id="schemas">Schemas</h2>
        ${Object.entries(schemas).map(([name, schema]) => schemaHtml(name, schema))}
      </body>
    </html> `;
  return page.markup;
}

/** A heading that links to itself. */
function heading(id: string, title: Html): Html {
  return html`<h3 id="${id}"><a href="#${id}">${title}</a></h3>`;
}

function table(head: readonly string[], rows: readonly (readonly Html[])[]): Html {
  return html`<table>
    <thead>
      <tr>
        ${head.map((cell) => html`<th>${cell}</th>`)}
      </tr>
    </thead>
    <tbody>
      ${rows.map(
        (cells) =>
          html`<tr>
            ${cells.map((cell) => html`<td>${cell}</td>`)}
          </tr> `,
      )}
    </tbody>
  </table>`;
}

const code = (text: string): Html => html`<code>${text}</code>`;
const plain = (text: string): Html => html`${text}`;

function routeHtml(
  { id, method, path, summary, description = "" }: (typeof routes)[number],
  document: OpenApiDocument,
  terms: CommandTerms,
): Html {
  const described = objectAt(document.paths[path], method.toLowerCase());
  const responses = Object.entries(objectAt(described, "responses")).map(([status, response]) => [
    code(status),
    plain(textAt(response, "description")),
    html`${Object.entries(objectAt(response, "content")).map(
      ([type, content]) => html`${code(type)} ${typeHtml(objectAt(content, "schema"))}<br />`,
    )}`,
  ]);
  return html`
    ${heading(id, html`<code>${method} ${path}</code>`)}
    <p>${summary}. ${description}</p>
    ${
      method === "POST"
        ? html`<p>
            Takes ${code("application/json")}
            ${typeHtml({ $ref: "#/components/schemas/FeatureRequest" })}; below, each service has
            requests to start from.
          </p>`
        : html`<pre>${curl(terms, path.replaceAll(/\{(\w+)\}/g, "NAME"))}</pre>`
    }
    ${table(["Status", "When", "Body"], responses)}
  `;
}

function serviceHtml(catalogue: Catalogue, name: string, terms: CommandTerms): Html {
  const service = describeService(catalogue, name);
  return html`
    ${heading(`service.${name}`, html`<code>${name}</code>`)}
    <p>
      ${service.description ?? ""} <span class="note">Fingerprint ${service.fingerprint}.</span>
    </p>
    ${table(
      ["Feature", "Dtype", "View", "Description"],
      service.features.map((each) => [
        code(each.name),
        code(each.dtype),
        code(each.view),
        plain(each.description ?? ""),
      ]),
    )}
    <p>
      Entity keys: ${code(service.entity_keys.join(", "))}. Inputs, and where each comes from in a
      row that names its entity:
    </p>
    ${table(
      ["Input", "Dtype", "From"],
      service.inputs.map((each) => [
        code(each.name),
        code(each.nullable ? `${each.dtype} or null` : each.dtype),
        plain(each.from),
      ]),
    )}
    ${service.examples.map(
      (request) =>
        html`<p>${exampleName(request)}</p>
          <pre>${curl(terms, "/v1/features", request)}</pre>`,
    )}
  `;
}

function schemaHtml(name: string, schema: Schema): Html {
  const properties = Object.entries(objectAt(schema, "properties"));
  const required = (schema["required"] ?? []) as readonly string[];
  return html`
    ${heading(`schema.${name}`, html`<code>${name}</code>`)}
    <p>${textAt(schema, "description")}</p>
    ${
      properties.length === 0
        ? html`<p>${typeHtml(schema)}</p>`
        : table(
            ["Member", "Type", "Meaning"],
            properties.map(([member, its]) => [
              html`${code(member)}${required.includes(member) ? "" : " (optional)"}`,
              typeHtml(its as Schema),
              plain(textAt(its, "description")),
            ]),
          )
    }
  `;
}

/** A schema in a few words, with links to those that it names. */
function typeHtml(schema: Schema): Html {
  const { $ref, anyOf, oneOf, allOf, type, items, additionalProperties, properties } = schema;
  if (typeof $ref === "string") {
    const name = $ref.slice($ref.lastIndexOf("/") + 1);
    return html`<a href="#schema.${name}"><code>${name}</code></a>`;
  }
  const union = anyOf ?? (properties === undefined ? oneOf : undefined);
  if (union !== undefined) return listed((union as readonly Schema[]).map(typeHtml), " or ");
  if (allOf !== undefined) return listed((allOf as readonly Schema[]).map(typeHtml), " and ");
  if (schema["const"] !== undefined) return code(JSON.stringify(schema["const"]));
  if (schema["enum"] !== undefined)
    return listed(
      (schema["enum"] as readonly Json[]).map((each) => code(JSON.stringify(each))),
      " or ",
    );
  if (items !== undefined) return html`list of ${typeHtml(items as Schema)}`;
  if (typeof additionalProperties === "object")
    return html`object of ${typeHtml(additionalProperties as Schema)}`;
  const names = (Array.isArray(type) ? type : [type ?? "any"]) as readonly string[];
  return plain([...names, ...limitsOf(schema)].join(" "));
}

/** Keywords that a reader should know of, in words. */
const limitWords = {
  pattern: (limit) => `like ${limit}`,
  minimum: (limit) => `from ${limit}`,
  maximum: (limit) => `to ${limit}`,
  exclusiveMinimum: (limit) => `above ${limit}`,
  maxLength: (limit) => `of at most ${limit} characters`,
} as const satisfies Readonly<Record<string, (limit: string | number) => string>>;

function limitsOf(schema: Schema): string[] {
  return Object.entries(limitWords).flatMap(([keyword, words]) => {
    const limit = schema[keyword];
    return typeof limit === "string" || typeof limit === "number" ? [words(limit)] : [];
  });
}

function listed(parts: readonly Html[], between: string): Html {
  return html`${parts.map((part, i) => html`${i === 0 ? "" : between}${part}`)}`;
}

/** A command line for a shell, over POST where there is a body. */
function curl({ origin, asksWho = false }: CommandTerms, path: string, body?: object): string {
  const quote = (text: string) => `'${withinQuotes(text)}'`;
  return [
    `curl -sS ${quote(origin + path)}`,
    ...(asksWho ? ['-H "authorization: Bearer $ONCEFLOW_KEY"'] : []),
    ...(body === undefined
      ? []
      : [`-H 'content-type: application/json'`, `-d ${quote(JSON.stringify(body))}`]),
  ].join(" \\\n  ");
}

/** A text as a shell takes it between single quotes. */
function withinQuotes(text: string): string {
  return text.replaceAll("'", "'\\''");
}

function objectAt(value: Json | undefined, member: string): Schema {
  const found = isObject(value) ? value[member] : undefined;
  return isObject(found) ? found : {};
}

function textAt(value: Json | undefined, member: string): string {
  const found = isObject(value) ? value[member] : undefined;
  return typeof found === "string" ? found : "";
}

function isObject(value: Json | undefined): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
