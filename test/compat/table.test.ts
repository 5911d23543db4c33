// What the last recording of real clients says (clients.prove.ts makes it anew) covers every route, and the README shows it.

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { faultsOf, readRecording, recordingFile, recordingOf, routeOf, textOf, wanted } from "./routes.ts";
import { readTable, tableOf } from "./table.ts";

const asked = (method: string, target: string): string | null => routeOf({ method, target, status: 200 });

describe("recorded calls", () => {
  it("cover every route, with no status that is not explained", () => {
    expect(faultsOf(readRecording())).toEqual([]);
    expect(new Set(wanted.map(({ route }) => route)).size).toBe(wanted.length);
  });

  it("are written as the formatter leaves them", () => {
    expect(readFileSync(recordingFile, "utf8")).toBe(textOf(readRecording()));
  });

  it("stand in the README (else run: node test/compat/table.ts)", () => {
    expect(readTable()).toBe(tableOf(readRecording()));
  });
});

describe("a request's route", () => {
  it.each([
    ["POST", "/v1/sys/mounts/a/b/c", "POST sys/mounts/:path"],
    ["PUT", "/v1/sys/mounts/a/b/c/tune", "POST sys/mounts/:path/tune"],
    ["GET", "/v1/kv2/data/a%20b/c?version=1", "GET :kv2/data/:path"],
    ["LIST", "/v1/kv2/metadata", "LIST :kv2/metadata"],
    ["GET", "/v1/kv2/metadata/?list=true", "LIST :kv2/metadata"],
    ["GET", "/v1/kv2/metadata/a?list=True", "LIST :kv2/metadata/:path"],
    ["GET", "/v1/kv1/data", "GET :mount/:path"],
    ["GET", "/v1//kv1//a", "GET :mount/:path"],
    ["POST", "/v1/auth/any/login", "POST auth/:mount/login"],
    ["POST", "/v1/auth/any/login/ada", "POST auth/:mount/login/:user"],
    ["POST", "/v1/auth/token/create", "POST auth/token/create"],
    ["POST", "/v1/auth/token/create/role", "POST auth/token/create/:role"],
    ["POST", "/v1/kv2/config", "POST :mount/config"],
    ["DELETE", "/v1/kv1/config/urls", "DELETE :mount/:path"],
    ["DELETE", "/v1/other/x", null],
    ["TRACE", "/v1/sys/mounts", null],
  ])("%s %s is %s", (method, target, route) => {
    expect(asked(method, target)).toBe(route);
  });
});

describe("faults", () => {
  const all = recordingOf({
    one: wanted.flatMap(({ route, statuses, differs = {} }) => {
      const [method = "", path = ""] = route.split(" ");
      const target = `/v1/${path
        .replace(":mount/config", "kv2/config")
        .replace(/^:kv2/, "kv2")
        .replace(/^:mount/, "kv1")}`;
      const listed = (statuses ?? [200]).filter((status) => differs[status] === undefined);
      const odd = Object.keys(differs).map(Number);
      return [...listed, ...odd.filter((status) => !statuses?.includes(status))].map((status) => ({
        method,
        target,
        status,
      }));
    }),
  });

  it("are none where every route is asked for and every status is listed or explained", () => {
    expect(faultsOf(all)).toEqual([]);
  });

  it("are a route that nobody asks for, a status too many and one too few", () => {
    const { "GET sys/leader": _none, ...rest } = all["one"] ?? {};
    const changed = { one: { ...rest, "GET sys/mounts": [200, 500] } };
    expect(faultsOf(changed)).toEqual([
      "GET sys/mounts: 500 is seen here only",
      "GET sys/mounts: 403 is not seen here",
      "GET sys/leader: no client asks for it",
    ]);
  });
});
