// Kind PolicyTest: who may what, as its author means it, asked of the policies of the same commit by the matcher that
// decides requests. A commit whose tests fail is invalid.
// Must hold: a test says the same today and tomorrow: its clock stands where it says, and nothing else is asked but the
// documents; the work of all tests of a commit is bounded.

import { instantOf } from "../lib/clock.ts";
import { field, type Values } from "../sdk/fields.ts";
import type { Declaration, Documents, Fault, Kind } from "../sdk/kind.ts";
import type { Operation } from "../sdk/request.ts";
import { factOf, type Type, type Value } from "./facts.ts";
import { GivenFacts, type Principal, World } from "./principal.ts";
import type { RuleSpec } from "./rule.ts";
import { explain, decidingSpecs } from "./verdict.ts";
import { zoneOf } from "./zone.ts";

const operations = ["create", "delete", "list", "patch", "read", "scan", "update"] as const;
const clockField =
  "The instant at which it is asked, such as 2026-11-25T10:00:00Z; without one, nothing is known of the time";
const factsField = "Facts by name, such as request.remote_address: 10.1.2.3";

export const policyTestFields = {
  time: field.string(clockField),
  facts: field.json(factsField),
  principals: field.list(
    "Who asks",
    {
      name: field.string("What the tests below call it", { required: true }),
      entity: field.string("The entity that it is, with its groups and their policies", { ref: "Entity" }),
      login: field.object("The login that it comes by, with the policies that this gives", {
        mount: field.string("Path of the auth method, without auth/", { required: true, mount: "auth" }),
        name: field.string("Name of the user or role there", { required: true }),
      }),
      groups: field.strings("Groups that it is in beside those of its entity", { ref: "Group" }),
      policies: field.strings("Policies that its token has beside", { ref: "Policy" }),
      facts: field.json(factsField),
    },
    { required: true },
  ),
  tests: field.list(
    "What each of the principals gets for each of the operations at each of the paths",
    {
      principals: field.strings("Their names; all where left out"),
      operations: field.strings("What is asked for", { required: true, enum: operations }),
      paths: field.strings("Paths below /v1/", { required: true }),
      data: field.json("Fields of the request"),
      sudo: field.bool("The request is one that needs sudo as well"),
      wrap_ttl: field.duration("For how long the answer is asked for wrapped; not at all where 0", { default: 0 }),
      time: field.string(clockField),
      facts: field.json(factsField),
      expect: field.string("Whether it is allowed", { required: true, enum: ["allow", "deny"] }),
    },
    { required: true },
  ),
} as const;

type Spec = Values<typeof policyTestFields>;
type Test = Spec["tests"][number];

const specOf = (declaration: Declaration): Spec => declaration.spec as unknown as Spec;

/** Questions that one document, and all of a commit, may ask. A rule put together for them counts as one of the latter. */
const most = { document: 10_000, commit: 1_000_000 } as const;

/** Facts that follow from the request itself or from its time. */
const ownFacts = /^(?:time\.|request\.(?:path|operation)$)/;

function fits(type: Type, value: unknown): value is Value {
  if (type.base === "texts") return Array.isArray(value) && value.every((each) => typeof each === "string");
  if (type.base === "flag") return typeof value === "boolean";
  if (type.base === "number") return typeof value === "number";
  return typeof value === "string" && type.fits?.(value) !== false && type.values?.includes(value) !== false;
}

const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function factFaults(given: unknown, path: Fault["path"]): readonly Fault[] {
  if (given === undefined) return [];
  if (!isMap(given)) return [{ path, message: "needs a map of facts by name" }];
  return Object.entries(given).flatMap(([name, value]): readonly Fault[] => {
    const here = [...path, name];
    if (ownFacts.test(name)) return [{ path: here, message: "follows from the path, the operation and the time" }];
    const fact = factOf(name, zoneOf("UTC"));
    if (fact === null) return [{ path: here, message: `no fact is called ${JSON.stringify(name)}` }];
    return fits(fact.type, value) ? [] : [{ path: here, message: `needs ${fact.type.name}` }];
  });
}

function timeFaults(time: string | undefined, path: Fault["path"]): readonly Fault[] {
  if (time === undefined || instantOf(time) !== null) return [];
  return [{ path, message: "is no instant; write one like 2026-11-25T10:00:00Z" }];
}

const questionsOf = (spec: Spec): number =>
  spec.tests.reduce(
    (sum, { principals, paths, operations: asked }) =>
      sum + (principals?.length ?? spec.principals.length) * paths.length * asked.length,
    0,
  );

function testFaults(test: Test, path: Fault["path"], known: ReadonlySet<string>): readonly Fault[] {
  const faults = [...timeFaults(test.time, [...path, "time"]), ...factFaults(test.facts, [...path, "facts"])];
  for (const name of ["principals", "operations", "paths"] as const) {
    if (test[name]?.length === 0) faults.push({ path: [...path, name], message: "is empty, so nothing is asked" });
  }
  for (const [at, name] of (test.principals ?? []).entries()) {
    if (known.has(name)) continue;
    faults.push({ path: [...path, "principals", at], message: `no principal is called ${JSON.stringify(name)} here` });
  }
  if (test.data !== undefined && !isMap(test.data))
    faults.push({ path: [...path, "data"], message: "needs a map of fields" });
  return faults;
}

