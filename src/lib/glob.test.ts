import fc from "fast-check";
import { expect, test } from "vitest";
import { cpuOf } from "../../test/cpu.ts";
import { globMatches } from "./glob.ts";

test.each([
  ["a.yaml", "a.yaml", true],
  ["a.yaml", "b/a.yaml", false],
  ["a", "a/b/c.yaml", true],
  ["a/", "a/b.yaml", true],
  ["a", "ab.yaml", false],
  ["*.yaml", "a.yaml", true],
  ["*.yaml", "a/b.yaml", false],
  ["**/*.yaml", "a.yaml", true],
  ["**/*.yaml", "a/b/c.yaml", true],
  ["**/ci", "x/ci/y.yaml", true],
  ["a/**/z.yaml", "a/z.yaml", true],
  ["a/**/z.yaml", "a/b/c/z.yaml", true],
  ["a/**/z.yaml", "b/z.yaml", false],
  ["a?.yaml", "ab.yaml", true],
  ["a?.yaml", "a.yaml", false],
  ["a*b*c", "aXbYc", true],
  ["a*b*c", "aXcYb", false],
  [".github", ".github/workflows/ci.yaml", true],
  ["a.b", "axb", false],
  ["[ab]", "a", false],
  ["", "a", false],
])("%s and %s: %s", (pattern, path, expected) => {
  expect(globMatches(pattern, path)).toBe(expected);
});

test("agrees with a regular expression on random patterns", () => {
  const segment = fc.oneof(
    { arbitrary: fc.string({ unit: fc.constantFrom("a", "b", "*", "?"), minLength: 1, maxLength: 4 }), weight: 4 },
    fc.constant("**"),
  );
  const part = fc.string({ unit: fc.constantFrom("a", "b"), minLength: 1, maxLength: 3 });
  const regex = (segments: readonly string[]): RegExp => {
    const body = segments.map((each) =>
      each === "**"
        ? "(?:[^/]+/)*"
        : `${each.replaceAll(/\*+/g, "*").replaceAll("*", "[^/]*").replaceAll("?", "[^/]")}/`,
    );
    return new RegExp(`^${body.join("")}`);
  };
  fc.assert(
    fc.property(
      fc.array(segment, { minLength: 1, maxLength: 4 }).filter((each) => each.some((one) => one !== "**")),
      fc.array(part, { minLength: 1, maxLength: 4 }),
      (pattern, path) => {
        const normal = pattern.map((each) => (/^\*{2,}$/.test(each) ? "**" : each));
        expect(globMatches(normal.join("/"), path.join("/"))).toBe(regex(normal).test(`${path.join("/")}/`));
      },
    ),
    { numRuns: 2_000 },
  );
});

test("no pattern is slow", () => {
  const [, time] = cpuOf(() => {
    expect(globMatches(`${"*a".repeat(120)}b`, "a".repeat(1_000))).toBe(false);
    expect(globMatches("**/".repeat(80) + "z", "a/".repeat(500) + "b")).toBe(false);
  });
  expect(time).toBeLessThan(1_000);
});
