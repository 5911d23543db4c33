// Random policies and questions from a seed, made so that patterns overlap and about half of what is asked is allowed;
// and the comparison of a matcher with the reference on them.
// Must hold: the same seed gives the same cases. Imports types of src/policy only, so that a changed copy can be compared.

import type * as Facts from "../../src/policy/facts.ts";
import type * as Compile from "../../src/policy/compile.ts";
import type * as Hcl from "../../src/policy/hcl.ts";
import type * as Match from "../../src/policy/match.ts";
import type { Operation } from "../../src/sdk/request.ts";
import {
  type Answer,
  answer,
  capabilitiesAt,
  type Facts as Filled,
  type PlainPolicy,
  type PlainRule,
  type Question,
  type World,
} from "./reference.ts";

export interface Engine {
  readonly compile: Pick<typeof Compile, "compileRules" | "printPolicy" | "rootPolicy">;
  readonly hcl: Pick<typeof Hcl, "parsePolicy">;
  readonly match: Pick<typeof Match, "merge" | "AclCache">;
  readonly facts: Pick<typeof Facts, "Facts">;
}

/** mulberry32: a number in [0, 1) at each call. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

type Random = () => number;
const chance = (random: Random, probability: number): boolean => random() < probability;
const below = (random: Random, count: number): number => Math.floor(random() * count);
function one<T>(random: Random, from: readonly T[]): T {
  const item = from[below(random, from.length)];
  if (item === undefined) throw new Error("nothing to choose from");
  return item;
}
const some = <T>(random: Random, most: number, make: () => T): T[] =>
  Array.from({ length: below(random, most + 1) }, make);

const operations: readonly Operation[] = ["create", "read", "update", "patch", "delete", "list", "scan"];
const grants = ["create", "read", "update", "patch", "delete", "list", "scan", "sudo"];
const words = ["a", "b", "ab", "abc", "a+b", "é", "\u{1F600}", "\uFB01", "x*y", "", "sys"];
const templates = [
  "{{identity.entity.id}}",
  "{{ identity.entity.name }}",
  "{{identity.entity.metadata.team}}",
  "{{identity.entity.aliases.acc_1.name}}",
  "{{identity.groups.ids.g1.name}}",
  "{{identity.groups.names.ops.id}}",
  "{{identity.entity.nothing}}",
];
const values = ["a", "b", "ab", "abc", "", "a/b", "*", "+", "a\u0000", "é"];

const segment = (random: Random): string => {
  if (chance(random, 0.25)) return "+";
  if (chance(random, 0.08)) return one(random, templates);
  return one(random, chance(random, 0.8) ? words.slice(0, 4) : words);
};

function pattern(random: Random): string {
  const parts = [segment(random), ...some(random, 3, () => segment(random))];
  if (chance(random, 0.1)) parts.push("");
  const text = parts.join("/");
  const end = text.endsWith("+") || !chance(random, 0.4) ? "" : "*";
  return `${chance(random, 0.05) ? "/" : ""}${text}${end}`;
}

const names = ["one", "Two", "three", "*"];
const contents = ["x", "y", "x*", "*y", "*z*", "*", 1, 2, true, null, ["x"], { k: "v" }];
const lists = (random: Random): Record<string, unknown[]> =>
  Object.fromEntries(some(random, 3, () => [one(random, names), some(random, 3, () => one(random, contents))]));

const weekdays = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const zones = [
  { name: "UTC", hours: 0 },
  { name: "Etc/GMT-5", hours: 5 },
  { name: "Etc/GMT+9", hours: -9 },
];
const addresses = ["10.0.0.1", "10.0.0.2", ""];
/** A Monday. */
const monday = Date.UTC(2026, 0, 5);
const day = 86_400_000;

/** One comparison, true in about half of all worlds. */
function comparison(random: Random): unknown {
  return one(random, [
    () => ({ in: [{ var: "time.weekday" }, weekdays.filter(() => chance(random, 0.5)).concat("mon")] }),
    () => ({ in: [{ var: ["time.hour"] }, Array.from({ length: 14 }, () => below(random, 24))] }),
    () => ({ cidr: [{ var: "request.remote_address" }, one(random, addresses.slice(0, 2))] }),
    () => ({ "==": [{ var: "request.operation" }, one(random, operations)] }),
    () => ({ "==": [{ var: "identity.entity.metadata.team" }, one(random, ["a", "b"])] }),
    () => ({ in: ["g1", { var: "identity.groups" }] }),
    () => ({ var: "token.orphan" }),
  ])();
}

