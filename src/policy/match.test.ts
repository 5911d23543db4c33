import * as fc from "fast-check";
import { expect, test } from "vitest";
import { cpuOf } from "../../test/cpu.ts";
import { compileRules, type Policy } from "./compile.ts";
import { deny } from "./capability.ts";
import { Acl, AclCache, type Bindings, merge } from "./match.ts";
import { covers, isMoreSpecific } from "./pattern.ts";
import type { Rule, RuleSpec } from "./rule.ts";

const policy = (name: string, ...rules: RuleSpec[]): Policy => compileRules(name, rules);
const caller = (name: string): Bindings => ({ entity: { id: name, name, metadata: {}, aliases: [] }, groups: [] });

test("the same decision is the same frozen object", () => {
  const acl = merge([policy("p", { path: "a/*", capabilities: ["read"] })]);
  expect(acl.check("a/b", "read")).toBe(acl.check("a/c", "read"));
  expect(acl.check("a/b", "update")).toBe(acl.check("a/c", "delete"));
  expect(Object.isFrozen(acl.check("a/b", "read"))).toBe(true);
  expect(Object.isFrozen(acl.check("a/b", "read").rule)).toBe(true);
  expect(Object.isFrozen(acl.capabilities("a/b"))).toBe(true);
});

test("no policies allow nothing but help", () => {
  const acl = merge([]);
  expect(acl.check("a", "read")).toEqual({ allowed: false, sudo: false, rule: null });
  expect(acl.check("a", "help").allowed).toBe(true);
  expect(acl.capabilities("a")).toEqual(["deny"]);
  expect(acl.reachable("a/")).toBe(false);
});

test("a rule about fields refuses a caller that does not give them", () => {
  const acl = merge([policy("p", { path: "a", capabilities: ["update", "delete"], required_parameters: ["x"] })]);
  expect(acl.check("a", "update").allowed).toBe(false);
  expect(acl.check("a", "update", { x: 1 }).allowed).toBe(true);
  expect(acl.check("a", "delete").allowed).toBe(true);
});

test("merging leaves the policies as they were", () => {
  const open = policy("open", { path: "a", capabilities: ["read"] });
  const shut = policy("shut", { path: "a", capabilities: ["deny"] });
  expect(merge([open, shut]).check("a", "read").allowed).toBe(false);
  expect(merge([open]).check("a", "read").allowed).toBe(true);
});

test("a set is merged once, in whatever order, and again when a policy changes", () => {
  const cache = new AclCache();
  const one = policy("one", { path: "a", capabilities: ["read"] });
  const two = policy("two", { path: "b", capabilities: ["read"] });
  const acl = cache.merge([one, two]);
  expect(cache.merge([two, one, two])).toBe(acl);
  expect(cache.merge([one])).not.toBe(acl);
  const changed = policy("two", { path: "b", capabilities: ["deny"] });
  expect(cache.merge([one, changed]).check("b", "read").allowed).toBe(false);
});

test("templated sets are kept by what their templates become", () => {
  const cache = new AclCache();
  const own = policy("own", { path: "home/{{identity.entity.name}}/*", capabilities: ["read"] });
  const plain = policy("plain", { path: "a", capabilities: ["read"] });
  const alice = cache.merge([own], caller("alice"));
  expect(cache.merge([own], caller("alice"))).toBe(alice);
  expect(cache.merge([own], caller("bob"))).not.toBe(alice);
  expect(cache.merge([own], caller("bob")).check("home/alice/x", "read").allowed).toBe(false);
  expect(cache.merge([own])).toBe(cache.merge([own], caller("a/b")));
  expect(cache.merge([plain], caller("alice"))).toBe(cache.merge([plain], caller("bob")));
});

test("the cache holds no more rules than its limit, and drops what was used least recently", () => {
  const cache = new AclCache(6);
  const [a, b, c] = ["a", "b", "c"].map((name) => policy(name, { path: name, capabilities: ["read"] }));
  if (!a || !b || !c) throw new Error("three policies");
  const kept = cache.merge([a]);
  const dropped = cache.merge([b]);
  expect(cache.merge([a])).toBe(kept);
  cache.merge([c]);
  cache.merge([a, c]);
  expect(cache.merge([b])).not.toBe(dropped);
  const big = policy(
    "big",
    ...Array.from({ length: 20 }, (_none, at): RuleSpec => ({ path: `x${at}`, capabilities: ["read"] })),
  );
  expect(cache.merge([big]).check("x7", "read").allowed).toBe(true);
});

test("a mount that is not reachable has nothing that is allowed", () => {
  const part = fc.constantFrom("+", "a", "b", "ab", "");
  const pattern = fc
    .tuple(fc.array(part, { minLength: 1, maxLength: 4 }), fc.boolean())
    .map(([parts, glob]) => `${parts.join("/")}${glob && parts.at(-1) !== "+" ? "*" : ""}`);
  const grants = fc.constantFrom<RuleSpec["capabilities"]>(["list", "read"], ["list", "read"], ["deny"], []);
  const rules = fc.array(fc.record({ path: pattern, capabilities: grants }), { minLength: 1, maxLength: 6 });
  const words = fc.array(fc.constantFrom("a", "b", "ab", "c", ""), { maxLength: 3 });
  let hidden = 0;
  fc.assert(
    fc.property(rules, fc.constantFrom("a/", "b/", "a/b/", "ab/"), fc.array(words), (specs, prefix, paths) => {
      const acl = merge([policy("p", ...specs)]);
      if (acl.reachable(prefix)) return;
      hidden += 1;
      for (const path of ["", ...paths.map((each) => each.join("/"))]) {
        for (const operation of ["read", "list"] as const) {
          expect(acl.check(prefix + path, operation).allowed, `${operation} ${prefix}${path}`).toBe(false);
        }
      }
    }),
    { numRuns: 3000, seed: 5 },
  );
  expect(hidden).toBeGreaterThan(300);
});

