// Declared policies, compiled once when they change: what the matcher merges, and the kind that Git documents have.
// Must hold: whatever Git declares and `check` lets pass compiles; what the API declares is held to Vault's own rules only.

import { whole, type Work } from "../lib/slices.ts";
import { VaultError } from "../sdk/errors.ts";
import { field } from "../sdk/fields.ts";
import type { Declaration, Fault, Kind } from "../sdk/kind.ts";
import { isRoot } from "../sdk/resourceKind.ts";
import { capabilities, isCapability } from "./capability.ts";
import { defaultRules, wrappingRules } from "./default.ts";
import { type Guard, guardFaults, guardOf } from "./guard.ts";
import { covers, parsePattern, patternFault } from "./pattern.ts";
import { printRules } from "./print.ts";
import { Rule, type RuleSpec } from "./rule.ts";
import { fill, isTemplate, parseTemplate, type Template, templateFault } from "./template.ts";
import { wrappingFault } from "./wrapping.ts";
import { zoneFault } from "./zone.ts";

export type { Capability } from "./capability.ts";
export type { RuleSpec } from "./rule.ts";

export interface Policy {
  readonly name: string;
  /** Allows everything; has no rules. */
  readonly root: boolean;
  readonly rules: readonly Rule[];
  /** As declared. */
  readonly specs: readonly RuleSpec[];
  /** Name of the zone in which its conditions tell the time. */
  readonly zone: string;
  /** Rules with holes, bound when they are merged for an entity. */
  readonly templates: readonly {
    readonly template: Template;
    readonly spec: RuleSpec;
    readonly guard: Guard | null;
  }[];
}

export const policyFields = {
  time_zone: field.string("IANA name of the zone in which conditions tell date and time; UTC where left out"),
  rules: field.list(
    "What is allowed, path by path; the most specific path decides",
    {
      path: field.string("Path below /v1/; `*` at the end for any rest, `+` for one segment", { required: true }),
      capabilities: field.strings("What may be done there; deny wins over everything", {
        required: true,
        enum: capabilities,
      }),
      allowed_parameters: field.json(
        "Names of the only fields a request may have, each with a list of values ([] for any)",
      ),
      denied_parameters: field.json("Names of fields a request may not have, each with a list of values ([] for any)"),
      required_parameters: field.strings("Names of fields a request must have"),
      min_wrapping_ttl: field.duration("The answer must be asked for wrapped, for this long or longer"),
      max_wrapping_ttl: field.duration("The answer must be asked for wrapped, for this long at most"),
      when: field.json(
        "A condition in JSON Logic over facts of the request; what the rule allows is withheld unless it holds",
      ),
      expires: field.string("The instant from which the rule allows nothing more, such as 2027-01-31T00:00:00Z"),
    },
    { required: true },
  ),
} as const;

/** What no compiled rule can have, wherever it was declared; null where there is nothing. */
function ruleFault(spec: RuleSpec): string | null {
  const unknown = spec.capabilities.find((name) => !isCapability(name));
  if (unknown !== undefined)
    return `no capability is called ${JSON.stringify(unknown)}; there are ${capabilities.join(", ")}`;
  return patternFault(spec.path) ?? templateFault(spec.path, false) ?? parametersFault(spec) ?? wrappingFault(spec);
}

function parametersFault(spec: RuleSpec): string | null {
  for (const name of ["allowed_parameters", "denied_parameters"] as const) {
    const given: unknown = spec[name];
    if (given === undefined || given === null) continue;
    const lists = typeof given === "object" && !Array.isArray(given) && Object.values(given).every(Array.isArray);
    if (!lists) return `${name} needs a list of values for each field name, [] for any value`;
  }
  return null;
}