function condition(random: Random, depth: number): unknown {
  if (depth === 0 || chance(random, 0.4)) return comparison(random);
  if (chance(random, 0.3)) return { "!": [condition(random, depth - 1)] };
  const inner = [condition(random, depth - 1), ...some(random, 1, () => condition(random, depth - 1))];
  return chance(random, 0.6) ? { or: inner } : { and: inner };
}

/** What a rule waits for, seldom; never where it denies. */
const waiting = (random: Random): Pick<PlainRule, "when" | "expires"> => ({
  ...(chance(random, 0.2) && { when: condition(random, 2) }),
  ...(chance(random, 0.1) && { expires: new Date(monday + below(random, 8) * day).toISOString() }),
});

interface Placed {
  readonly world: World;
  readonly asking: Omit<Facts.Asking, "path" | "operation">;
}

function worldOf(random: Random): Placed {
  const time = monday + below(random, 7 * 24) * 3_600_000 + below(random, 3_600_000);
  const [remoteAddress, team] = [one(random, addresses), one(random, ["a", "b", ""])];
  const [groups, orphan] = [chance(random, 0.5) ? ["g0", "g1"] : [], chance(random, 0.5)];
  const known = chance(random, 0.8);
  return {
    world: {
      time,
      facts: {
        ...(remoteAddress !== "" && { "request.remote_address": remoteAddress }),
        ...(known && { "identity.groups": groups }),
        ...(known && team !== "" && { "identity.entity.metadata.team": team }),
        "token.orphan": orphan,
      },
    },
    asking: {
      time,
      remoteAddress,
      entity: known ? { id: "e", name: "e", metadata: team === "" ? {} : { team } } : null,
      groups: known ? groups : null,
      login: null,
      token: { type: "service", displayName: "", policies: [], orphan, createdAt: 0, expiresAt: 0 },
    },
  };
}

/** Paths come from a small pool, so that policies meet on them. */
function rule(random: Random, pool: readonly string[]): PlainRule {
  const path = one(random, pool);
  if (chance(random, 0.08)) return { path, capabilities: chance(random, 0.5) ? ["deny"] : ["read", "deny"] };
  const capabilities = grants.filter(() => chance(random, 0.72));
  if (!chance(random, 0.2)) return { path, capabilities, ...waiting(random) };
  return {
    path,
    capabilities,
    ...waiting(random),
    ...(chance(random, 0.6) && { allowed_parameters: lists(random) }),
    ...(chance(random, 0.6) && { denied_parameters: lists(random) }),
    ...(chance(random, 0.4) && { required_parameters: some(random, 2, () => one(random, names)) }),
    ...(chance(random, 0.2) && { min_wrapping_ttl: one(random, [0, 5, 10]) }),
    ...(chance(random, 0.2) && { max_wrapping_ttl: one(random, [10, 20, 30]) }),
  };
}

function bindingsOf(random: Random): { facts: Filled; bindings: Match.Bindings } {
  const [id = "", name = "", team = "", alias = "", group = ""] = Array.from({ length: 5 }, () => one(random, values));
  const member = chance(random, 0.7);
  return {
    facts: {
      "identity.entity.id": id,
      "identity.entity.name": name,
      "identity.entity.metadata.team": team,
      "identity.entity.aliases.acc_1.name": alias,
      ...(member && { "identity.groups.ids.g1.name": "ops", "identity.groups.names.ops.id": "g1" }),
      ...(!member && { "identity.groups.ids.g1.name": "" }),
    },
    bindings: {
      entity: { id, name, metadata: { team }, aliases: [{ accessor: "acc_1", name: alias }] },
      groups: [...(member ? [{ id: "g1", name: "ops" }] : []), { id: "g2", name: group }],
    },
  };
}