test("a mount is reachable as the rules say one by one", () => {
  const part = fc.constantFrom("+", "a", "b", "ab", "");
  const pattern = fc
    .tuple(fc.array(part, { minLength: 1, maxLength: 4 }), fc.constantFrom("", "*", "a*"))
    .map(([parts, tail]) => `${parts.join("/")}${parts.at(-1) === "+" ? "" : tail}`);
  const grants = fc.constantFrom<RuleSpec["capabilities"]>(["read"], ["deny"], []);
  const rules = fc.array(fc.record({ path: pattern, capabilities: grants }), { minLength: 1, maxLength: 8 });
  const seen = { true: 0, false: 0 };
  fc.assert(
    fc.property(rules, fc.constantFrom("a/", "b/", "a/b/", "ab/", "+/", "a//"), (specs, prefix) => {
      const acl = merge([policy("p", ...specs)]);
      const found = [...acl.rules()].map((rule) => ({ rule, covers: covers(rule.pattern, prefix) }));
      const whole = found
        .filter((at) => at.covers === "all")
        .map((at) => at.rule)
        .reduce<Rule | null>((best, rule) => (best && isMoreSpecific(best.pattern, rule.pattern) ? best : rule), null);
      const wanted = found.some(({ rule, covers: how }) => {
        if (how === "none" || rule.mask === 0 || rule.mask === deny) return false;
        return whole === null || rule === whole || rule.pattern.exact || isMoreSpecific(rule.pattern, whole.pattern);
      });
      seen[`${wanted}`] += 1;
      expect(acl.reachable(prefix)).toBe(wanted);
    }),
    { numRuns: 4000, seed: 9 },
  );
  expect(Math.min(seen.true, seen.false)).toBeGreaterThan(500);
});

test("a hundred thousand rules on one path add up, and come in pieces", () => {
  const specs = Array.from({ length: 100_000 }, (_none, at): RuleSpec => ({
    path: "a",
    capabilities: at % 2 === 0 ? ["read"] : ["update"],
    allowed_parameters: { [`k${at}`]: [at], all: [at] },
    max_wrapping_ttl: 90,
  }));
  const work = Acl.of(false, policy("many", ...specs).rules);
  let pieces = 0;
  let step = work.next();
  for (; !step.done; step = work.next()) pieces += 1;
  const acl = step.value;
  expect(pieces).toBeGreaterThan(1000);
  expect(acl.check("a", "read", { k7: 7, all: 99_999 }, null, 60).allowed).toBe(true);
  expect(acl.check("a", "update", { k7: 8 }, null, 60).allowed).toBe(false);
  expect(acl.check("a", "delete", {}, null, 60).allowed).toBe(false);
});

test("who asks for the same set meanwhile waits for it, and it is merged once", async () => {
  const cache = new AclCache();
  const specs = Array.from({ length: 200 }, (_none, at): RuleSpec => ({ path: `x${at}`, capabilities: ["read"] }));
  const { rules, ...rest } = policy("big", ...specs);
  let merged = 0;
  const slow = function* (): IterableIterator<Rule> {
    merged += 1;
    yield* rules;
  };
  const big = { ...rest, rules: { [Symbol.iterator]: slow } as unknown as Policy["rules"] };
  const [first, ...others] = await Promise.all(Array.from({ length: 50 }, () => cache.gather([big])));
  for (const other of [...others, cache.merge([big]), await cache.gather([big])]) expect(other).toBe(first);
  expect(merged).toBe(1);
  expect(first?.check("x7", "read", {}, null).allowed).toBe(true);
});

test("where a set cannot be merged all who asked are told so, and whoever asks next has it merged again", async () => {
  const cache = new AclCache();
  const whole = policy("p", { path: "a", capabilities: ["read"] });
  let broken = true;
  const rules = function* (): IterableIterator<Rule> {
    if (broken) throw new RangeError("no memory");
    yield* whole.rules;
  };
  const strange = { ...whole, rules: { [Symbol.iterator]: rules } as unknown as Policy["rules"] };
  const asked = await Promise.allSettled([cache.gather([strange]), cache.gather([strange])]);
  expect(asked.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  broken = false;
  expect((await cache.gather([strange])).check("a", "read", {}, null).allowed).toBe(true);
});

test("a path of many segments costs no more than the rules are deep", () => {
  const wide = Array.from({ length: 200 }, (_none, at): RuleSpec => {
    const bits = at.toString(2).padStart(8, "0");
    return {
      path: Array.from(bits)
        .map((bit) => (bit === "0" ? "+" : "a"))
        .join("/"),
      capabilities: ["read"],
    };
  });
  const acl = merge([policy("p", ...wide)]);
  const path = Array.from({ length: 100_000 }, () => "a").join("/");
  const [, time] = cpuOf(() => {
    for (let round = 0; round < 1000; round += 1) expect(acl.check(path, "read").allowed).toBe(false);
  });
  expect(time).toBeLessThan(2000);
  expect(acl.check("a/a/b/b/b/a/a/a", "read").rule?.path).toBe("a/a/+/+/+/a/a/a");
});
