/** The routes that an application has, as its router knows them. */
import type { FastifyInstance } from "fastify";

/**
 * Every `METHOD /path`, parameters as `:name`, but for HEAD; sorted.
 *
 * @param headers - by which the caller may ask for each of them
 */
export async function routesOf(
  app: FastifyInstance,
  headers: Readonly<Record<string, string>> = {},
): Promise<string[]> {
  await app.ready();
  const found: string[] = [];
  for (const url of urlsOf(app.printRoutes({ commonPrefix: false })))
    for (const method of app.supportedMethods.filter((each) => each !== "HEAD")) {
      // A path that takes some methods only refuses the others.
      const { statusCode } = await app.inject({ method: method as "GET", url, headers });
      if (statusCode !== 405) found.push(`${method} ${url}`);
    }
  return found.sort();
}

/** The urls of a tree of routes, as Fastify prints it. */
function urlsOf(tree: string): Set<string> {
  const urls = new Set<string>();
  const path: string[] = [];
  for (const line of tree.split("\n")) {
    const [, indent = "", part = "", methods] =
      /^((?:│ {3}| {4})*)[├└]── (\S*)(?: \((.*)\))?/.exec(line) ?? [];
    if (part === "") continue;
    path.length = indent.length / 4;
    path.push(part);
    if (methods !== undefined) urls.add(path.join("").replaceAll("//", "/"));
  }
  return urls;
}
