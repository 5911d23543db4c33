import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseFields, parseTarget } from "../../src/api/target.ts";

describe("parseTarget", () => {
  it.each([
    ["/v1/secret/data/a", "/v1/secret/data/a"],
    ["/v1/secret/data/a/", "/v1/secret/data/a"],
    ["/", "/"],
    ["/v1/a%20b/%C3%A9%25", "/v1/a b/é%"],
    ["/v1/%2525", "/v1/%25"],
    ["/v1/a..b/.c/...", "/v1/a..b/.c/..."],
    ["/v1/sys/%69nit", "/v1/sys/init"],
    ["/v1/a+b", "/v1/a+b"],
  ])("%s is %s", (sent, path) => expect(parseTarget(sent)).toEqual({ path, query: "", redirect: null }));

  it.each([
    "",
    "v1/a",
    "http://writ/v1/a",
    "//",
    "/v1/../a",
    "/v1/./a",
    "/v1/..",
    "/v1/%2e%2e/a",
    "/v1/.%2E/a",
    "/v1/a/%2e",
    "/v1/a%2fb",
    "/v1/a%2Fb",
    "/v1/%00",
    "/v1/a%0ab",
    "/v1/%7f",
    "/v1/%1b",
    "/v1/%C2%85",
    "/v1/%E2%80%A8",
    "/v1/%EF%BB%BF",
    "/v1/%E2%80%AE",
    "/v1/%C2%A0",
    "/v1/%",
    "/v1/%g0",
    "/v1/%2",
    "/v1/%ff",
    "/v1/%c0%af",
    "/v1/%ed%a0%80",
    "/v1/a\\b",
    "/v1/a#b",
    "/v1/a?b#c",
    "/v1/a b",
    "/v1/é",
    "/v1//../a",
    "/v1//%2e%2e/a",
    "/v1//a%2fb",
  ])("%j is refused or moved", (sent) => {
    if (sent === "//") expect(parseTarget(sent).redirect).toBe("/");
    else expect(() => parseTarget(sent)).toThrow(expect.objectContaining({ code: "invalid" }));
  });

  it("the whole server is asked for as a star, and nothing else begins with one", () => {
    expect(parseTarget("*")).toEqual({ path: "*", query: "", redirect: null });
    expect(() => parseTarget("*/v1/a")).toThrow(expect.objectContaining({ code: "invalid" }));
  });

  it.each([
    ["/v1//secret/a", "/v1/secret/a"],
    ["//v1/a?x=//y", "/v1/a?x=//y"],
    ["/v1/a//", "/v1/a/"],
    ["///evil.example/v1/%20", "/evil.example/v1/%20"],
  ])("%s moves to %s", (sent, to) => expect(parseTarget(sent).redirect).toBe(to));

  it("gives no path with a slash, a dot segment or a control that was not sent as one, and no two paths for one", () => {
    const piece = fc.constantFrom(
      "/",
      ".",
      "..",
      "%2e",
      "%2F",
      "%25",
      "a",
      "%00",
      "%c3%a9",
      "%",
      "+",
      "?",
      "//",
      "%0d",
    );
    let passed = 0;
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const sent = `/v1/${pieces.join("")}`;
        let target;
        try {
          target = parseTarget(sent);
        } catch {
          return;
        }
        passed++;
        const raw = sent.split("?", 1)[0] ?? "";
        if (target.redirect !== null) {
          expect(parseTarget(target.redirect).redirect).toBeNull();
          return;
        }
        const segments = target.path.split("/");
        expect(segments.length).toBe(raw.replace(/(?<=.)\/$/, "").split("/").length);
        expect(segments.slice(1).some((segment) => segment === "." || segment === ".." || segment === "")).toBe(false);
        // eslint-disable-next-line no-control-regex -- what must not be there
        expect(target.path).not.toMatch(/[\x00-\x1f\x7f]/);
        expect(parseTarget(encodeURI(target.path).replaceAll("?", "%3f")).path).toBe(target.path);
      }),
      { numRuns: 5000 },
    );
    expect(passed).toBeGreaterThan(500);
  });
});

describe("parseFields", () => {
  it("decodes, and lists what is repeated", () => {
    expect(parseFields("a=1&b=x%20y+z&&c&a=2&a=%3D", "query")).toEqual(
      Object.assign(Object.create(null) as object, { a: ["1", "2", "="], b: "x y z", c: "" }),
    );
    expect(Object.getPrototypeOf(parseFields("", "query"))).toBeNull();
    expect(parseFields("constructor=1&toString=2", "query")["constructor"]).toBe("1");
    expect(parseFields("a+b=c+", "form")["a b"]).toBe("c ");
  });
  it.each(["__proto__=1", "%5F_proto__=1", "a=b&%5C=1", "a=%", "a=%ff", "%zz=1"])("%s is refused", (text) =>
    expect(() => parseFields(text, "query")).toThrow(expect.objectContaining({ code: "invalid" })),
  );
});
