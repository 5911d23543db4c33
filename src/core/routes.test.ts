import { describe, expect, it } from "vitest";
import type { Route } from "../sdk/mount.ts";
import { compileRoutes } from "./routes.ts";

const routes = [
  "",
  "config",
  "data/:path*",
  "keys/:name",
  "keys/:name/rotate",
  "keys/special",
  "tree/:rest**",
  "at/:path*",
  "at/:path*/tune",
  "at/own/:path*/tune",
  "only/:path*/end/now",
];
const match = compileRoutes(routes.map((path): Route => ({ path, on: {} })));

const told = (path: string): string => {
  const found = match(path);
  return found === null ? "none" : `${found.route.path} ${JSON.stringify(found.params)}`;
};

describe("routes", () => {
  it.each([
    ["", " {}"],
    ["config", "config {}"],
    ["config/", "config {}"],
    ["config/more", "none"],
    ["data/a", 'data/:path* {"path":"a"}'],
    ["data/a/b c/d", 'data/:path* {"path":"a/b c/d"}'],
    ["data/a/", 'data/:path* {"path":"a"}'],
    ["data", "none"],
    ["data/", "none"],
    ["keys/x", 'keys/:name {"name":"x"}'],
    ["keys/x/rotate", 'keys/:name/rotate {"name":"x"}'],
    ["keys/special", "keys/special {}"],
    ["keys/special/rotate", 'keys/:name/rotate {"name":"special"}'],
    ["keys/x/other", "none"],
    ["tree", 'tree/:rest** {"rest":""}'],
    ["tree/", 'tree/:rest** {"rest":""}'],
    ["tree/a/b", 'tree/:rest** {"rest":"a/b"}'],
    ["at/a", 'at/:path* {"path":"a"}'],
    ["at/a/tune", 'at/:path*/tune {"path":"a"}'],
    ["at/a/tune/", 'at/:path*/tune {"path":"a"}'],
    ["at/a/b/c/tune", 'at/:path*/tune {"path":"a/b/c"}'],
    ["at/tune", 'at/:path* {"path":"tune"}'],
    ["at/tune/tune", 'at/:path*/tune {"path":"tune"}'],
    ["at/a/fortune", 'at/:path* {"path":"a/fortune"}'],
    ["at/a/tune/b", 'at/:path* {"path":"a/tune/b"}'],
    ["at/own/a/b/tune", 'at/own/:path*/tune {"path":"a/b"}'],
    ["at/own/tune", 'at/:path*/tune {"path":"own"}'],
    ["at/own/a", 'at/:path* {"path":"own/a"}'],
    ["only/a/b/end/now", 'only/:path*/end/now {"path":"a/b"}'],
    ["only/a/now", "none"],
    ["unknown", "none"],
    ["constructor", "none"],
    ["data/__proto__", 'data/:path* {"path":"__proto__"}'],
  ])("%j leads to %s", (path, expected) => {
    expect(told(path)).toBe(expected);
  });

  it("refuses a table that contradicts itself", () => {
    const twice: Route[] = [
      { path: "a/:b", on: {} },
      { path: "a/:c/d", on: {} },
    ];
    expect(() => compileRoutes(twice)).toThrow(/parameter is :b elsewhere/);
    expect(() => compileRoutes([twice[0] as Route, twice[0] as Route])).toThrow(/stands twice/);
    const refused = (...paths: string[]): (() => unknown) => {
      const table = paths.map((path): Route => ({ path, on: {} }));
      return () => compileRoutes(table);
    };
    expect(refused("a/:b*", "a/:b*")).toThrow(/stands twice/);
    expect(refused("a/:b*/c", "a/:b*/c")).toThrow(/stands twice/);
    expect(refused("a/:b*", "a/:c*/d")).toThrow(/parameter is :b elsewhere/);
    expect(refused("a/:b*/:c")).toThrow(/literals alone/);
    expect(refused("a/:b**/c")).toThrow(/literals alone/);
  });
});
