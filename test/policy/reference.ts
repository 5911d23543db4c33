// The rules of Vault's policy language a second time: plain, slow, and without a line of the policy folder. What the
// matcher decides is compared with what this decides.
// Must hold: imports nothing of src/policy. Each question is answered by going through all rules from the start.

import type { Operation } from "../../src/sdk/request.ts";

export interface PlainRule {
  readonly path: string;
  readonly capabilities: readonly string[];
  readonly allowed_parameters?: Readonly<Record<string, readonly unknown[]>>;
  readonly denied_parameters?: Readonly<Record<string, readonly unknown[]>>;
  readonly required_parameters?: readonly string[];
  readonly min_wrapping_ttl?: number;
  readonly max_wrapping_ttl?: number;
  /** Of `==`, `in`, `cidr`, `!`, `and`, `or` and `var` only. */
  readonly when?: unknown;
  readonly expires?: string;
}

export interface PlainPolicy {
  readonly name: string;
  /** A zone and how many hours it is ahead of UTC; UTC where left out. */
  readonly zone?: { readonly name: string; readonly hours: number };
  readonly rules: readonly PlainRule[];
}

/** Values of templates by their text between the braces. */
export type Facts = Readonly<Record<string, string>>;

/** What is so when somebody asks: facts by name as conditions call them, and milliseconds since 1970. */
export interface World {
  readonly facts: Readonly<Record<string, string | boolean | readonly string[]>>;
  readonly time: number;
}

export interface Question {
  /** Left out where nothing is known. */
  readonly world?: World;
  readonly path: string;
  readonly operation: Operation;
  readonly data: Readonly<Record<string, unknown>>;
  readonly wrapTtl?: number;
}

export interface Answer {
  readonly allowed: boolean;
  readonly sudo: boolean;
  readonly rule: { readonly path: string; readonly policies: readonly string[] } | null;
}

interface Owned extends PlainRule {
  readonly policy: string;
  readonly hours: number;
}

class Missing extends Error {}

/** A condition as JSON Logic has it, but that a missing fact ends it. */
function evaluate(logic: unknown, know: (name: string) => unknown): unknown {
  if (Array.isArray(logic)) return logic.map((each) => evaluate(each, know));
  if (typeof logic !== "object" || logic === null) return logic;
  const operator = Object.keys(logic)[0] ?? "";
  const given = (logic as Record<string, unknown>)[operator];
  const list = (Array.isArray(given) ? given : [given]) as readonly unknown[];
  if (operator === "and") return list.every((each) => evaluate(each, know) === true);
  if (operator === "or") return list.some((each) => evaluate(each, know) === true);
  const [one, other] = list.map((each) => evaluate(each, know));
  if (operator === "!") return one !== true;
  // Ranges are single addresses here.
  if (operator === "==" || operator === "cidr") return one === other;
  if (operator === "in") return (other as readonly unknown[]).includes(one);
  const value = know(String(one));
  if (operator !== "var" || value === undefined) throw new Missing();
  return value;
}

const days = ["thu", "fri", "sat", "sun", "mon", "tue", "wed"];

/** Whether what a rule waits for is so. */
function isHeld(rule: Owned, { world, path, operation }: Pick<Question, "world" | "path" | "operation">): boolean {
  if (rule.when === undefined && rule.expires === undefined) return true;
  if (world === undefined || (rule.expires !== undefined && !(world.time < Date.parse(rule.expires)))) return false;
  const hours = Math.floor(world.time / 3_600_000) + rule.hours;
  const know = (name: string): unknown => {
    if (name === "request.path") return path;
    if (name === "request.operation") return operation;
    if (name === "time.hour") return hours % 24;
    // 1 January 1970 was a Thursday.
    return name === "time.weekday" ? days[Math.floor(hours / 24) % 7] : world.facts[name];
  };
  try {
    return rule.when === undefined || evaluate(rule.when, know) === true;
  } catch (error) {
    if (error instanceof Missing) return false;
    throw error;
  }
}

/** "{{ name }}" with its value; null where there is none, or one that is more than a single name. */
function substitute(path: string, facts: Facts): string | null {
  let lost = false;
  const filled = path.replaceAll(/\{\{(.*?)\}\}/g, (_whole, name: string) => {
    const value = facts[name.trim()];
    if (!value) lost = true;
    for (const character of value ?? "") {
      if ("/*+".includes(character) || character < " " || character === "\u007F") lost = true;
    }
    return value ?? "";
  });
  return lost ? null : filled;
}

