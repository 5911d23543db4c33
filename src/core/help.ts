// `?help=1` on any path: what can be asked there, from the routes themselves. As in Vault it takes a valid token and no
// capability; other than there, of mounts that the token can do nothing in it says nothing.

import { VaultError } from "../sdk/errors.ts";
import type { Response } from "../sdk/request.ts";
import { type CoreCall, coreHandler } from "./call.ts";
import { envelope, routesAt } from "./openapi/document.ts";
import { pathsOf, type RouteShape } from "./openapi/paths.ts";
import type { Mounted } from "./mounts.ts";
import type { RouteMatch } from "./routes.ts";
import { deniedError } from "./session.ts";

const verbs = {
  read: "GET",
  list: "LIST",
  scan: "SCAN",
  create: "POST",
  update: "POST",
  patch: "PATCH",
  delete: "DELETE",
};

const operationsOf = (route: RouteShape): string[] =>
  Object.entries(verbs).flatMap(([operation, verb]) => {
    const handler = route.on[operation as keyof typeof verbs];
    return handler === undefined || handler.unpublished ? [] : [`    ${verb.padEnd(6)}  ${handler.summary}`];
  });

function parametersOf(route: RouteShape): string[] {
  const caught = route.path.split("/").filter((segment) => segment.startsWith(":"));
  const inPath = caught.map((segment) => `    ${segment.replace(/^:|\*+$/g, "")} (string)\n        Stands in the path`);
  const fields = new Map(Object.values(route.on).flatMap((handler) => Object.entries(handler.fields ?? {})));
  const named = [...fields].map(([name, { type, description }]) => `    ${name} (${type})\n        ${description}`);
  return [...inPath, ...named];
}

function textOf(route: RouteShape, below: string): string {
  const parameters = parametersOf(route);
  return [
    `Request:        ${below}`,
    `Matching Route: ${route.path}`,
    "",
    ...operationsOf(route),
    ...(parameters.length > 0 ? ["", "## PARAMETERS", "", ...parameters] : []),
    "",
  ].join("\n");
}

function textOfAll(mounted: Mounted, routes: readonly RouteShape[]): string {
  const paths = routes.map((route) => [
    `    ${route.path || "(the mount itself)"}`,
    ...operationsOf(route).map((line) => `    ${line}`),
  ]);
  const intro =
    "Ask for help on a path that one of these fits to read of its parameters. What may be asked depends on policies.";
  const about = mounted.plugin?.description ?? mounted.description;
  return ["## DESCRIPTION", "", about, "", "## PATHS", "", intro, "", ...paths.flat(), ""].join("\n");
}

function answer(help: string, mounted: Mounted, routes: readonly RouteShape[]): Response {
  const { items, schemas } = pathsOf(routes, { prefix: mounted.type, tag: mounted.class });
  const body = { help, see_also: [], openapi: envelope(items, schemas) };
  return { text: { type: "application/json", body: `${JSON.stringify(body)}\n` } };
}

function help({ mounted, session, request }: CoreCall): Response {
  if (session === null) throw deniedError();
  if (!session.acl.reachable(mounted.path)) throw new VaultError("denied", "permission denied");
  const routes = routesAt(mounted);
  const below = request.path.slice(mounted.path.length).replace(/\/$/, "");
  if (below === "") return answer(textOfAll(mounted, routes), mounted, routes);
  const matched = mounted.match(below)?.route;
  // Those in front of the door are literal, and stand before what would catch them otherwise.
  const route = routes.find(({ path }) => path === below) ?? matched;
  if (route === undefined) {
    throw new VaultError("not_found", `no handler for route "${request.path}". route entry not found.`);
  }
  return answer(textOf(route, below), mounted, [route]);
}

/** What the door takes for the route of whatever help is asked about: it needs a token, and nothing else. */
export const helpMatch: RouteMatch = {
  route: {
    path: "",
    on: { help: coreHandler({ summary: "Help", mutates: false, open: true, run: async (call) => help(call) }) },
  },
  params: {},
};
