// What a rule waits for: its condition and its end. Both withhold what the rule allows, and neither ever opens anything.
// Must hold: no rule that denies has one, wherever it was declared; a request whose time or facts are not known does not
// pass.

import { instantOf } from "../lib/clock.ts";
import type { Fault } from "../sdk/kind.ts";
import type { Json } from "../sdk/view.ts";
import { compileCondition, type Condition } from "./condition.ts";
import type { Facts } from "./facts.ts";
import { zoneOf } from "./zone.ts";

/** As declared. */
export interface GuardSpec {
  /** JSON Logic. */
  readonly when?: Json | undefined;
  /** RFC 3339. */
  readonly expires?: string | undefined;
}

export class Guard {
  readonly #condition: Condition | null;
  /** Milliseconds since 1970. */
  readonly #expires: number;

  constructor(condition: Condition | null, expires: number) {
    this.#condition = condition;
    this.#expires = expires;
  }

  holds(facts: Facts | null): boolean {
    return facts !== null && !this.expired(facts) && (this.#condition === null || this.#condition.holds(facts));
  }

  expired(facts: Facts): boolean {
    const { time } = facts.asking;
    return this.#expires !== Number.POSITIVE_INFINITY && (time === null || time >= this.#expires);
  }
}

/** What is wrong, with the way to it from the rule. */
export function guardFaults(spec: GuardSpec & { readonly capabilities: readonly string[] }): readonly Fault[] {
  const faults: Fault[] = [];
  if (spec.when !== undefined) {
    const { faults: found } = compileCondition(spec.when, zoneOf("UTC"));
    faults.push(...found.map(({ path, message }) => ({ path: ["when", ...path], message })));
  }
  if (spec.expires !== undefined && instantOf(spec.expires) === null) {
    faults.push({ path: ["expires"], message: "is no instant; write one like 2027-01-31T00:00:00Z" });
  }
  if (!spec.capabilities.includes("deny")) return faults;
  for (const name of ["when", "expires"] as const) {
    if (spec[name] === undefined) continue;
    faults.push({
      path: [name],
      message: `a rule that denies takes no ${name}: it would open what it closes; put it on the rules that allow`,
    });
  }
  return faults;
}

/** Null where the rule waits for nothing. Call `guardFaults` and `zoneFault` first. */
export function guardOf(spec: GuardSpec, zone: string): Guard | null {
  if (spec.when === undefined && spec.expires === undefined) return null;
  const condition = spec.when === undefined ? null : compileCondition(spec.when, zoneOf(zone)).condition;
  if (spec.when !== undefined && condition === null) throw new TypeError("a condition that does not compile");
  return new Guard(condition, spec.expires === undefined ? Number.POSITIVE_INFINITY : (instantOf(spec.expires) ?? 0));
}
