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

export interface Guarding {
  /** Null where the rule waits for nothing, or where something is wrong. */
  readonly guard: Guard | null;
  /** With the way to what is wrong from the rule. */
  readonly faults: readonly Fault[];
}

const unguarded: Guarding = { guard: null, faults: [] };

/** Call `zoneFault` first. */
export function guardOf(spec: GuardSpec & { readonly capabilities: readonly string[] }, zone: string): Guarding {
  const { when, expires } = spec;
  if (when === undefined && expires === undefined) return unguarded;
  const faults: Fault[] = [];
  let condition: Condition | null = null;
  if (when !== undefined) {
    const compiled = compileCondition(when, zoneOf(zone));
    condition = compiled.condition;
    faults.push(...compiled.faults.map(({ path, message }) => ({ path: ["when", ...path], message })));
  }
  const end = expires === undefined ? Number.POSITIVE_INFINITY : instantOf(expires);
  if (end === null) faults.push({ path: ["expires"], message: "is no instant; write one like 2027-01-31T00:00:00Z" });
  if (spec.capabilities.includes("deny")) {
    for (const name of ["when", "expires"] as const) {
      if (spec[name] === undefined) continue;
      faults.push({
        path: [name],
        message: `a rule that denies takes no ${name}: it would open what it closes; put it on the rules that allow`,
      });
    }
  }
  const whole = faults.length === 0 && end !== null && (when === undefined || condition !== null);
  if (!whole && faults.length === 0) throw new TypeError("a condition that does not compile");
  return { guard: whole ? new Guard(condition, end) : null, faults };
}

/** What is wrong, with the way to it from the rule. */
export const guardFaults = (spec: Parameters<typeof guardOf>[0]): readonly Fault[] => guardOf(spec, "UTC").faults;
