// A policy's text as the API takes it: read, and held to what every policy is held to.

import { VaultError } from "../sdk/errors.ts";
import type { Declaration } from "../sdk/kind.ts";
import type { Json } from "../sdk/view.ts";
import { policyKind } from "./compile.ts";
import { parsePolicy, type PolicyText } from "./hcl.ts";

/** What stands in the generation for a policy that the API wrote. */
export const written = (name: string, policy: PolicyText, text: string): Declaration => ({
  kind: policyKind.name,
  mount: null,
  name,
  metadata: { name },
  spec: { ...policy, text } as unknown as Record<string, Json>,
  secrets: {},
  source: null,
});

/** Throws VaultError `invalid` with line:column, or with what a policy cannot have. */
export function readPolicy(text: string, name: string): PolicyText {
  const policy = parsePolicy(text, name);
  for (const fault of policyKind.check?.(written(name, policy, text)) ?? [])
    throw new VaultError("invalid", fault.message);
  return policy;
}
