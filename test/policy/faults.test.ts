// Seeded faults: each changes one line of a copy of the policy folder, and the random comparison has to see it.
// Must hold: a fault whose text no longer stands in the source exactly once is an error, not a pass.

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, expect, test } from "vitest";
import { compareWithReference, type Engine } from "./random.ts";

interface Fault {
  readonly name: string;
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

const faults: readonly Fault[] = [
  {
    name: "a rule without `*` ignores what follows",
    file: "match.ts",
    from: "if (from > path.length) return at.end;",
    to: "if (from > path.length || at.end !== null) return at.end;",
  },
  {
    name: "the shortest prefix wins",
    file: "match.ts",
    from: ".sort((one, other) => other - one);",
    to: ".sort((one, other) => one - other);",
  },
  {
    name: "the worse of two patterns wins",
    file: "match.ts",
    from: "return isMoreSpecific(one.pattern, other.pattern) ? one : other;",
    to: "return isMoreSpecific(one.pattern, other.pattern) ? other : one;",
  },
  {
    name: "the first branch wins",
    file: "match.ts",
    from: "best = better(bestFrom(at.plus, path, end + 1), best);",
    to: "best ??= bestFrom(at.plus, path, end + 1);",
  },
  {
    name: "an equal path does not come first",
    file: "match.ts",
    from: "if (exact !== undefined || !this.#hasPatterns)",
    to: "if (!this.#hasPatterns)",
  },
  {
    name: "a list does not try without its slash",
    file: "match.ts",
    from: "const bare = folder && path.endsWith",
    to: "const bare = !folder && path.endsWith",
  },
  {
    name: "a list of a pattern does not try without its slash",
    file: "match.ts",
    from: "return found === null && bare !== null ?",
    to: "return found !== null && bare !== null ?",
  },
  {
    name: "the second policy's rule replaces the first's",
    file: "match.ts",
    from: "Rule.joined(first, others)",
    to: "others.at(-1) ?? first",
  },
  {
    name: "the first policy's rule stays alone",
    file: "match.ts",
    from: "Rule.joined(first, others)",
    to: "first",
  },
  {
    name: "root is forgotten",
    file: "match.ts",
    from: "policies.some((policy) => policy.root)",
    to: "policies.every((policy) => policy.root)",
  },
  {
    name: "scan is no folder operation",
    file: "match.ts",
    from: 'operation === "list" || operation === "scan"',
    to: 'operation === "list"',
  },
  { name: "help asks for a rule", file: "match.ts", from: 'if (operation === "help") return help;', to: "" },
  {
    name: "a cached set serves another entity",
    file: "match.ts",
    from: "paths.some((path) => path !== null)",
    to: "paths.length < 0",
  },
  {
    name: "deny is one capability among others when rules add up",
    file: "rule.ts",
    from: "(mask & deny) === 0 ? mask : deny,",
    to: "mask,",
  },
  {
    name: "deny is one capability among others in a rule",
    file: "capability.ts",
    from: "return (mask & deny) === 0 ? mask : deny;",
    to: "return mask;",
  },
  { name: "a `*` is no less specific", file: "pattern.ts", from: "(glob ? 0 : 1)", to: "(glob ? 1 : 1)" },
  { name: "more `+` are more specific", file: "pattern.ts", from: "(4095 - plus)", to: "plus" },
  { name: "length does not count", file: "pattern.ts", from: "* 8192 + Buffer.byteLength(text)", to: "* 8192" },
  {
    name: "the order of texts is turned round",
    file: "pattern.ts",
    from: "Buffer.from(textOf(other))) > 0",
    to: "Buffer.from(textOf(other))) < 0",
  },
  {
    name: "a leading slash of a rule stays",
    file: "pattern.ts",
    from: 'path.startsWith("/") ? path.slice(1) : path',
    to: "path",
  },
  {
    name: "a value with a slash fills a template",
    file: "template.ts",
    from: "const unsafe = /[/*+\\p{Cc}]/u;",
    to: "const unsafe = /[*+\\p{Cc}]/u;",
  },
  {
    name: "a hole without a value is empty",
    file: "template.ts",
    from: 'value === undefined || value === "" ||',
    to: "value === undefined ||",
  },
  {
    name: "an empty list of one policy does not open the other's",
    file: "parameters.ts",
    from: "found.some((list) => list.length === 0) ? [] : found.flat()",
    to: "found.flat()",
  },
  { name: "denying all fields is not seen", file: "parameters.ts", from: 'if (denied.has("*")) return false;', to: "" },
  {
    name: "allowed operation is the last asked",
    file: "rule.ts",
    from: "(this.#granted[index] ??=",
    to: "(this.#granted[0] ??=",
  },
  {
    name: "a condition that does not hold withholds nothing",
    file: "rule.ts",
    from: "mask: held ? source.mask : 0",
    to: "mask: source.mask",
  },
  {
    name: "values that a withheld rule allows stay allowed",
    file: "rule.ts",
    from: "parameters: held ? source.parameters : null",
    to: "parameters: source.parameters",
  },
  {
    name: "what a withheld rule forbids is forbidden no more",
    file: "rule.ts",
    from: "acceptOnly(this.parameters, accepted), sources",
    to: "accepted, sources",
  },
  {
    name: "the last condition on a path speaks for all",
    file: "rule.ts",
    from: 'key += guard.holds(facts) ? "1" : "0"',
    to: 'key = (guard.holds(facts) ? "1" : "0").repeat(99)',
  },
  {
    name: "a withheld rule falls back to a broader one",
    file: "match.ts",
    from: "rule === null ? nothing : rule.decide(operation, data, facts, wrapTtl)",
    to: 'rule === null ? nothing : rule.conditional && !rule.decide(operation, data, facts, wrapTtl).allowed ? (this.rule("a", operation) ?? rule).decide(operation, data, facts, wrapTtl) : rule.decide(operation, data, facts, wrapTtl)',
  },
  {
    name: "wrapping is never asked for",
    file: "rule.ts",
    from: "if (this.wrapping !== null && !wrapsWithin(this.wrapping, wrapTtl)) return this.#refuse();",
    to: "",
  },
  {
    name: "an answer in clear passes where no least time is asked",
    file: "wrapping.ts",
    from: "seconds > 0 && min <= seconds",
    to: "min <= seconds",
  },
  {
    name: "of several limits the greatest counts",
    file: "wrapping.ts",
    from: "leastOf(mins)",
    to: "Math.max(...mins)",
  },
  {
    name: "capabilities show what holds for another operation",
    file: "match.ts",
    from: "mask & (needs[operation] | sudo)",
    to: "mask",
  },
  { name: "a rule never ends", file: "guard.ts", from: "!this.expired(facts) && ", to: "" },
  {
    name: "where nothing is known a condition holds",
    file: "guard.ts",
    from: "facts !== null && ",
    to: "facts === null || ",
  },
  { name: "every zone is UTC", file: "guard.ts", from: "zoneOf(zone)", to: 'zoneOf("UTC")' },
  {
    name: "a fact that is missing opens",
    file: "condition.ts",
    from: "return false;",
    to: "return true;",
  },
  {
    name: "who is nobody is in no group",
    file: "facts.ts",
    from: "groups ?? undefined",
    to: "groups ?? []",
  },
  { name: "`or` is `and`", file: "operators.ts", from: '["or", junction(true)]', to: '["or", junction(false)]' },
  { name: "`!` says the same", file: "operators.ts", from: "(run) => !test(run)", to: "test" },
  {
    name: "a listed value is not in the list",
    file: "operators.ts",
    from: "known.has(one.read(run))",
    to: "!known.has(one.read(run))",
  },
  {
    name: "a fact is kept from one condition's zone to another's",
    file: "facts.ts",
    from: "`${name} (${zone.name})`",
    to: "name",
  },
];

const folder = mkdtempSync(join(tmpdir(), "writ-faults-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const source = join(import.meta.dirname, "../../src");

async function engineWith(at: number, fault: Fault | null): Promise<Engine> {
  const copy = join(folder, String(at));
  for (const part of ["lib", "sdk", "policy"]) cpSync(join(source, part), join(copy, part), { recursive: true });
  if (fault !== null) {
    const file = join(copy, "policy", fault.file);
    const text = readFileSync(file, "utf8");
    expect(text.split(fault.from), `${fault.file} has "${fault.from}" once`).toHaveLength(2);
    writeFileSync(
      file,
      text.replace(fault.from, () => fault.to),
    );
  }
  const load = (name: string): Promise<unknown> => import(pathToFileURL(join(copy, "policy", name)).href);
  const [compile, facts] = [await load("compile.ts"), await load("facts.ts")];
  return { compile, facts, hcl: await load("hcl.ts"), match: await load("match.ts") } as Engine;
}

/** Many more than the rarest of the faults needs; a fault that is found ends its run. */
const cases = 400_000;

test("an unchanged copy agrees with the reference", async () => {
  expect(compareWithReference(await engineWith(faults.length, null), 11, 40_000).difference).toBeNull();
});

test.each(faults.map((fault, at) => ({ ...fault, at })))("is caught: $name", async (fault) => {
  const outcome = compareWithReference(await engineWith(fault.at, fault), 11, cases);
  expect(outcome.difference).not.toBeNull();
});
