// A mount's routes as path items of OpenAPI 3.0, with the extensions that Vault's clients read.
// Must hold: every operation of every route is there once; what a literal route answers is never shown as a parameter's.
// Known gap: OpenAPI has no parameter with slashes in it, so that the rest of a path (`:name*`) stands there as one segment.

import type { Fields } from "../../sdk/fields.ts";
import type { Handler, Route } from "../../sdk/mount.ts";
import type { Operation } from "../../sdk/request.ts";
import { objectOf, type Schema, schemaOf } from "./schema.ts";

type Described = Pick<Handler, "summary" | "fields" | "open" | "sudo" | "share" | "unpublished">;

/** What a document needs to know of a route; every Route is one. */
export interface RouteShape extends Pick<Route, "path" | "unauthenticated" | "sudo"> {
  readonly on: Partial<Readonly<Record<Operation, Described>>>;
  readonly exists?: unknown;
}

export interface Parameter {
  readonly name: string;
  readonly in: "path" | "query";
  readonly required?: true;
  readonly description: string;
  readonly schema: Schema;
}

export type PathItem = Readonly<Record<string, unknown>> & { readonly parameters?: readonly Parameter[] };

export interface Paths {
  /** Below the mount, each with a slash in front. */
  readonly items: ReadonlyMap<string, PathItem>;
  /** Of requests' bodies, by name. */
  readonly schemas: ReadonlyMap<string, Schema>;
}

export interface Naming {
  /** In front of every operation id. */
  readonly prefix: string;
  readonly tag: string;
}

/** How operations are asked for, in the order in which one shadows the next at the same method. */
const methods = [
  ["get", ["read", "list", "scan"]],
  ["post", ["update", "create"]],
  ["patch", ["patch"]],
  ["delete", ["delete"]],
] as const satisfies readonly (readonly [string, readonly Operation[]])[];

const verbs: Readonly<Partial<Record<Operation, string>>> = { update: "write", create: "write" };

/** The path that a route serves, first, and the one that is left where its rest is empty. */
function spellings(path: string): readonly string[] {
  const segments = path === "" ? [] : path.split("/");
  const whole = segments.map((segment) => (segment.startsWith(":") ? `{${segment.replace(/^:|\*+$/g, "")}}` : segment));
  const found = [`/${whole.join("/")}`];
  if (path.endsWith("**")) found.push(`/${whole.slice(0, -1).join("/")}`);
  return found;
}

function parametersOf(route: RouteShape, path: string): Parameter[] {
  return route.path.split("/").flatMap((segment): Parameter[] => {
    const name = segment.replace(/^:|\*+$/g, "");
    if (!segment.startsWith(":") || !path.includes(`{${name}}`)) return [];
    const description = segment.endsWith("*")
      ? `The rest of the path: "${name}" may hold slashes`
      : `"${name}", as it stands in the path`;
    return [{ name, in: "path", required: true, description, schema: { type: "string", minLength: 1 } }];
  });
}

const flag = (name: "list" | "scan", only: boolean): Parameter => ({
  name,
  in: "query",
  ...(only && { required: true }),
  description: only ? "Must be set to `true`" : `Answers with a ${name} where \`true\``,
  schema: { type: "string", ...(only ? { enum: ["true"] } : { enum: ["true", "false"] }) },
});

const queried = (fields: Fields): Parameter[] =>
  Object.entries(fields).map(([name, field]) => ({
    name,
    in: "query",
    ...(field.required && { required: true }),
    description: field.description,
    schema: schemaOf(field),
  }));

const shareField: Schema = {
  type: "string",
  description: "A share of the key, as hex or base64",
  "x-vault-displayAttrs": { sensitive: true },
};

function bodyOf({ fields = {}, open, share }: Described): Schema | null {
  const schema = objectOf(fields);
  if (!share) return Object.keys(fields).length > 0 || open ? schema : null;
  return { ...schema, properties: { ...(schema["properties"] as object), key: shareField }, required: ["key"] };
}

