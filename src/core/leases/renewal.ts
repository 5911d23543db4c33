// Giving a lease more time, or less.
// Must hold: no renewal passes the maximum, nor the end of the lease's token as it is now, parents included.

import { systemTimer } from "../../lib/flight.ts";
import { VaultError } from "../../sdk/errors.ts";
import type { Response } from "../../sdk/request.ts";
import type { ViewEntry } from "../../sdk/view.ts";
import { within } from "../broker/trail.ts";
import type { Core } from "../core.ts";
import { ttlsOf } from "../login.ts";
import { capped } from "./issue.ts";
import { isLease, leaseOf } from "./keys.ts";
import type { LeaseEntry } from "./store.ts";

export type Lease = NonNullable<Response["lease"]>;

const atOnce = 64;

/** `increment` seconds from now, or what its terms said where that is 0. */
export async function renew(core: Core, id: string, increment: number, warn: (text: string) => void): Promise<Lease> {
  const { leases, clock } = core;
  const found = await leases.store.get(id);
  if (found === null) throw new VaultError("invalid", "lease not found");
  const now = clock.now();
  const { state, expires_at, renewable } = found.value;
  if (state !== "active" || expires_at <= now) throw new VaultError("invalid", "lease expired");
  if (!renewable) throw new VaultError("invalid", "lease is not renewable");
  if (!leases.take(id)) throw new VaultError("conflict", "the lease is being renewed or ended; try again");
  try {
    return await renewTaken(core, found, increment, now, warn);
  } finally {
    leases.letGo(id);
  }
}

async function renewTaken(
  core: Core,
  { value: entry, version }: ViewEntry<LeaseEntry>,
  increment: number,
  now: number,
  warn: (text: string) => void,
): Promise<Lease> {
  const { leases, generation } = core;
  const { type, call } = leases.typeOf(entry);
  const mounted = generation.mounts.byAccessor(entry.accessor);
  // What is asked for, before any maximum.
  const defaults = ttlsOf(core, mounted, { ttl: 0, max_ttl: entry.max_ttl, explicit_max_ttl: 0, period: 0 });
  const asked = increment || entry.default_ttl || defaults.ttl;
  const end = Math.min(entry.issued_at + defaults.max * 1000, await ownerEnd(core, entry));
  const left = Math.floor((end - now) / 1000);
  if (left <= 0) throw new VaultError("invalid", "past the max TTL, cannot renew");
  if (left < asked) warn(capped(asked, left));
  const ttl = Math.min(asked, left);
  const after: LeaseEntry = { ...entry, expires_at: now + ttl * 1000, last_renewal: now };
  const extended = (async () => type.renew?.(entry.undo, { id: entry.id, ttl, expiresAt: after.expires_at }, call))();
  await within(systemTimer, leases.deadline, extended);
  await leases.keep(entry.token, leases.store.change(entry, after, { expect: version }));
  return { id: entry.id, duration: ttl, renewable: true };
}

/** When the token ends that a lease ends with; Infinity for never. */
async function ownerEnd(core: Core, entry: LeaseEntry): Promise<number> {
  const until = entry.until || Infinity;
  if (entry.token === null) return until;
  const found = await core.tokens.get(entry.token);
  if (found === null) throw new VaultError("invalid", "lease expired");
  const { expiresAt } = await core.sessions.of(found.value, core.generation);
  return Math.min(until, expiresAt || Infinity);
}

/** After a token's end came nearer: what its leases say of theirs is true again. They end with it in any case. */
export async function shorten({ root, leases }: Core, token: string, end: number): Promise<void> {
  const names = (await root.list(`token/child/${token}/`)).filter(isLease);
  for (let at = 0; at < names.length; at += atOnce) {
    const found = await Promise.all(names.slice(at, at + atOnce).map((name) => leases.store.get(leaseOf(name))));
    const long = found.filter((entry) => entry !== null && entry.value.expires_at > end);
    const ops = long.flatMap((entry) =>
      entry === null
        ? []
        : leases.store.change(entry.value, { ...entry.value, expires_at: end }, { expect: entry.version }),
    );
    if (ops.length > 0) await leases.keep(token, ops).catch(() => {});
  }
}