const isWild = (path: string): boolean => path === "+" || path.startsWith("+/") || path.includes("/+");
const isExact = (path: string): boolean => !isWild(path) && !path.endsWith("*");

const known = new Map<string, RegExp>();

/** A pattern as a regular expression over the whole path. */
function expressionOf(pattern: string): RegExp {
  let expression = known.get(pattern);
  if (expression === undefined) {
    const glob = pattern.endsWith("*");
    const parts = (glob ? pattern.slice(0, -1) : pattern).split("/");
    const sources = parts.map((part) => (part === "+" ? "[^/]*" : part.replaceAll(/[^A-Za-z0-9_]/g, String.raw`\$&`)));
    expression = new RegExp(`^${sources.join(String.raw`\/`)}${glob ? "[^]*" : ""}$`);
    if (known.size > 20_000) known.clear();
    known.set(pattern, expression);
  }
  return expression;
}

/** Vault's list of criteria, in its order. Positive where `one` goes before `other`. */
function compare(one: string, other: string): number {
  const first = (path: string): number => (isWild(path) ? path.indexOf("+") : path.indexOf("*", path.length - 1));
  const pluses = (path: string): number => path.split("/").filter((part) => part === "+" || part === "+*").length;
  const bare = (path: string): string => path.replace(/\*$/, "");
  if (first(one) !== first(other)) return first(one) - first(other);
  if (one.endsWith("*") !== other.endsWith("*")) return one.endsWith("*") ? -1 : 1;
  if (pluses(one) !== pluses(other)) return pluses(other) - pluses(one);
  const lengths = Buffer.byteLength(bare(one)) - Buffer.byteLength(bare(other));
  return lengths === 0 ? Buffer.compare(Buffer.from(bare(one)), Buffer.from(bare(other))) : lengths;
}

/** The path of the rule that decides. */
function decidingPath(rules: readonly Owned[], asking: string, folder: boolean): string | null {
  const path = asking.replace(/^\/+/, "");
  const paths = rules.map((rule) => rule.path);
  const short = folder && path.endsWith("/") ? path.slice(0, -1) : path;
  for (const asked of [path, short]) if (paths.some((each) => isExact(each) && each === asked)) return asked;
  for (const asked of [path, short]) {
    const found = paths.filter((each) => !isExact(each) && expressionOf(each).test(asked));
    if (found.length > 0) return found.reduce((best, each) => (compare(each, best) > 0 ? each : best));
  }
  return null;
}

function sameJson(one: unknown, other: unknown): boolean {
  const sorted = (_key: string, value: unknown): unknown =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value;
  return JSON.stringify(one, sorted) === JSON.stringify(other, sorted);
}

function fits(wanted: unknown, value: unknown): boolean {
  if (typeof wanted !== "string" || typeof value !== "string") return sameJson(wanted, value);
  if (wanted === "*") return value === "*";
  const [, head, middle, tail] = /^(\*?)([^]*?)(\*?)$/.exec(wanted) ?? [];
  if (head && tail) return value.includes(middle ?? "");
  if (head) return value.endsWith(middle ?? "");
  return tail ? value.startsWith(middle ?? "") : value === wanted;
}

/** All lists given for a field name in all rules: null where there is none, [] for any value. */
function listed(
  rules: readonly Owned[],
  kind: "allowed_parameters" | "denied_parameters",
  name: string,
): readonly unknown[] | null {
  const lists = rules.flatMap((rule) =>
    Object.entries(rule[kind] ?? {}).flatMap(([each, list]) => (each.toLowerCase() === name ? [list] : [])),
  );
  if (lists.length === 0) return null;
  return lists.some((list) => list.length === 0) ? [] : lists.flat();
}

