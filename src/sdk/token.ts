// The token_* fields that every auth mapping has, with Vault's names and meanings. Core reads them from the mapping's
// declaration at login, and again at each request of a token that the mapping made.

import { field, type Values } from "./fields.ts";

export const tokenFields = {
  token_policies: field.strings("Policies that tokens made through this mapping get", { default: [], ref: "Policy" }),
  token_ttl: field.duration("TTL of such tokens; the mount's default where 0", { default: 0 }),
  token_max_ttl: field.duration("The longest life, renewals included; the mount's maximum where 0", { default: 0 }),
  token_explicit_max_ttl: field.duration("A maximum that no later change extends", { default: 0 }),
  token_period: field.duration("Makes the token periodic: each renewal gives it this long", { default: 0 }),
  token_num_uses: field.int("How many requests the token may make; unlimited where 0", { default: 0, minimum: 0 }),
  token_no_default_policy: field.bool("Leaves out the policy `default`", { default: false }),
  token_bound_cidrs: field.strings("Addresses that may use the mapping and its tokens", { default: [] }),
} as const;

export type TokenSpec = Values<typeof tokenFields>;
