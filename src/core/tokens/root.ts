// Root tokens: what initialisation and generate-root hand out.

import type { TokenStore } from "./store.ts";

export async function createRoot(tokens: TokenStore): Promise<string> {
  const { token } = await tokens.create({
    parent: null,
    policies: ["root"],
    mapping: null,
    alias: null,
    display_name: "root",
    meta: null,
    path: "auth/token/root",
    ttl: 0,
    max_ttl: 0,
    explicit_max_ttl: 0,
    period: 0,
    renewable: false,
    num_uses: 0,
    bound_cidrs: [],
  });
  return token;
}
