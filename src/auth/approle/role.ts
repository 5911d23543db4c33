// The role as it is declared, in Git or through the API, with Vault's fields.

import { mostCidrs, wrongCidrs } from "../../lib/cidr.ts";
import { VaultError } from "../../sdk/errors.ts";
import { field, type Values } from "../../sdk/fields.ts";
import type { Fault } from "../../sdk/kind.ts";
import type { Call, Resource } from "../../sdk/mount.ts";
import { tokenFaults, tokenFields } from "../../sdk/token.ts";
import { RoleIds } from "./roleIds.ts";
import { SecretIds } from "./secretIds.ts";

const roleFields = {
  bind_secret_id: field.bool("Whether a login needs a secret id", { default: true }),
  secret_id_bound_cidrs: field.strings("Addresses that may log in", { default: [], most: mostCidrs }),
  secret_id_num_uses: field.int("Logins for each secret id; unlimited where 0", { default: 0, minimum: 0 }),
  secret_id_ttl: field.duration("How long a secret id lives; for ever where 0", { default: 0 }),
  local_secret_ids: field.bool("Accepted and without meaning: there is no replication", { default: false }),
  ...tokenFields,
} as const;

export type Role = Values<typeof roleFields>;

const normalizeName = (name: string): string => name.toWellFormed().toLowerCase();

function faultsOf(spec: Readonly<Record<string, unknown>>): readonly Fault[] {
  const faults = [...tokenFaults(spec)];
  const { bind_secret_id, secret_id_bound_cidrs = [], token_bound_cidrs = [] } = spec as Partial<Role>;
  for (const at of wrongCidrs(secret_id_bound_cidrs)) {
    faults.push({ path: ["secret_id_bound_cidrs", at], message: "is no address range; write it like 10.0.0.0/8" });
  }
  if (bind_secret_id !== true && secret_id_bound_cidrs.length + token_bound_cidrs.length === 0) {
    const message = "at least one constraint should be enabled on the role: a secret id, or bound addresses";
    faults.push({ path: ["bind_secret_id"], message });
  }
  return faults;
}

export const roles: Resource = {
  kind: "AppRole",
  description: "A role that machines log in to with a role id and a secret id",
  name: "roles",
  path: "role/:name",
  fields: {
    role_id: field.string("The role id; drawn at random where left out", { secret: true }),
    ...roleFields,
  },
  aliases: { policies: "token_policies", period: "token_period", bound_cidr_list: "secret_id_bound_cidrs" },
  normalize: normalizeName,
  parts: {
    policies: "token_policies",
    period: "token_period",
    "bind-secret-id": "bind_secret_id",
    "secret-id-num-uses": "secret_id_num_uses",
    "secret-id-ttl": "secret_id_ttl",
    "secret-id-bound-cidrs": "secret_id_bound_cidrs",
    "bound-cidr-list": "secret_id_bound_cidrs",
    "token-num-uses": "token_num_uses",
    "token-ttl": "token_ttl",
    "token-max-ttl": "token_max_ttl",
    "token-bound-cidrs": "token_bound_cidrs",
    "local-secret-ids": "local_secret_ids",
  },
  check: faultsOf,
  show: (spec) => {
    const shown = Object.keys(roleFields).map((name) => [name, spec[name]]);
    const { token_period: period } = spec;
    // Clients that write the older names `policies` and `period` read them back.
    return {
      ...(Object.fromEntries(shown) as Record<string, unknown>),
      token_type: spec["token_type"] ?? "default",
      policies: spec["token_policies"],
      ...(typeof period === "number" && period > 0 && { period }),
    };
  },
  seed: async ({ mount, name }, secrets) => {
    if (secrets["role_id"] !== undefined) await new RoleIds(mount).set(name, secrets["role_id"]);
  },
  seeded: async ({ mount, name }) => (await new RoleIds(mount).find(name)) !== null,
  // The way in first: once the role id is gone nobody logs in with what is left.
  remove: async ({ mount, name }) => {
    await new RoleIds(mount).remove(name);
    await new SecretIds(mount).clear(name);
  },
};

/** The role that a request's path names; `not_found` where there is none. */
export function roleOf(call: Pick<Call, "params" | "resource">): {
  readonly name: string;
  readonly role: Role;
  readonly since: number;
} {
  const name = normalizeName(call.params["name"] ?? "");
  const declared = call.resource<Role>(roles.name);
  const role = declared.get(name);
  if (role === null) throw new VaultError("not_found", `role ${JSON.stringify(name)} does not exist`);
  return { name, role, since: declared.since(name) ?? 0 };
}