/** Throws VaultError `invalid` naming the policy and the rule. */
function* compilingRules(name: string, specs: readonly RuleSpec[], zone: string): Work<Policy> {
  const rules: Rule[] = [];
  const templates: Policy["templates"][number][] = [];
  const strange = zoneFault(zone);
  if (strange !== null) throw new VaultError("invalid", `policy "${name}": ${strange}`);
  for (const spec of specs) {
    const wrong = (fault: string): VaultError =>
      new VaultError("invalid", `policy "${name}", path "${spec.path}": ${fault}`);
    const fault = ruleFault(spec);
    if (fault !== null) throw wrong(fault);
    const { guard, faults } = guardOf(spec, zone);
    if (faults[0] !== undefined) throw wrong(`${faults[0].path.join(".")}: ${faults[0].message}`);
    if (isTemplate(spec.path)) templates.push({ template: parseTemplate(spec.path), spec, guard });
    else rules.push(Rule.of(name, spec.path, spec, guard));
    yield;
  }
  return Object.freeze({
    name,
    root: false,
    specs,
    zone,
    rules: Object.freeze(rules),
    templates: Object.freeze(templates),
  });
}

/** Throws VaultError `invalid` naming the policy and the rule. */
export const compileRules = (name: string, specs: readonly RuleSpec[], zone = "UTC"): Policy =>
  whole(compilingRules(name, specs, zone));

/** The rules of a declaration, as `policyFields` parsed them. */
export const rulesOf = (declaration: Pick<Declaration, "spec">): readonly RuleSpec[] =>
  (declaration.spec["rules"] ?? []) as unknown as readonly RuleSpec[];

const zoneNameOf = (declaration: Pick<Declaration, "spec">): string =>
  (declaration.spec["time_zone"] as string | undefined) ?? "UTC";

function* compilingAnew(declaration: Pick<Declaration, "name" | "spec">): Work<Policy> {
  const name = normalizeName(declaration.name);
  if (name === "root") throw new VaultError("invalid", 'the policy "root" cannot be changed');
  return yield* compilingRules(name, rulesOf(declaration), zoneNameOf(declaration));
}

/** Throws VaultError `invalid`. */
export const compilePolicy = (declaration: Pick<Declaration, "name" | "spec">): Policy =>
  whole(compilingAnew(declaration));

const compiled = new WeakMap<Declaration, Policy>();

/** Compiles once per declaration object, a rule at a time: of one policy there may be a hundred thousand, and closures cannot
 *  be sent from another thread. Throws VaultError `invalid`. */
export function* compiling(declaration: Declaration): Work<Policy> {
  let policy = compiled.get(declaration);
  if (policy === undefined) {
    policy = yield* compilingAnew(declaration);
    compiled.set(declaration, policy);
  }
  return policy;
}

/** The same at one go. */
export const policyOf = (declaration: Declaration): Policy =>
  compiled.get(declaration) ?? whole(compiling(declaration));

export const rootPolicy: Policy = Object.freeze({
  name: "root",
  root: true,
  specs: [],
  zone: "UTC",
  rules: [],
  templates: [],
});
export const defaultPolicy: Policy = compileRules("default", defaultRules);
export const wrappingName = "response-wrapping";
export const wrappingPolicy: Policy = compileRules(wrappingName, wrappingRules);

/** Its rules as HCL. */
export const printPolicy = (policy: Policy): string => printRules(policy.specs, policy.zone);
export const defaultPolicyText: string = printPolicy(defaultPolicy);

/** As Vault spells the names of policies. */
export const normalizeName = (name: string): string => name.trim().toLowerCase();

/** Lists of policies are written with commas. */
const badName = /^$|[,\p{Cc}]/u;
const reserved = new Set(["root", wrappingName]);

function nameFault(declaration: Declaration): readonly Fault[] {
  const name = normalizeName(declaration.name);
  const fault = (message: string): readonly Fault[] => [{ path: [], message }];
  if (reserved.has(name) || isRoot(name))
    return fault(`"${name}" is built in and cannot be changed; choose another name`);
  return badName.test(name) ? fault("a policy's name needs text without commas and control characters") : [];
}

