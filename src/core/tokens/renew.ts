// Giving a token more time.
// Must hold: no renewal leads past a maximum: the token's own, and its mapping's as it is now.

import { VaultError } from "../../sdk/errors.ts";
import type { Response } from "../../sdk/request.ts";
import type { ViewEntry } from "../../sdk/view.ts";
import type { CoreCall } from "../call.ts";
import type { Generation } from "../generation.ts";
import { capped } from "../leases/issue.ts";
import { shorten } from "../leases/renewal.ts";
import { authOf, ttlsOf } from "../login.ts";
import { mappingSpec } from "../session.ts";
import { isBatch } from "./batch.ts";
import type { TokenEntry } from "./entry.ts";
import { isRoleMapping } from "./roles.ts";

/** Batch tokens are not there to be changed. */
export function refuseBatch(token: string, what: string): void {
  if (isBatch(token)) throw new VaultError("invalid", `batch tokens cannot be ${what}`);
}

/** The smaller of two limits, where 0 is none. */
export const least = (one: number, other: number): number =>
  one === 0 || other === 0 ? Math.max(one, other) : Math.min(one, other);

/** What a renewal is about: a mapping's terms as they are now, or the token's own. */
function wantedOf(generation: Generation, entry: TokenEntry, increment: number): Parameters<typeof ttlsOf>[2] {
  const spec = entry.mapping === null ? null : mappingSpec(generation, entry.mapping);
  if (spec === null) return { ...entry, ttl: increment || entry.ttl };
  const explicit_max_ttl = least(entry.explicit_max_ttl, spec.token_explicit_max_ttl);
  const period = spec.token_period;
  if (isRoleMapping(entry)) return { ttl: increment || entry.ttl, max_ttl: 0, explicit_max_ttl, period };
  return { ttl: increment || spec.token_ttl, max_ttl: spec.token_max_ttl, explicit_max_ttl, period };
}

export async function renew(
  call: CoreCall,
  found: ViewEntry<TokenEntry> | null,
  token: string,
  increment: number | undefined,
): Promise<Response> {
  const { core, generation } = call;
  refuseBatch(token, "renewed");
  if (found === null) throw new VaultError("invalid", "token not found");
  const entry = found.value;
  if (!entry.renewable || entry.expires_at === 0) throw new VaultError("invalid", "lease is not renewable");
  const { entity } = await core.sessions.of(entry, generation); // refused where its mapping or parent is gone
  const mounted = entry.mapping === null ? null : generation.mounts.byAccessor(entry.mapping.accessor);
  const wanted = wantedOf(generation, entry, increment ?? 0);
  const { ttl, max } = ttlsOf(core, mounted, wanted);
  const limit = wanted.period > 0 ? (wanted.explicit_max_ttl > 0 ? wanted.explicit_max_ttl : null) : max;
  const left = limit === null ? ttl : Math.floor((entry.created_at + limit * 1000 - call.request.time) / 1000);
  const granted = Math.min(ttl, left);
  if (granted <= 0) throw new VaultError("invalid", "past the maximum TTL, cannot renew");
  if (granted < ttl) call.warn(capped(ttl, left));
  const renewed = await core.tokens.renew(found, granted);
  core.sessions.forget(renewed.id);
  if (renewed.expires_at < entry.expires_at) await shorten(core, renewed.id, renewed.expires_at);
  return { auth: authOf(token, renewed, entity?.policies ?? [], entity?.id ?? "") };
}
