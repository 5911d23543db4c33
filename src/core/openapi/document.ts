// The OpenAPI document of mounts: what there is, as its routes say, for code generators, fuzzers and people.
// Must hold: a mount that its reader cannot reach is not in it.

import { sliced, type Work } from "../../lib/slices.ts";
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

/** The document as JSON. `generic`: mount paths are parameters, but for those that are always where they are. A mount at a
 *  time: each takes a millisecond, and there may be hundreds. */
function* printing(mounts: readonly Mounted[], generic: boolean): Work<string> {
  const paths = new Map<string, string>();
  const schemas = new Map<string, string>();
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
      if (parameter === null) paths.set(`${above}${place}${path}`, JSON.stringify(item));
      else {
        const all = [...(item.parameters ?? []), mountParameter(parameter, mounted)];
        paths.set(`${above}{${parameter}}${path}`, JSON.stringify({ ...item, parameters: all }));
      }
    }
    for (const [name, schema] of made.schemas) schemas.set(name, JSON.stringify(schema));
    yield;
  }
  const { paths: _paths, components, ...head } = envelope([], []);
  const { schemas: _schemas, ...others } = components;
  const open = (part: object): string => JSON.stringify(part).slice(0, -1);
  return `${open(head)},"paths":{${members(paths)}},"components":${open(others)},"schemas":{${members(schemas)}}}}\n`;
}

const members = (texts: ReadonlyMap<string, string>): string =>
  Array.from(texts, ([name, text]) => `${JSON.stringify(name)}:${text}`).join(",");

const kept = new WeakMap<MountTable, Map<string, string>>();
/** Different readers reach different mounts; most of them one of a few sets. */
const most = 16;

/** The document of `mounts`, which are some of the table's. Kept for as long as these stay the same. */
export async function documentText(table: MountTable, mounts: readonly Mounted[], generic: boolean): Promise<string> {
  const key = `${generic} ${mounts.map((mounted) => mounted.path).join(" ")}`;
  let texts = kept.get(table);
  if (texts === undefined) kept.set(table, (texts = new Map()));
  let text = texts.get(key);
  if (text === undefined) {
    text = await sliced(printing(mounts, generic));
    if (texts.size >= most) texts.clear();
    texts.set(key, text);
  }
  return text;
}
