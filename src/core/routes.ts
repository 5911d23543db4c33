// Finds the route of a path inside a mount. Compiled once per mount; a lookup splits nothing it need not.
// Must hold: the path that is matched here is the very string that policies are asked about, below the mount's path.

import type { Route } from "../sdk/mount.ts";

export interface RouteMatch {
  readonly route: Route;
  readonly params: Readonly<Record<string, string>>;
}

interface Rest {
  readonly name: string;
  /** Null where only routes with an ending stand here. */
  route: Route | null;
  empty: boolean;
  /** By what stands behind the parameter, such as "/tune". */
  readonly endings: Map<string, Route>;
}

interface Node {
  readonly literals: Map<string, Node>;
  param: { readonly name: string; readonly node: Node } | null;
  rest: Rest | null;
  route: Route | null;
}

const node = (): Node => ({ literals: new Map(), param: null, rest: null, route: null });

function insert(root: Node, route: Route): void {
  let at = root;
  const segments = route.path === "" ? [] : route.path.split("/");
  for (const [index, segment] of segments.entries()) {
    if (segment.startsWith(":") && segment.endsWith("*")) {
      insertRest(at, segment, segments.slice(index + 1), route);
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

function insertRest(at: Node, segment: string, ending: readonly string[], route: Route): void {
  const empty = segment.endsWith("**");
  const name = segment.slice(1, empty ? -2 : -1);
  const rest = (at.rest ??= { name, route: null, empty: false, endings: new Map() });
  if (rest.name !== name) throw new Error(`route ${route.path}: the parameter is :${rest.name} elsewhere`);
  if (ending.length === 0) {
    if (rest.route !== null) throw new Error(`route ${route.path} stands twice`);
    rest.route = route;
    rest.empty = empty;
    return;
  }
  if (empty || ending.some((one) => one.startsWith(":")))
    throw new Error(
      `route ${route.path}: behind a rest parameter, which has one segment or more, stand literals alone`,
    );
  const text = `/${ending.join("/")}`;
  if (rest.endings.has(text)) throw new Error(`route ${route.path} stands twice`);
  rest.endings.set(text, route);
}

function findRest(rest: Rest, path: string, start: number, params: Record<string, string>): Route | null {
  for (const [ending, route] of rest.endings) {
    const end = path.length - ending.length;
    if (end <= start || !path.endsWith(ending)) continue;
    params[rest.name] = path.slice(start, end);
    return route;
  }
  if (rest.route !== null) params[rest.name] = path.slice(start);
  return rest.route;
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
  return at.rest === null ? null : findRest(at.rest, path, start, params);
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
