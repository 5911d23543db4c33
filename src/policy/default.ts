// The built-in policies: `default`, what every token may do about itself (a document of that name takes its place), and
// `response-wrapping`.

import type { RuleSpec } from "./rule.ts";

const read = ["read"] as const;
const update = ["update"] as const;

/** Of tokens that lead to a wrapped answer. */
export const wrappingRules: readonly RuleSpec[] = [
  { path: "cubbyhole/response", capabilities: read },
  { path: "sys/wrapping/unwrap", capabilities: update },
];

export const defaultRules: readonly RuleSpec[] = [
  // The token itself
  { path: "auth/token/lookup-self", capabilities: read },
  { path: "auth/token/renew-self", capabilities: update },
  { path: "auth/token/revoke-self", capabilities: update },
  // What it may do, and what clients show of it
  { path: "sys/capabilities-self", capabilities: update },
  { path: "sys/internal/ui/resultant-acl", capabilities: read },
  // Who it is
  { path: "identity/entity/id/{{identity.entity.id}}", capabilities: read },
  { path: "identity/entity/name/{{identity.entity.name}}", capabilities: read },
  { path: "identity/oidc/provider/+/authorize", capabilities: ["read", "update"] },
  // Leases, whose ids it has to know
  { path: "sys/leases/lookup", capabilities: update },
  { path: "sys/leases/renew", capabilities: update },
  { path: "sys/renew", capabilities: update },
  // Its own cubbyhole, and wrapped answers
  { path: "cubbyhole/*", capabilities: ["create", "delete", "list", "read", "update"] },
  { path: "sys/wrapping/lookup", capabilities: update },
  { path: "sys/wrapping/unwrap", capabilities: update },
  { path: "sys/wrapping/wrap", capabilities: update },
  // Tools that touch nothing
  { path: "sys/tools/hash", capabilities: update },
  { path: "sys/tools/hash/*", capabilities: update },
];
