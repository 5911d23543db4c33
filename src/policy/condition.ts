// Conditions: JSON Logic over declared facts, checked as a whole and compiled to closures when a policy is compiled.
// Must hold: what compiles has no type error left, so that what can still go wrong while it runs is a fact that is missing,
// a text that is no address, or the budget, and each of these withholds.
// Known gap: `and` and `or` end as soon as they are settled, so whether a missing fact is met depends on their order.

import type { Fault } from "../sdk/kind.ts";
import { Compiler, Run } from "./compiler.ts";
import type { Facts } from "./facts.ts";
import { operators } from "./operators.ts";
import type { Zone } from "./zone.ts";

export interface Condition {
  /** False as well where a fact is missing or anything else goes wrong. */
  holds(facts: Facts): boolean;
}

/** Checks and compiles `when`. Paths of faults lead on from it. */
export function compileCondition(
  when: unknown,
  zone: Zone,
): { readonly condition: Condition | null; readonly faults: readonly Fault[] } {
  const compiler = new Compiler(zone, operators);
  const test = compiler.test(when, []);
  if (test !== null && compiler.faults.length === 0 && !compiler.readsFacts) {
    compiler.fault([], "asks for no fact, so it would always say the same; leave it out, or the rule");
  }
  if (test === null || compiler.faults.length > 0) return { condition: null, faults: compiler.faults };
  const holds = (facts: Facts): boolean => {
    try {
      return test(new Run(facts));
    } catch {
      return false;
    }
  };
  return { condition: { holds }, faults: [] };
}
