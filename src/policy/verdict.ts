// Why a request is decided as it is, in words: for policy tests, never for clients.

import type { Operation } from "../sdk/request.ts";
import { deny, namesOf, needs } from "./capability.ts";
import type { Facts } from "./facts.ts";
import type { Acl } from "./match.ts";
import type { Decision, Rule, RuleSpec, Source } from "./rule.ts";
import { wrapsWithin } from "./wrapping.ts";

export interface Verdict {
  readonly acl: Acl;
  /** Names of all that act. */
  readonly policies: readonly string[];
  readonly path: string;
  readonly operation: Operation;
  readonly decision: Decision;
  readonly facts: Facts;
  readonly sudo: boolean;
  /** Seconds; 0 for none. */
  readonly wrapTtl: number;
}

/** The rules as declared that a decision rests on. */
export const decidingSpecs = (rule: Rule | null, decision: Decision): readonly RuleSpec[] =>
  (rule?.sources ?? []).filter(({ policy }) => decision.rule?.policies.includes(policy)).map(({ spec }) => spec);

const value = (fact: unknown): string => (fact === null ? "missing" : JSON.stringify(fact));

/** ", where time.weekday is "sat" and auth.type is missing" */
function read(facts: Facts): string {
  const seen = Object.entries(facts.seen ?? {}).map(([name, fact]) => `${name} is ${value(fact)}`);
  return seen.length === 0 ? "" : `, where ${seen.join(" and ")}`;
}

function withheld({ guard, spec }: Source, facts: Facts): string | null {
  if (guard === null || guard.holds(facts)) return null;
  if (!guard.expired(facts)) return `its condition does not hold${read(facts)}`;
  return facts.asking.time === null ? "it expires, and the test gives no time" : `it has expired (${spec.expires})`;
}

function denial({ operation, decision, facts, sudo, wrapTtl }: Verdict, rule: Rule): string {
  if (rule.mask === deny) return "it denies";
  const bits = needs[operation];
  const granting = rule.sources.filter(({ mask }) => (mask & bits) !== 0);
  if (granting.length === 0) {
    return `it allows ${rule.mask === 0 ? "nothing" : namesOf(rule.mask).join(", ")}, and not ${operation}`;
  }
  const reasons = granting.map((source) => withheld(source, facts));
  const [first] = reasons;
  if (first !== undefined && first !== null && !reasons.includes(null)) return first;
  if (decision.allowed && sudo) return `it gives no sudo${read(facts)}`;
  if (rule.wrapping !== null && !wrapsWithin(rule.wrapping, wrapTtl))
    return "it asks for a wrapped answer, within its limits";
  return "it does not take these fields, or misses some";
}

/** Which rule of which policies decides, and what made it. */
export function explain(verdict: Verdict): string {
  const { acl, policies, path, operation, decision, facts, sudo } = verdict;
  const rule = acl.rule(path, operation);
  if (decision.rule === null || rule === null) {
    if (acl.root) return "the policy root allows everything";
    return `no rule of its policies (${policies.join(", ")}) matches`;
  }
  const which = `the rule ${JSON.stringify(decision.rule.path)} of ${decision.rule.policies.join(", ")} decides`;
  if (decision.allowed && (!sudo || decision.sudo)) return `${which}${read(facts)}`;
  return `${which}: ${denial(verdict, rule)}`;
}
