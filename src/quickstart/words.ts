// What the quickstart says.

import { relative } from "node:path";
import { quoted } from "./repository.ts";
import type { Place } from "./settings.ts";

export const warning =
  "writ: WARNING: quickstart. The unseal key lies in quickstart.env beside the data, so the encryption protects nothing. " +
  "For trying things out only.";

export const farewell = "Stopped. Everything is kept; npm start goes on from here.";

/** As a person would type it from here. A shell looks elsewhere for what `.` is given without a slash. */
function typed(path: string): string {
  const near = relative(process.cwd(), path);
  const name = near.startsWith("..") ? path : /^-|^[^/]*$/.test(near) ? `./${near}` : near;
  return /^[\p{L}\p{M}\p{N}./_@%+=:,-]+$/u.test(name) ? name : quoted(name);
}

export const welcome = (place: Place): string => `
Writ runs at ${place.address}. In another terminal:

  set -a; . ${typed(place.environmentFile)}; set +a       # VAULT_ADDR, VAULT_TOKEN (root), UNSEAL_KEY, ALICE_PASSWORD

  # Log in as alice; Git lets her read the payments, and not the reports
  ALICE=$(curl -s $VAULT_ADDR/v1/auth/userpass/login/alice -d "{\\"password\\":\\"$ALICE_PASSWORD\\"}" |
    sed 's/.*"client_token":"\\([^"]*\\)".*/\\1/')
  curl -s -H "X-Vault-Token: $ALICE" $VAULT_ADDR/v1/secret/data/payments/db
  curl -s -H "X-Vault-Token: $ALICE" $VAULT_ADDR/v1/secret/data/reports/q3

  # Let her: one more rule for her group, pushed; the same token may within a second
  cd ${typed(place.clone)}
  printf '    - path: secret/data/reports/*\\n      capabilities: [read]\\n' >> payments.yaml
  git commit -am "Payments reads the reports" && git push && sleep 1
  curl -s -H "X-Vault-Token: $ALICE" $VAULT_ADDR/v1/secret/data/reports/q3
  cd -

  # Where Git and the vault stand, and who did what
  npm run -s writ status
  git --git-dir=${typed(place.audit)} log --all --stat

Any client of the Vault API works with VAULT_ADDR and VAULT_TOKEN (vault kv get secret/payments/db). Ctrl-C stops.
`;
