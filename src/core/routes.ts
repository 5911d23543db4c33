// Finds the route of a path inside a mount. Compiled once per mount; a lookup splits nothing it need not.
// Must hold: the path that is matched here is the very string that policies are asked about, below the mount's path.

import type { Route } from "../sdk/mount.ts";

export interface RouteMatch {
  readonly route: Route;
  readonly params: Readonly<Record<string, string>>;
}

interface Node {
  readonly literals: Map<string, Node>;
  param: { readonly name: string; readonly node: Node } | null;
  rest: { readonly name: string; readonly route: Route; readonly empty: boolean } | null;
  route: Route | null;
}

const node = (): Node => ({ literals: new Map(), param: null, rest: null, route: null });

function insert(root: Node, route: Route): void {
  let at = root;
  const segments = route.path === "" ? [] : route.path.split("/");
  for (const [index, segment] of segments.entries()) {
    if (segment.startsWith(":") && segment.endsWith("*")) {
      if (index !== segments.length - 1) throw new Error(`route ${route.path}: a rest parameter stands last`);
      const empty = segment.endsWith("**");
      at.rest = { name: segment.slice(1, empty ? -2 : -1), route, empty };
      return;
    }
    if (segment.startsWith(":")) {
      at.param ??= { name: segment.slice(1), node: node() };
      if (at.param.name !== segment.slice(1))
        throw new Error(`route ${route.path}: the parameter is :${at.param.name} elsewhere`);
      at = at.param.node;
    } else {
      let next = at.literals.get(segment);
      if (next === undefined) at.literals.set(segment, (next = node()));
      at = next;
    }
  }
  if (at.route !== null) throw new Error(`route ${route.path} stands twice`);
  at.route = route;
}

function find(at: Node, path: string, start: number, params: Record<string, string>): Route | null {
  if (start >= path.length) {
    if (at.route !== null) return at.route;
    if (at.rest?.empty) {
      params[at.rest.name] = "";
      return at.rest.route;
    }
    return null;
  }
  const slash = path.indexOf("/", start);
  const end = slash < 0 ? path.length : slash;
  const segment = path.slice(start, end);
  const literal = at.literals.get(segment);
  if (literal !== undefined) {
    const found = find(literal, path, end + 1, params);
    if (found !== null) return found;
  }
  if (at.param !== null && segment !== "") {
    const found = find(at.param.node, path, end + 1, params);
    if (found !== null) {
      params[at.param.name] = segment;
      return found;
    }
  }
  if (at.rest === null) return null;
  params[at.rest.name] = path.slice(start);
  return at.rest.route;
}

export type Matcher = (path: string) => RouteMatch | null;

/** `path` is below the mount, without a leading slash; a trailing slash (lists) does not matter. */
export function compileRoutes(routes: readonly Route[]): Matcher {
  const root = node();
  for (const route of routes) insert(root, route);
  return (path) => {
    const params = Object.create(null) as Record<string, string>;
    const route = find(root, path.endsWith("/") ? path.slice(0, -1) : path, 0, params);
    return route === null ? null : { route, params };
  };
}