/** A path that one of the rules is likely to match. */
function pathFor(random: Random, policies: readonly PlainPolicy[], facts: Filled): string {
  const rules = policies.flatMap((policy) => policy.rules);
  if (rules.length === 0 || chance(random, 0.08)) return some(random, 4, () => one(random, words)).join("/");
  const filled = one(random, rules).path.replaceAll(
    /\{\{(.*?)\}\}/g,
    (_all, name: string) => facts[name.trim()] ?? "a",
  );
  const parts = filled.replace(/^\//, "").split("/");
  const made = parts.map((part, at) => {
    if (part === "+") return one(random, words);
    if (at === parts.length - 1 && part.endsWith("*")) {
      return [part.slice(0, -1) + one(random, words), ...some(random, 2, () => one(random, words))].join("/");
    }
    return chance(random, 0.06) ? one(random, words) : part;
  });
  const path = made.join("/");
  if (chance(random, 0.15)) return `${path}/`;
  return chance(random, 0.05) ? path.slice(0, -1) : path;
}

function question(random: Random, policies: readonly PlainPolicy[], facts: Filled): Question {
  const path = pathFor(random, policies, facts);
  const operation = chance(random, 0.01) ? "help" : one(random, operations);
  const data = Object.fromEntries(
    some(random, 2, () => [one(random, ["one", "two", "Three", "four"]), one(random, [...contents, "xx", "zzz"])]),
  );
  return { path, operation, data, ...(chance(random, 0.3) && { wrapTtl: one(random, [0, 5, 10, 15, 25, 40]) }) };
}

export interface Outcome {
  readonly cases: number;
  readonly allowed: number;
  /** The first case on which the two do not agree. */
  readonly difference: string | null;
}

const perCaller = 50;

/** Compares until `cases` are done or two answers differ; a matcher that throws differs. */
export function compareWithReference(engine: Engine, seed: number, cases: number): Outcome {
  const random = randomFrom(seed);
  const cache = new engine.match.AclCache(200);
  let [done, allowed] = [0, 0];
  while (done < cases) {
    const pool = Array.from({ length: 16 }, () => pattern(random));
    const policies: PlainPolicy[] = Array.from({ length: 1 + below(random, 4) }, (_none, at) => ({
      name: `p${at}`,
      zone: one(random, zones),
      rules: [rule(random, pool), rule(random, pool), ...some(random, 10, () => rule(random, pool))],
    }));
    if (chance(random, 0.003)) policies.push({ name: "root", rules: [] });
    let shown = policies as unknown;
    try {
      const merged = policies.map((policy) => compiled(engine, random, policy));
      // Two callers, because what one entity gets must never be what another gets.
      for (const { facts, bindings } of [bindingsOf(random), bindingsOf(random)]) {
        shown = { seed, done, policies, facts };
        const acl = cache.merge(merged, bindings);
        for (let asked = 0; asked < perCaller && done < cases; asked += 1, done += 1) {
          const placed = chance(random, 0.05) ? null : worldOf(random);
          const asking = { ...question(random, policies, facts), ...(placed && { world: placed.world }) };
          const wanted = answer(policies, facts, asking);
          if (wanted.allowed) allowed += 1;
          const difference = differenceOf(engine, acl, wanted, asking, placed, policies, facts);
          if (difference !== null) return failed(done, allowed, difference, shown);
        }
      }
    } catch (error) {
      return failed(done, allowed, error, shown);
    }
  }
  return { cases: done, allowed, difference: null };
}

const failed = (cases: number, allowed: number, why: unknown, shown: unknown): Outcome => ({
  cases,
  allowed,
  difference: `${String(why)}\n${JSON.stringify(shown, null, 1)}`,
});

/** Straight from the rules, or by way of HCL text. */
function compiled(engine: Engine, random: Random, plain: PlainPolicy): Compile.Policy {
  if (plain.name === "root") return engine.compile.rootPolicy;
  const policy = engine.compile.compileRules(plain.name, plain.rules as readonly Compile.RuleSpec[], plain.zone?.name);
  if (!chance(random, 0.2)) return policy;
  const { rules, time_zone } = engine.hcl.parsePolicy(engine.compile.printPolicy(policy));
  return engine.compile.compileRules(plain.name, rules, time_zone);
}

function differenceOf(
  engine: Engine,
  acl: Match.Acl,
  wanted: Answer,
  asking: Question,
  placed: Placed | null,
  policies: readonly PlainPolicy[],
  facts: Filled,
): string | null {
  const factsOf = (operation: Operation): Facts.Facts =>
    new engine.facts.Facts({ ...placed?.asking, path: asking.path, operation } as Facts.Asking);
  const known = placed === null ? null : factsOf(asking.operation);
  const decided = acl.check(asking.path, asking.operation, asking.data, known, asking.wrapTtl);
  const same =
    decided.allowed === wanted.allowed &&
    decided.sudo === wanted.sudo &&
    decided.rule?.path === wanted.rule?.path &&
    decided.rule?.policies.join() === wanted.rule?.policies.join();
  if (!same) return `check ${JSON.stringify(asking)}: ${JSON.stringify(decided)}, reference: ${JSON.stringify(wanted)}`;
  if (asking.operation !== "list") return null;
  const shown = acl.capabilities(asking.path, placed === null ? undefined : factsOf).join();
  const listed = capabilitiesAt(policies, facts, asking.path, asking.world).join();
  return shown === listed ? null : `capabilities of ${asking.path}: ${shown}, reference: ${listed}`;
}