/** What the document alone shows. */
function check(declaration: Declaration): readonly Fault[] {
  const spec = specOf(declaration);
  const known = new Set<string>();
  const faults = [...timeFaults(spec.time, ["time"]), ...factFaults(spec.facts, ["facts"])];
  for (const [at, { name, facts, ...who }] of spec.principals.entries()) {
    const path = ["principals", at];
    if (known.has(name))
      faults.push({ path: [...path, "name"], message: `two principals are called ${JSON.stringify(name)}` });
    known.add(name);
    if (Object.values(who).every((each) => each === undefined)) {
      faults.push({ path, message: "nobody: name an entity, a login, groups or policies" });
    }
    faults.push(...factFaults(facts, [...path, "facts"]));
  }
  faults.push(...spec.tests.flatMap((test, at) => testFaults(test, ["tests", at], known)));
  const questions = questionsOf(spec);
  if (questions > most.document) {
    faults.push({ path: ["tests"], message: `asks ${questions} questions; a document asks at most ${most.document}` });
  }
  return faults;
}

const worlds = new WeakMap<Documents, World>();

function worldOf(all: Documents): World {
  let world = worlds.get(all);
  if (world === undefined) {
    world = new World(all);
    worlds.set(all, world);
  }
  return world;
}

const given = (...layers: readonly unknown[]): ReadonlyMap<string, Value> =>
  new Map(layers.flatMap((layer) => Object.entries((layer ?? {}) as Readonly<Record<string, Value>>)));

/** One principal in one test. */
interface Asker {
  readonly test: Test;
  readonly name: string;
  readonly principal: Principal;
  readonly known: ReadonlyMap<string, Value>;
  readonly time: number | null;
}

/** Null where it is as expected, or why not; `decided` gets the rules that decide. */
function ask(asker: Asker, path: string, operation: Operation, decided: Set<RuleSpec>): string | null {
  const { test, name, principal, known, time } = asker;
  const facts = new GivenFacts(principal, { path, operation, time }, known);
  const { acl } = principal;
  const data = (test.data ?? {}) as Readonly<Record<string, unknown>>;
  const wrapTtl = test.wrap_ttl;
  const decision = acl.check(path, operation, data, facts, wrapTtl);
  for (const rule of decidingSpecs(acl.rule(path, operation), decision)) decided.add(rule);
  const allowed = decision.allowed && (test.sudo !== true || decision.sudo) && !principal.disabled;
  if (allowed === (test.expect === "allow")) return null;
  const why = explain({
    acl,
    policies: principal.policies,
    path,
    operation,
    decision,
    facts,
    sudo: test.sudo === true,
    wrapTtl,
  });
  const is = allowed ? "allowed" : "denied";
  const reason = principal.disabled ? "the entity is disabled" : why;
  return `${name}: ${operation} ${JSON.stringify(path)} is ${is}, not as expected: ${reason}`;
}

function run(declaration: Declaration, world: World, decided: Set<RuleSpec>): readonly Fault[] {
  const spec = specOf(declaration);
  const faults: Fault[] = [];
  const principals = new Map<string, { readonly who: Spec["principals"][number]; readonly principal: Principal }>();
  for (const [at, who] of spec.principals.entries()) {
    const principal = world.principal(who);
    if ("acl" in principal) principals.set(who.name, { who, principal });
    else faults.push(...principal.map((each) => ({ ...each, path: ["principals", at, ...each.path] })));
  }
  if (faults.length > 0) return faults;
  world.spent += questionsOf(spec);
  if (world.spent > most.commit) {
    return [{ path: ["tests"], message: "the tests of all documents together ask too much; leave some out" }];
  }
  for (const [at, test] of spec.tests.entries()) {
    const clock = test.time ?? spec.time;
    const time = clock === undefined ? null : instantOf(clock);
    for (const name of test.principals ?? principals.keys()) {
      const found = principals.get(name);
      if (found === undefined) continue;
      const known = given(spec.facts, found.who.facts, test.facts);
      const asker: Asker = { test, name, principal: found.principal, known, time };
      for (const [place, path] of test.paths.entries()) {
        for (const operation of test.operations as readonly Operation[]) {
          const message = ask(asker, path, operation, decided);
          if (message !== null) faults.push({ path: ["tests", at, "paths", place], message });
        }
      }
    }
  }
  return faults;
}

export const policyTestKind: Kind = {
  name: "PolicyTest",
  description: "Who may what, asked of the policies of the same commit; never sent to the vault",
  mount: null,
  fields: policyTestFields,
  offline: true,
  check,
  prove: (declaration, all) => run(declaration, worldOf(all), new Set()),
};

export interface Coverage {
  readonly documents: number;
  readonly questions: number;
  readonly rules: number;
  /** Rules that decided nothing, by the policy that has them. */
  readonly undecided: readonly { readonly policy: Declaration; readonly rule: number }[];
}

/** What the policy tests among these documents reach. Call it where all of them pass. */
export function coverageOf(all: Documents): Coverage {
  const tests = all.declarations.filter(({ kind }) => kind === policyTestKind.name);
  const decided = new Set<RuleSpec>();
  const world = new World(all);
  for (const test of tests) run(test, world, decided);
  const rules = all.declarations
    .filter(({ kind }) => kind === "Policy")
    .flatMap((policy) =>
      ((policy.spec["rules"] ?? []) as unknown as readonly RuleSpec[]).map((spec, rule) => ({ policy, rule, spec })),
    );
  return {
    documents: tests.length,
    questions: tests.reduce((sum, test) => sum + questionsOf(specOf(test)), 0),
    rules: rules.length,
    undecided: rules.filter(({ spec }) => !decided.has(spec)).map(({ policy, rule }) => ({ policy, rule })),
  };
}