/** What is forbidden is forbidden by all rules; what is accepted, by those that are held. */
function fieldsPass(rules: readonly Owned[], held: readonly Owned[], data: Question["data"]): boolean {
  for (const rule of rules) {
    for (const name of rule.required_parameters ?? [])
      if (!Object.keys(data).includes(name.toLowerCase())) return false;
  }
  const restricted = rules.some((rule) => Object.keys(rule.allowed_parameters ?? {}).length > 0);
  const only = new Set(rules.flatMap((rule) => Object.keys(rule.allowed_parameters ?? {})));
  for (const [name, value] of Object.entries(data)) {
    if (listed(rules, "denied_parameters", "*") !== null) return false;
    const denied = listed(rules, "denied_parameters", name.toLowerCase());
    if (denied !== null && (denied.length === 0 || denied.some((each) => fits(each, value)))) return false;
    if (!restricted) continue;
    const others = listed(held, "allowed_parameters", "*") !== null;
    if (listed(rules, "allowed_parameters", name.toLowerCase()) === null || (only.size === 1 && only.has("*"))) {
      if (!others) return false;
      continue;
    }
    const allowed = listed(held, "allowed_parameters", name.toLowerCase());
    if (allowed === null || (allowed.length > 0 && !allowed.some((each) => fits(each, value)))) return false;
  }
  return true;
}

/** Of several limits the least one counts. */
function wrapPasses(rules: readonly Owned[], seconds: number): boolean {
  const least = (name: "min_wrapping_ttl" | "max_wrapping_ttl"): number | undefined =>
    rules.flatMap((rule) => rule[name] || []).sort((a, b) => a - b)[0];
  const [min, max] = [least("min_wrapping_ttl"), least("max_wrapping_ttl")];
  if (min === undefined && max === undefined) return true;
  if (seconds === 0 || (min !== undefined && max !== undefined && max < min)) return false;
  return !(min !== undefined && seconds < min) && !(max !== undefined && seconds > max);
}

/** Every rule that applies to the one who asks, with its path as matched. */
function applying(policies: readonly PlainPolicy[], facts: Facts): Owned[] {
  return policies.flatMap((policy) =>
    policy.rules.flatMap((rule) => {
      const filled = rule.path.includes("{{") ? substitute(rule.path, facts) : rule.path;
      if (filled === null) return [];
      return [{ ...rule, path: filled.replace(/^\//, ""), policy: policy.name, hours: policy.zone?.hours ?? 0 }];
    }),
  );
}

const named = (rules: readonly Owned[]): string[] => [...new Set(rules.map((rule) => rule.policy))].sort();

export function answer(policies: readonly PlainPolicy[], facts: Facts, question: Question): Answer {
  const { path, operation, data } = question;
  if (policies.some((policy) => policy.name === "root")) {
    return { allowed: true, sudo: true, rule: { path: "*", policies: ["root"] } };
  }
  if (operation === "help") return { allowed: true, sudo: false, rule: null };
  const rules = applying(policies, facts);
  const deciding = decidingPath(rules, path, operation === "list" || operation === "scan");
  if (deciding === null) return { allowed: false, sudo: false, rule: null };
  const here = rules.filter((rule) => rule.path === deciding);
  const denying = here.filter((rule) => rule.capabilities.includes("deny"));
  if (denying.length > 0) return { allowed: false, sudo: false, rule: { path: deciding, policies: named(denying) } };
  const held = here.filter((rule) => isHeld(rule, question));
  const sudo = held.some((rule) => rule.capabilities.includes("sudo"));
  const granting = held.filter((rule) => rule.capabilities.includes(operation));
  const fields = ["create", "read", "update", "patch"].includes(operation) ? fieldsPass(here, held, data) : true;
  const allowed = granting.length > 0 && fields && wrapPasses(here, question.wrapTtl ?? 0);
  return { allowed, sudo, rule: { path: deciding, policies: named(allowed ? granting : here) } };
}

const operations = ["create", "read", "update", "patch", "delete", "list", "scan"] as const;

export function capabilitiesAt(
  policies: readonly PlainPolicy[],
  facts: Facts,
  path: string,
  world?: World,
): readonly string[] {
  if (policies.some((policy) => policy.name === "root")) return ["root"];
  const rules = applying(policies, facts);
  const deciding = decidingPath(rules, path, true);
  const here = rules.filter((rule) => rule.path === deciding);
  if (here.some((rule) => rule.capabilities.includes("deny"))) return ["deny"];
  const names = new Set<string>();
  for (const operation of operations) {
    const held = here.filter((rule) => isHeld(rule, { path, operation, ...(world && { world }) }));
    for (const name of held.flatMap((rule) => rule.capabilities))
      if (name === operation || name === "sudo") names.add(name);
  }
  return names.size === 0 ? ["deny"] : [...names].sort();
}
