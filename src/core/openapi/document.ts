// The OpenAPI document of mounts: what there is, as its routes say, for code generators, fuzzers and people.
// Must hold: a mount that its reader cannot reach is not in it.

import { version } from "../../version.ts";
import type { Mounted, MountTable } from "../mounts.ts";
import { outsideRoutes } from "./outside.ts";
import { type Parameter, type PathItem, pathsOf, type RouteShape } from "./paths.ts";
import type { Schema } from "./schema.ts";

export interface Document {
  readonly openapi: "3.0.2";
  readonly info: Schema;
  readonly servers: readonly Schema[];
  readonly security: readonly Schema[];
  readonly paths: Readonly<Record<string, PathItem>>;
  readonly components: Schema;
}

/** Those that the door serves, and those in front of it. */
export const routesAt = ({ path, routes }: Mounted): readonly RouteShape[] =>
  path === "sys/" ? [...routes, ...outsideRoutes] : routes;

function tagOf({ class: mountClass, path }: Mounted): string {
  if (mountClass !== "system") return mountClass === "auth" ? "auth" : "secrets";
  return { "sys/": "system", "identity/": "identity", "auth/token/": "auth" }[path] ?? "secrets";
}

/** The type alone at its usual path. */
function prefixOf({ type, path }: Mounted): string {
  const place = path.replace(/^auth\/|\/$/g, "");
  return place === type || place === "sys" ? type : `${type}-${place.replaceAll("/", "-")}`;
}

export function envelope(paths: Iterable<readonly [string, PathItem]>, schemas: Iterable<readonly [string, Schema]>) {
  const document: Document = {
    openapi: "3.0.2",
    info: {
      title: "Writ API",
      description: "The Vault protocol. All routes are prefixed with `/v1/`.",
      version,
      license: { name: "Apache-2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" },
    },
    servers: [{ url: "/v1" }],
    security: [{ token: [] }],
    paths: Object.fromEntries(paths),
    components: {
      securitySchemes: { token: { type: "apiKey", in: "header", name: "X-Vault-Token" } },
      responses: {
        Errors: {
          description: "Refused, and why",
          content: {
            "application/json": {
              schema: {
                type: "object",
                properties: { errors: { type: "array", items: { type: "string" } } },
              },
            },
          },
        },
      },
      schemas: Object.fromEntries(schemas),
    },
  };
  return document;
}

function mountParameter(name: string, { path }: Mounted): Parameter {
  const place = path.replace(/^auth\/|\/$/g, "");
  const description = "Path that the mount is at";
  return { name, in: "path", required: true, description, schema: { type: "string", default: place } };
}

/** One name for each of `wanted`, which may come twice. */
function distinct(taken: Set<string>, wanted: string): string {
  let name = wanted;
  for (let count = 2; taken.has(name); count++) name = `${wanted}_${count}`;
  taken.add(name);
  return name;
}

/** `generic`: mount paths are parameters, but for those that are always where they are. */
export function documentOf(mounts: readonly Mounted[], generic: boolean): Document {
  const paths: [string, PathItem][] = [];
  const schemas: [string, Schema][] = [];
  const prefixes = new Set<string>();
  const parameters = new Set<string>();
  for (const mounted of [...mounts].sort((one, other) => (one.path < other.path ? -1 : 1))) {
    const naming = { prefix: distinct(prefixes, prefixOf(mounted)), tag: tagOf(mounted) };
    const made = pathsOf(routesAt(mounted), naming);
    const above = mounted.path.startsWith("auth/") ? "/auth/" : "/";
    const place = mounted.path.slice(above.length - 1, -1);
    const parameter =
      generic && mounted.class !== "system" ? distinct(parameters, `${place.replace(/\W/g, "_")}_mount_path`) : null;
    for (const [path, item] of made.items) {
      if (parameter === null) paths.push([`${above}${place}${path}`, item]);
      else {
        const all = [...(item.parameters ?? []), mountParameter(parameter, mounted)];
        paths.push([`${above}{${parameter}}${path}`, { ...item, parameters: all }]);
      }
    }
    schemas.push(...made.schemas);
  }
  return envelope(paths, schemas);
}

const kept = new WeakMap<MountTable, Map<string, string>>();
/** Different readers reach different mounts; most of them one of a few sets. */
const most = 16;

/** The document as JSON, of those mounts that `reaches` says. Kept for as long as the mounts stay the same. */
export function documentText(table: MountTable, reaches: (path: string) => boolean, generic: boolean): string {
  const mounts = [...table].filter((mounted) => reaches(mounted.path));
  const key = `${generic} ${mounts.map((mounted) => mounted.path).join(" ")}`;
  let texts = kept.get(table);
  if (texts === undefined) kept.set(table, (texts = new Map()));
  let text = texts.get(key);
  if (text === undefined) {
    text = `${JSON.stringify(documentOf(mounts, generic))}\n`;
    if (texts.size >= most) texts.clear();
    texts.set(key, text);
  }
  return text;
}
