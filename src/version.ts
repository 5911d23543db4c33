// What the API tells as its version, and which release of Writ this is. Clients compare the first with Vault's, so it follows
// Vault's numbering of the API spoken.

import { readFileSync } from "node:fs";

export const version = "2.0.0";

export function release(): string {
  const file = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(file) as { readonly version: string }).version;
}
