// The one spelling of a name in a path. Where a mount takes several spellings for one object (a user in capitals), the
// path is put into the one before anything is asked about it.
// Must hold: the path that policies are asked about and that the audit has is the one that the handler acts on; a spelling
// never makes a path of another shape.

import type { Resource, Route } from "../sdk/mount.ts";
import type { MountTable } from "./mounts.ts";
import type { RouteMatch } from "./routes.ts";

/** Routes at and below an object know how its name is spelled. */
export function spelled(resources: readonly Resource[], routes: readonly Route[]): readonly Route[] {
  return routes.map((route) => {
    const resource = resources.find(({ path }) => route.path === path || route.path.startsWith(`${path}/`));
    if (resource?.normalize === undefined) return route;
    const name = resource.path.slice(resource.path.lastIndexOf(":") + 1);
    return { ...route, spelling: { [name]: resource.normalize } };
  });
}

const shapeOf = (text: string): number => text.split("/").length;
const isSegment = (text: string): boolean => text !== "" && text !== "." && text !== "..";

/** The path below the mount in its one spelling; the same text where it is spelled so, null where nothing can be. */
export function respell({ route, params }: RouteMatch, path: string): string | null {
  if (route.spelling === undefined) return path;
  const names: Record<string, string> = { ...params };
  let changed = false;
  for (const [name, spell] of Object.entries(route.spelling)) {
    const given = params[name] ?? "";
    const now = spell(given);
    if (now === given) continue;
    if (shapeOf(now) !== shapeOf(given) || !now.split("/").every(isSegment)) return null;
    names[name] = now;
    changed = true;
  }
  if (!changed) return path;
  const segments = route.path.split("/").map((segment) => {
    return segment.startsWith(":") ? (names[segment.slice(1).replace(/\*+$/, "")] ?? "") : segment;
  });
  return segments.join("/") + (path.endsWith("/") ? "/" : "");
}

/** A whole path in its one spelling. */
export function spelledPath(mounts: Pick<MountTable, "route">, path: string): string {
  const mounted = mounts.route(path);
  const below = path.slice(mounted?.path.length);
  const match = mounted?.match(below);
  return mounted && match ? `${mounted.path}${respell(match, below) ?? below}` : path;
}
