// A rule as declared, and as the matcher uses it.
// Must hold: a compiled rule never changes but for what it keeps of its own answers, and those follow from it alone, so
// that one rule serves every token whose policies have it. What several policies say on one path adds up, each as long as
// its own condition holds: the fewer hold, the less is allowed.

import type { Operation } from "../sdk/request.ts";
import { type Capability, deny, maskOf, needs, sudo } from "./capability.ts";
import type { Facts } from "./facts.ts";
import type { Guard, GuardSpec } from "./guard.ts";
import {
  acceptOnly,
  joinParameters,
  type Parameters,
  parametersOf,
  type ParameterSpec,
  permits,
} from "./parameters.ts";
import { parsePattern, type Pattern } from "./pattern.ts";
import { type WrappingLimits, wrappingLimits, type WrappingSpec, wrapsWithin } from "./wrapping.ts";

export interface RuleSpec extends ParameterSpec, GuardSpec, WrappingSpec {
  readonly path: string;
  readonly capabilities: readonly Capability[];
}

/** Frozen, and the same object each time the same is decided. */
export interface Decision {
  readonly allowed: boolean;
  /** The caller has `sudo` here. */
  readonly sudo: boolean;
  /** The most specific rule, whether it allows or not, and the policies in which it decides: those that grant, else those
   *  that deny, else all that have it. Null where no rule matches. */
  readonly rule: { readonly path: string; readonly policies: readonly string[] } | null;
}

/** What one policy says on a path. */
export interface Source {
  readonly policy: string;
  /** What it allows, or deny; 0 while it is withheld. */
  readonly mask: number;
  readonly parameters: Parameters | null;
  /** Null where it waits for nothing. */
  readonly guard: Guard | null;
  readonly spec: RuleSpec;
}

/** Why a check ends as it does, as an index into the kept decisions. */
const outcomes: readonly Operation[] = ["create", "read", "update", "patch", "delete", "list", "scan"];
const at = new Map<Operation, number>(outcomes.map((operation, index) => [operation, index]));
/** Operations whose fields are looked at, as in Vault. */
const withFields = new Set<Operation>(["create", "read", "update", "patch"]);
/** Sets of conditions that hold together, kept by rule. */
const mostStates = 64;
const unguarded: readonly Guard[] = Object.freeze([]);
const waits = (source: Source): boolean => source.guard !== null;

export class Rule {
  readonly pattern: Pattern;
  /** What it allows where every condition holds. */
  readonly mask: number;
  readonly parameters: Parameters | null;
  readonly sources: readonly Source[];
  /** Null where an answer need not be wrapped. */
  readonly wrapping: WrappingLimits | null;
  /** Of the sources that have one, in their order; none where the path is closed anyway. */
  readonly #guarded: readonly Guard[];
  #states: Map<string, Rule> | null = null;
  readonly #granted: Decision[] = [];
  #refused: Decision | null = null;

  constructor(pattern: Pattern, mask: number, parameters: Parameters | null, sources: readonly Source[]) {
    this.pattern = pattern;
    this.mask = mask;
    this.parameters = mask === deny ? null : parameters;
    this.sources = sources;
    this.wrapping = wrappingLimits(sources.map(({ spec }) => spec));
    this.#guarded = mask === deny || !sources.some(waits) ? unguarded : sources.flatMap(({ guard }) => guard ?? []);
  }

  /** The declaration of `policy`, whose path has no holes left. */
  static of(policy: string, path: string, spec: RuleSpec, guard: Guard | null): Rule {
    const mask = maskOf(spec.capabilities);
    const parameters = parametersOf(spec);
    return new Rule(parsePattern(path), mask, parameters, [{ policy, mask, parameters, guard, spec }]);
  }

  /** Those on one path: what they grant adds up, what they ask too, and deny wins. All at one go: what one after another
   *  would copy grows with the square of their number. */
  static joined(first: Rule, others: readonly Rule[]): Rule {
    if (others.length === 0) return first;
    const rules = [first, ...others];
    const mask = rules.reduce((sum, rule) => sum | rule.mask, 0);
    return new Rule(
      first.pattern,
      (mask & deny) === 0 ? mask : deny,
      joinParameters(rules.map(({ parameters }) => parameters)),
      rules.flatMap(({ sources }) => sources),
    );
  }

  get conditional(): boolean {
    return this.#guarded.length > 0;
  }

  /** The rule as it is for these facts; what waits for something is withheld where they are null. */
  holding(facts: Facts | null): Rule {
    if (this.#guarded.length === 0) return this;
    let key = "";
    for (const guard of this.#guarded) key += guard.holds(facts) ? "1" : "0";
    const states = (this.#states ??= new Map());
    let state = states.get(key);
    if (state === undefined) {
      state = this.#state(key);
      if (states.size >= mostStates) states.clear();
      states.set(key, state);
    }
    return state;
  }

  /** Fields that a rule asks about and that are not given count as a refusal. `wrapTtl` is in seconds, 0 for none. */
  decide(
    operation: Operation,
    data: Readonly<Record<string, unknown>> | undefined,
    facts: Facts | null,
    wrapTtl: number,
  ): Decision {
    return this.holding(facts).#decide(operation, data, wrapTtl);
  }

  #decide(operation: Operation, data: Readonly<Record<string, unknown>> | undefined, wrapTtl: number): Decision {
    if ((this.mask & needs[operation]) === 0) return this.#refuse();
    if (this.wrapping !== null && !wrapsWithin(this.wrapping, wrapTtl)) return this.#refuse();
    if (this.parameters !== null && withFields.has(operation)) {
      if (data === undefined || !permits(this.parameters, data)) return this.#refuse();
    }
    return this.#grant(operation);
  }

  /** `key` says of each guarded source whether it holds. A source that does not allows nothing, no value of a field
   *  either; what it forbids stays forbidden. */
  #state(key: string): Rule {
    let index = 0;
    const sources = this.sources.map((source): Source => {
      const held = source.guard === null || key[index++] === "1";
      return { ...source, guard: null, mask: held ? source.mask : 0, parameters: held ? source.parameters : null };
    });
    const mask = sources.reduce((sum, source) => sum | source.mask, 0);
    const accepted = joinParameters(sources.map((source) => source.parameters));
    return new Rule(this.pattern, mask, acceptOnly(this.parameters, accepted), sources);
  }

  #grant(operation: Operation): Decision {
    const index = at.get(operation) ?? 0;
    return (this.#granted[index] ??= this.#decision(true, needs[operation]));
  }

  #refuse(): Decision {
    return (this.#refused ??= this.#decision(false, this.mask & deny));
  }

  #decision(allowed: boolean, bits: number): Decision {
    const deciding = bits === 0 ? this.sources : this.sources.filter((source) => (source.mask & bits) !== 0);
    const policies = Object.freeze([...new Set(deciding.map((source) => source.policy))].sort());
    const rule = Object.freeze({ path: this.pattern.path, policies });
    return Object.freeze({ allowed, sudo: (this.mask & sudo) !== 0, rule });
  }
}
