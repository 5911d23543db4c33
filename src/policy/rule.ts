// A rule as declared, and as the matcher uses it.
// Must hold: a compiled rule never changes but for the decisions that it keeps, and those follow from it alone, so that
// one rule serves every token whose policies have it.

import type { Operation } from "../sdk/request.ts";
import { type Capability, deny, maskOf, needs, sudo } from "./capability.ts";
import { joinParameters, type Parameters, parametersOf, type ParameterSpec, permits } from "./parameters.ts";
import { parsePattern, type Pattern } from "./pattern.ts";

export interface RuleSpec extends ParameterSpec {
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

/** What one policy says on a path. A condition, once there is one, belongs here: it withholds what its own source allows. */
interface Source {
  readonly policy: string;
  readonly mask: number;
}

/** Why a check ends as it does, as an index into the kept decisions. */
const outcomes: readonly Operation[] = ["create", "read", "update", "patch", "delete", "list", "scan"];
const at = new Map<Operation, number>(outcomes.map((operation, index) => [operation, index]));
/** Operations whose fields are looked at, as in Vault. */
const withFields = new Set<Operation>(["create", "read", "update", "patch"]);

export class Rule {
  readonly pattern: Pattern;
  readonly mask: number;
  readonly parameters: Parameters | null;
  readonly sources: readonly Source[];
  readonly #granted: Decision[] = [];
  #refused: Decision | null = null;

  constructor(pattern: Pattern, mask: number, parameters: Parameters | null, sources: readonly Source[]) {
    this.pattern = pattern;
    this.mask = mask;
    this.parameters = mask === deny ? null : parameters;
    this.sources = sources;
  }

  /** The declaration of `policy`, whose path has no holes left. */
  static of(policy: string, path: string, spec: RuleSpec): Rule {
    const mask = maskOf(spec.capabilities);
    return new Rule(parsePattern(path), mask, parametersOf(spec), [{ policy, mask }]);
  }

  /** Both on one path: what they grant adds up, what they ask too, and deny wins. */
  with(other: Rule): Rule {
    const mask = this.mask | other.mask;
    return new Rule(
      this.pattern,
      (mask & deny) === 0 ? mask : deny,
      joinParameters(this.parameters, other.parameters),
      [...this.sources, ...other.sources],
    );
  }

  /** Fields that a rule asks about and that are not given count as a refusal. */
  decide(operation: Operation, data: Readonly<Record<string, unknown>> | undefined): Decision {
    if ((this.mask & needs[operation]) === 0) return this.#refuse();
    if (this.parameters !== null && withFields.has(operation)) {
      if (data === undefined || !permits(this.parameters, data)) return this.#refuse();
    }
    return this.#grant(operation);
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
