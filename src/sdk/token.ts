// The token_* fields that every auth mapping has, with Vault's names and meanings. Core reads them from the mapping's
// declaration at login, and again at each request of a token that the mapping made.

import { mostCidrs, wrongCidrs } from "../lib/cidr.ts";
import { field, type Values } from "./fields.ts";
import type { Fault } from "./kind.ts";

/** What there is to say about the type of a mapping's tokens. */
export const tokenTypes = ["default", "service", "batch", "default-service", "default-batch", ""] as const;

export const tokenFields = {
  token_policies: field.strings("Policies that tokens made through this mapping get", { default: [], ref: "Policy" }),
  token_ttl: field.duration("TTL of such tokens; the mount's default where 0", { default: 0 }),
  token_max_ttl: field.duration("The longest life, renewals included; the mount's maximum where 0", { default: 0 }),
  token_explicit_max_ttl: field.duration("A maximum that no later change extends", { default: 0 }),
  token_period: field.duration("Makes the token periodic: each renewal gives it this long", { default: 0 }),
  token_num_uses: field.int("How many requests the token may make; unlimited where 0", { default: 0, minimum: 0 }),
  token_no_default_policy: field.bool("Leaves out the policy `default`", { default: false }),
  token_bound_cidrs: field.strings("Addresses that may use the mapping and its tokens", {
    default: [],
    most: mostCidrs,
  }),
  token_type: field.string("service, or batch (not stored, cannot be renewed or revoked); default is the mount's", {
    enum: tokenTypes,
    default: "default",
  }),
} as const;

/** A declaration older than a field does not have it. */
export type TokenSpec = Omit<Values<typeof tokenFields>, "token_type"> & { readonly token_type?: string };

/** `batch` where it can come to that. */
const mayBeBatch = (spec: { readonly token_type?: string }): boolean => spec.token_type?.endsWith("batch") === true;

/** What the schema cannot tell of a mapping's token_* fields. */
export function tokenFaults(given: Readonly<Record<string, unknown>>): readonly Fault[] {
  const spec = given as Partial<TokenSpec>;
  const faults: Fault[] = [];
  for (const at of wrongCidrs(spec.token_bound_cidrs ?? [])) {
    faults.push({ path: ["token_bound_cidrs", at], message: "is no address range; write it like 10.0.0.0/8" });
  }
  if (spec.token_max_ttl && (spec.token_ttl ?? 0) > spec.token_max_ttl) {
    faults.push({ path: ["token_ttl"], message: "'token_ttl' cannot be greater than 'token_max_ttl'" });
  }
  if (mayBeBatch(spec)) {
    const limits = { token_period: "periodic tokens", token_num_uses: "tokens with limited use count" } as const;
    for (const [name, what] of Object.entries(limits)) {
      if (!spec[name as keyof typeof limits]) continue;
      faults.push({ path: [name], message: `'token_type' cannot be 'batch' when set to generate ${what}` });
    }
  }
  return faults;
}
