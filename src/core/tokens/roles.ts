// Token roles: rules for tokens that are made through auth/token/create/<role>. A role is a declaration like any other, and
// what it allows is asked again at each request of a token that was made through it.
// Must hold: no role gives the policy `root`; a role without allowed policies gives nothing that the maker does not have.
// Differs from Vault: disallowed policies alone take away, and do not let anybody ask for all the others.

import { wildcardMatches } from "../../lib/glob.ts";
import { VaultError } from "../../sdk/errors.ts";
import { field, type Values } from "../../sdk/fields.ts";
import type { Fault, Kind } from "../../sdk/kind.ts";
import type { Resource } from "../../sdk/mount.ts";
import { isRoot, rootFaults } from "../../sdk/resourceKind.ts";
import { tokenFaults, tokenFields } from "../../sdk/token.ts";
import type { Generation } from "../generation.ts";
import type { TokenEntry } from "./entry.ts";

const { token_period, token_explicit_max_ttl, token_num_uses, token_bound_cidrs, token_no_default_policy } =
  tokenFields;

const roleFields = {
  allowed_policies: field.strings("Policies that may be asked for, whatever the maker has", {
    default: [],
    ref: "Policy",
  }),
  allowed_policies_glob: field.strings("The same, where * stands for any part of a name", { default: [] }),
  disallowed_policies: field.strings("Policies that may not be asked for", { default: [] }),
  disallowed_policies_glob: field.strings("The same, where * stands for any part of a name", { default: [] }),
  orphan: field.bool("Whether the tokens have no parent", { default: false }),
  renewable: field.bool("Whether the tokens can be renewed", { default: true }),
  path_suffix: field.string("Stands behind the path that made the token", {
    default: "",
    pattern: "^(?:\\w[\\w.-]*\\w)?$",
  }),
  allowed_entity_aliases: field.strings("Names that may be given as entity_alias; * stands for any part", {
    default: [],
  }),
  token_period,
  token_explicit_max_ttl,
  token_num_uses,
  token_bound_cidrs,
  token_no_default_policy,
  token_type: field.string("Type of the tokens; default-… where the request may ask for another", {
    enum: ["default-service", "default-batch", "service", "batch", "default", ""],
    default: "default-service",
  }),
} as const;

export type TokenRole = Values<typeof roleFields>;

const kind = "TokenRole";
const description = "A rule for tokens that are made through auth/token/create";

/** A pattern that is `root` alone means it, though none ever gives it. */
function faultsOf(spec: Readonly<Record<string, unknown>>): readonly Fault[] {
  const patterns = (spec["allowed_policies_glob"] ?? []) as readonly string[];
  const at = patterns.findIndex(isRoot);
  const fault = { path: ["allowed_policies_glob", at], message: 'the policy "root" cannot be given by a role' };
  return at < 0 ? tokenFaults(spec) : [fault, ...tokenFaults(spec)];
}

export const tokenRoles: Resource = {
  kind,
  description,
  name: "roles",
  path: "roles/:name",
  fields: roleFields,
  aliases: {
    period: "token_period",
    explicit_max_ttl: "token_explicit_max_ttl",
    bound_cidrs: "token_bound_cidrs",
  },
  check: faultsOf,
  show: (spec, name) => ({
    ...spec,
    name,
    // Clients that write the older names read them back.
    period: spec["token_period"],
    explicit_max_ttl: spec["token_explicit_max_ttl"],
  }),
};

export const tokenRoleKind: Kind = {
  name: kind,
  description,
  mount: null,
  fields: roleFields,
  check: ({ spec }) => [...rootFaults(roleFields, spec), ...faultsOf(spec)],
};

export const isRoleMapping = (entry: TokenEntry): boolean => entry.mapping?.kind === kind;

export function roleOf(generation: Generation, name: string): TokenRole | null {
  const declaration = generation.table.get(kind, null, name);
  return declaration === null ? null : (declaration.spec as unknown as TokenRole);
}

/** Names of policies have one spelling; a role may be written with another. */
const plain = (name: string): string => name.trim().toLowerCase();

const includes = (names: readonly string[], name: string): boolean => names.some((each) => plain(each) === name);

const matches = (patterns: readonly string[], name: string): boolean =>
  patterns.some((pattern) => wildcardMatches(plain(pattern), name));

/** Whether policies come from the role, and not from the maker. */
export const grants = (role: TokenRole): boolean =>
  role.allowed_policies.length > 0 || role.allowed_policies_glob.length > 0;

export const forbids = (role: TokenRole, name: string): boolean =>
  name === "root" || includes(role.disallowed_policies, name) || matches(role.disallowed_policies_glob, name);

const addsDefault = (role: TokenRole): boolean => !role.token_no_default_policy && !forbids(role, "default");

export function allows(role: TokenRole, name: string): boolean {
  if (forbids(role, name)) return false;
  if (!grants(role) || includes(role.allowed_policies, name)) return true;
  return matches(role.allowed_policies_glob, name) || (name === "default" && addsDefault(role));
}

/** The policies of a new token of a role that grants them. */
export function granted(role: TokenRole, given: readonly string[], noDefault: boolean): readonly string[] {
  const base = given.length > 0 ? given : role.allowed_policies.map(plain);
  const wanted = addsDefault(role) && !noDefault ? [...base, "default"] : base;
  for (const name of wanted) {
    if (forbids(role, name))
      throw new VaultError("invalid", `token policy ${JSON.stringify(name)} is disallowed by this role`);
    if (allows(role, name)) continue;
    const [asked, allowed, globs] = [given, role.allowed_policies, role.allowed_policies_glob].map(quoted);
    throw new VaultError(
      "invalid",
      `token policies (${asked}) must be subset of the role's allowed policies (${allowed}) or glob policies (${globs})`,
    );
  }
  return wanted;
}

const quoted = (names: readonly string[]): string => `[${names.map((name) => JSON.stringify(name)).join(" ")}]`;

export function checkAlias(role: TokenRole | null, alias: string): string {
  if (role === null) throw new VaultError("invalid", "'entity_alias' is only allowed in combination with token role");
  const name = plain(alias);
  if (name === "" || !matches(role.allowed_entity_aliases, name))
    throw new VaultError("invalid", "invalid 'entity_alias' value");
  return name;
}