const refused = { $ref: "#/components/responses/Errors" };
const answers: Readonly<Record<(typeof methods)[number][0], readonly [number, ...number[]]>> = {
  get: [200],
  post: [200, 204],
  patch: [200, 204],
  delete: [204, 200],
};
const texts: Readonly<Record<number, string>> = { 200: "OK", 204: "empty body" };

function responsesOf(method: (typeof methods)[number][0]): Schema {
  const good = answers[method].map((code) => [code, { description: texts[code] }] as const);
  return { ...Object.fromEntries(good), 400: refused, 403: refused, 404: refused, default: refused };
}

const isPublished = (handler: Described | undefined): boolean => handler !== undefined && !handler.unpublished;

const titled = (id: string): string =>
  id
    .split("-")
    .map((word) => word.slice(0, 1).toUpperCase() + word.slice(1))
    .join("");

const words = (path: string): string => path.split(/\W+/).filter(Boolean).join("-").toLowerCase();

export function pathsOf(routes: readonly RouteShape[], { prefix, tag }: Naming): Paths {
  const items = new Map<string, PathItem>();
  const schemas = new Map<string, Schema>();
  const ids = new Set<string>();
  const idOf = (operation: Operation, path: string): string => {
    const base = [prefix, verbs[operation] ?? operation, words(path)].filter(Boolean).join("-");
    let id = base;
    for (let count = 2; ids.has(id); count++) id = `${base}-${count}`;
    ids.add(id);
    return id;
  };

  const operationOf = (route: RouteShape, path: string, method: (typeof methods)[number][0]): Schema | null => {
    const wanted = methods.find(([name]) => name === method)?.[1] ?? [];
    const served: readonly Operation[] = wanted.filter((operation) => isPublished(route.on[operation]));
    const [operation] = served;
    const handler = operation === undefined ? undefined : route.on[operation];
    if (operation === undefined || handler === undefined) return null;
    const id = idOf(operation, path);
    const reads = method === "get" || method === "delete";
    const flags = (["list", "scan"] as const).flatMap((name) =>
      served.includes(name) ? [flag(name, operation === name && served.length === 1)] : [],
    );
    const more = method === "get" ? served.map((name) => route.on[name]?.fields ?? {}) : [handler.fields ?? {}];
    const parameters = reads ? [...queried(Object.assign({}, ...more) as Fields), ...flags] : [];
    const body = reads ? null : bodyOf(handler);
    if (body !== null) schemas.set(`${titled(id)}Request`, body);
    return {
      summary: handler.summary,
      operationId: id,
      tags: [tag],
      ...(handler.sudo && { "x-vault-sudo": true }),
      ...(route.unauthenticated && { security: [] }),
      ...(parameters.length > 0 && { parameters }),
      ...(body !== null && { requestBody: requestOf(method, `${titled(id)}Request`, body) }),
      responses: responsesOf(method),
    };
  };

  const add = (route: RouteShape, path: string): void => {
    if (items.has(path)) return;
    const operations = methods.flatMap(([method]) => {
      const operation = operationOf(route, path, method);
      return operation === null ? [] : [[method, operation] as const];
    });
    const [first] = operations;
    if (first === undefined) return;
    const parameters = parametersOf(route, path);
    items.set(path, {
      description: first[1]["summary"],
      ...(parameters.length > 0 && { parameters }),
      ...(route.sudo && { "x-vault-sudo": true }),
      ...(route.unauthenticated && { "x-vault-unauthenticated": true }),
      ...((route.exists !== undefined || route.on.create !== undefined) && { "x-vault-createSupported": true }),
      ...Object.fromEntries(operations),
    });
  };

  const spelled = routes.map((route) => [route, spellings(route.path)] as const);
  for (const [route, [whole = "/"]] of spelled) add(route, whole);
  for (const [route, [, rest]] of spelled) if (rest !== undefined) add(route, rest);
  return { items, schemas };
}

function requestOf(method: string, name: string, { required }: Schema): Schema {
  const type = method === "patch" ? "application/merge-patch+json" : "application/json";
  return {
    required: Array.isArray(required),
    content: { [type]: { schema: { $ref: `#/components/schemas/${name}` } } },
  };
}
