// The routes that existing clients need (routes.json, most used first), which of them a request belongs to, and what two
// clients' recorded calls say of them.

import { readFileSync } from "node:fs";
import type { Exchange } from "./recorder.ts";

export interface Wanted {
  /** "POST sys/mounts/:path". LIST stands for GET with `list=true` too, POST for PUT. */
  readonly route: string;
  /** Those that clients of other servers have seen there; null where nobody has written them down. */
  readonly statuses: readonly number[] | null;
  /** Why a status is seen here and not there, or the other way round. */
  readonly differs?: Readonly<Record<string, string>>;
}

/** Statuses by client and route. */
export type Recording = Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>;

const fileOf = (name: string): URL => new URL(name, import.meta.url);
export const recordingFile = fileOf("./recording.json");
export const wanted = JSON.parse(readFileSync(fileOf("./routes.json"), "utf8")) as readonly Wanted[];
export const readRecording = (): Recording => JSON.parse(readFileSync(recordingFile, "utf8")) as Recording;

/** Mounts that the clients use, by what stands for them in a route. */
const mounts: Readonly<Record<string, string>> = { ":kv2": "kv2", ":mount": "(?:kv1|moved)" };

function patternOf(route: string): RegExp {
  const segments = route.split(" ")[1]?.split("/") ?? [];
  const texts = segments.map((segment, at) => {
    if (!segment.startsWith(":")) return segment;
    // What is configured at a mount: of the engines here the second version of KV is.
    if (at === 0 && segments[1] === "config") return "kv2";
    if (at === 0) return mounts[segment] ?? "";
    // Below auth/ a mount, in the middle a name; at the end whatever is left.
    return at === segments.length - 1 || segments[at + 1] === "tune" ? ".+" : "[^/]+";
  });
  return new RegExp(`^${texts.join("/")}/?$`);
}

/** More literal segments first, so that `tune` and `login` are not taken for names. */
const rank = ({ route }: Wanted): number => route.split("/").filter((segment) => !segment.includes(":")).length;
const patterns = [...wanted]
  .sort((a, b) => rank(b) - rank(a))
  .map((one) => ({ route: one.route, method: one.route.split(" ")[0], pattern: patternOf(one.route) }));

/** Null where it is none of them. */
export function routeOf({ method, target }: Exchange): string | null {
  const url = new URL(`http://vault${target}`);
  const path = decodeURIComponent(url.pathname)
    .replace(/^\/v1\/+/, "")
    .replace(/\/{2,}/g, "/");
  const listed = method === "GET" && ["true", "1"].includes(url.searchParams.get("list")?.toLowerCase() ?? "");
  const asked = listed ? "LIST" : method === "PUT" ? "POST" : method;
  return patterns.find((one) => one.method === asked && one.pattern.test(path))?.route ?? null;
}

export function recordingOf(exchanges: Readonly<Record<string, readonly Exchange[]>>): Recording {
  const clients = Object.entries(exchanges).map(([client, all]) => {
    const seen = new Map<string, Set<number>>();
    for (const exchange of all) {
      const route = routeOf(exchange);
      if (route !== null) seen.set(route, (seen.get(route) ?? new Set()).add(exchange.status));
    }
    const rows = wanted.flatMap(({ route }) => {
      const statuses = seen.get(route);
      return statuses === undefined ? [] : [[route, [...statuses].sort((a, b) => a - b)] as const];
    });
    return [client, Object.fromEntries(rows)] as const;
  });
  return Object.fromEntries(clients);
}

/** As the formatter leaves it: the statuses of a route on one line. */
export const textOf = (recording: Recording): string =>
  `${JSON.stringify(recording, null, 2).replace(/\[[^\]]*\]/g, (list) => list.replace(/\s+/g, " ").replace(/ ?([[\]]) ?/g, "$1"))}\n`;

/** What is wrong: routes that no client asks for, and statuses that are not explained. */
export function faultsOf(recording: Recording): string[] {
  return wanted.flatMap(({ route, statuses, differs = {} }) => {
    const seen = new Set(Object.values(recording).flatMap((routes) => routes[route] ?? []));
    if (seen.size === 0) return [`${route}: no client asks for it`];
    const listed = new Set(statuses ?? seen);
    const odd = [...new Set([...seen, ...listed])].filter((status) => seen.has(status) !== listed.has(status));
    const unexplained = odd.filter((status) => differs[status] === undefined);
    const stale = Object.keys(differs).filter((status) => !odd.includes(Number(status)));
    return [
      ...unexplained.map((status) => `${route}: ${status} is ${seen.has(status) ? "seen here only" : "not seen here"}`),
      ...stale.map((status) => `${route}: ${status} is explained without need`),
    ];
  });
}