/** Mistakes that Vault lets pass, and that nobody means. */
function oversight(spec: RuleSpec): string | null {
  const path = spec.path.replace(/^\//, "");
  if (path === "" || path !== path.trim()) return "is empty, or has spaces at its ends";
  const text = fill(path, "");
  if (/(?:^|\/)\.{1,2}(?:\/|$)|\/\//.test(fill(path, "x"))) {
    return "no request has such a path: doubled slashes and dot segments are not taken";
  }
  if (text.slice(0, -1).includes("*")) return "`*` is a wildcard only at the very end; write `+` for one segment";
  if (spec.capabilities.includes("deny") && isTemplate(path)) {
    return "a rule that denies takes no template: for whom it has no value, it would be gone and open what it closes";
  }
  return templateFault(path, true);
}

function gitFaults(specs: readonly RuleSpec[]): readonly Fault[] {
  const faults: Fault[] = [];
  const seen = new Set<string>();
  for (const [at, spec] of specs.entries()) {
    const path = spec.path.replace(/^\//, "");
    // What cannot be read says nothing else.
    const fault = ruleFault(spec) === null ? oversight(spec) : null;
    if (fault !== null) faults.push({ path: ["rules", at, "path"], message: `${JSON.stringify(spec.path)}: ${fault}` });
    if (spec.capabilities.length === 0) {
      const message = "no capability: write [deny] to close this path, or leave the rule out";
      faults.push({ path: ["rules", at, "capabilities"], message });
    }
    if (seen.has(path)) {
      const message = `an earlier rule has the same path ${JSON.stringify(path)}; make them one`;
      faults.push({ path: ["rules", at, "path"], message });
    }
    seen.add(path);
  }
  return faults;
}

/** Names of fields in one rule: it is compiled at one go, and asked about at each request. */
const mostNames = 4_096;

/** What is compiled where it is stored, and written no more. */
function sizeFault(spec: RuleSpec): string | null {
  for (const name of ["allowed_parameters", "denied_parameters"] as const) {
    if (Object.keys(spec[name] ?? {}).length > mostNames) return `${name} has more than ${mostNames} names`;
  }
  return (spec.required_parameters ?? []).length > mostNames
    ? `required_parameters has more than ${mostNames} names`
    : null;
}

function check(declaration: Declaration): readonly Fault[] {
  const specs = rulesOf(declaration);
  const faults = specs.flatMap((spec, at): readonly Fault[] => {
    const message = ruleFault(spec) ?? sizeFault(spec);
    const guard = guardFaults(spec).map((fault) => ({ ...fault, path: ["rules", at, ...fault.path] }));
    return message === null ? guard : [{ path: ["rules", at], message }, ...guard];
  });
  const strange = zoneFault(zoneNameOf(declaration));
  if (strange !== null) faults.push({ path: ["time_zone"], message: strange });
  const own = [...nameFault(declaration), ...faults];
  return declaration.source === null ? own : [...own, ...gitFaults(specs)];
}

/** Whether some path below sys/ matches, whatever fills the holes. */
function reachesSys(path: string): boolean {
  const hole = "\0";
  const filled = fill(path.replace(/^\//, ""), hole);
  const [head = ""] = filled.split("/");
  const cut = head.indexOf(hole);
  if (cut < 0) return covers(parsePattern(filled), "sys/") !== "none";
  return "sys".startsWith(head.slice(0, cut));
}

function ceiling(declaration: Declaration): readonly Fault[] {
  return rulesOf(declaration).flatMap((spec, at): readonly Fault[] => {
    const grants = spec.capabilities.includes("sudo") && !spec.capabilities.includes("deny");
    if (!grants || !reachesSys(spec.path)) return [];
    const message = `${JSON.stringify(spec.path)} gives sudo on sys/; the server's config has to open that to Git`;
    return [{ path: ["rules", at, "capabilities"], message, allow: "sudo" }];
  });
}

export const policyKind: Kind = {
  name: "Policy",
  description: "What tokens may do",
  mount: null,
  fields: policyFields,
  normalize: normalizeName,
  builtin: ["default", "root"],
  check,
  ceiling,
};
