import { describe, expect, it } from "vitest";
import type { Route } from "../sdk/mount.ts";
import { compileRoutes } from "./routes.ts";

const routes = ["", "config", "data/:path*", "keys/:name", "keys/:name/rotate", "keys/special", "tree/:rest**"];
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
  });
});
