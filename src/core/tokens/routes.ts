// auth/token/: making, looking up, renewing and ending tokens, with Vault's names and answers.

import { rfc3339 } from "../../lib/clock.ts";
import { VaultError } from "../../sdk/errors.ts";
import { field } from "../../sdk/fields.ts";
import type { Route } from "../../sdk/mount.ts";
import type { Response } from "../../sdk/request.ts";
import type { ViewEntry } from "../../sdk/view.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import type { Core } from "../core.ts";
import { shorten } from "../leases/renewal.ts";
import { authOf, ttlsOf } from "../login.ts";
import { mappedPolicies } from "../session.ts";
import { create, createFields, ownSession } from "./create.ts";
import type { TokenEntry } from "./entry.ts";

/** The entry behind a token or accessor, if it is still alive. */
async function find(
  core: Core,
  at: number,
  given: { token?: string; accessor?: string },
): Promise<ViewEntry<TokenEntry> | null> {
  const id =
    given.token === undefined
      ? ((await core.tokens.byAccessor(given.accessor ?? ""))?.id ?? "")
      : core.tokens.idOf(given.token);
  const found = id === "" ? null : await core.tokens.get(id);
  return found === null || (found.value.expires_at !== 0 && at >= found.value.expires_at) ? null : found;
}

async function shown(call: CoreCall, entry: TokenEntry, token: string): Promise<Record<string, unknown>> {
  const { core, generation } = call;
  const entity = core.sessions.entityOf(entry, generation);
  const now = entry.mapping === null ? null : mappedPolicies(generation, entry.mapping);
  const policies = entry.mapping === null ? entry.policies : entry.policies.filter((name) => now?.includes(name));
  return {
    accessor: entry.accessor,
    creation_time: Math.floor(entry.created_at / 1000),
    creation_ttl: entry.last_renewal === 0 ? entry.ttl : Math.round((entry.expires_at - entry.last_renewal) / 1000),
    display_name: entry.display_name,
    entity_id: entity?.id ?? "",
    expire_time: entry.expires_at === 0 ? null : rfc3339(entry.expires_at),
    explicit_max_ttl: entry.explicit_max_ttl,
    id: token,
    identity_policies: entity?.policies ?? [],
    issue_time: rfc3339(entry.created_at),
    ...(entry.last_renewal > 0 && {
      last_renewal: rfc3339(entry.last_renewal),
      last_renewal_time: Math.floor(entry.last_renewal / 1000),
    }),
    meta: entry.meta,
    num_uses: Math.max(entry.num_uses, 0),
    orphan: entry.parent === null,
    path: entry.path,
    ...(entry.period > 0 && { period: entry.period }),
    ...(entry.bound_cidrs.length > 0 && { bound_cidrs: entry.bound_cidrs }),
    policies,
    renewable: entry.renewable,
    ttl: entry.expires_at === 0 ? 0 : Math.max(0, Math.ceil((entry.expires_at - call.request.time) / 1000)),
    type: entry.type,
  };
}

async function renew(
  call: CoreCall,
  found: ViewEntry<TokenEntry> | null,
  token: string,
  increment: number | undefined,
): Promise<Response> {
  const { core, generation } = call;
  if (found === null) throw new VaultError("denied", ["permission denied", "invalid token"]);
  const entry = found.value;
  if (!entry.renewable || entry.expires_at === 0) throw new VaultError("invalid", "lease is not renewable");
  await core.sessions.of(entry, generation); // refused where its mapping or parent is gone
  const mounted = entry.mapping === null ? null : generation.mounts.byAccessor(entry.mapping.accessor);
  const wanted = {
    ttl: increment ?? 0,
    max_ttl: entry.max_ttl,
    explicit_max_ttl: entry.explicit_max_ttl,
    period: entry.period,
  };
  const { ttl, max } = ttlsOf(core, mounted, wanted);
  const limit = entry.period > 0 ? (entry.explicit_max_ttl > 0 ? entry.explicit_max_ttl : null) : max;
  const left = limit === null ? ttl : Math.floor((entry.created_at + limit * 1000 - call.request.time) / 1000);
  const granted = Math.min(ttl, left);
  if (granted <= 0) throw new VaultError("invalid", "past the maximum TTL, cannot renew");
  if (granted < ttl)
    call.warn(`TTL of "${ttl}s" exceeded the effective max_ttl of "${max}s"; TTL value is capped accordingly`);
  const renewed = await core.tokens.renew(found, granted);
  core.sessions.forget(renewed.id);
  if (renewed.expires_at < entry.expires_at) await shorten(core, renewed.id, renewed.expires_at);
  const entity = core.sessions.entityOf(renewed, generation);
  return { auth: authOf(token, renewed, entity?.policies ?? [], entity?.id ?? "") };
}

async function revoke(call: CoreCall, found: ViewEntry<TokenEntry> | null): Promise<null> {
  if (found !== null) await call.core.tokens.revoke(found.value.id);
  return null;
}

const tokenField = { token: field.string("The token", { required: true, secret: true }) } as const;
const accessorField = { accessor: field.string("The accessor", { required: true }) } as const;
const incrementField = { increment: field.duration("How long it should live from now on") } as const;
const optionalToken = { token: field.string("The token; the caller's own where left out") } as const;

function badAccessor(): VaultError {
  return new VaultError("invalid", "invalid accessor");
}

export const tokenRoutes: readonly Route[] = [
  {
    path: "create",
    on: {
      update: coreHandler({ summary: "Make a child token", fields: createFields, run: (call) => create(call, false) }),
    },
  },
  {
    path: "create-orphan",
    sudo: true,
    on: {
      update: coreHandler({
        summary: "Make a token without a parent",
        fields: createFields,
        run: (call) => create(call, true),
      }),
    },
  },
  {
    path: "lookup-self",
    on: {
      read: coreHandler({
        summary: "The caller's own token",
        run: async (call) => ({ data: await shown(call, ownSession(call).entry, call.request.token ?? "") }),
      }),
      update: coreHandler({
        summary: "The caller's own token",
        mutates: false,
        run: async (call) => ({
          data: await shown(call, ownSession(call).entry, call.request.token ?? ""),
        }),
      }),
    },
  },
  {
    path: "lookup",
    on: {
      read: coreHandler({
        summary: "The caller's own token",
        run: async (call) => ({ data: await shown(call, ownSession(call).entry, call.request.token ?? "") }),
      }),
      update: coreHandler({
        summary: "Any token",
        mutates: false,
        fields: optionalToken,
        run: async (call) => {
          const token = call.data.token ?? call.request.token ?? "";
          const found = await find(call.core, call.request.time, { token });
          if (found === null) throw new VaultError("denied", "bad token");
          return { data: await shown(call, found.value, token) };
        },
      }),
    },
  },
  {
    path: "lookup-accessor",
    on: {
      update: coreHandler({
        summary: "A token by its accessor; the token itself is not told",
        mutates: false,
        fields: accessorField,
        run: async (call) => {
          const found = await find(call.core, call.request.time, { accessor: call.data.accessor });
          if (found === null) throw badAccessor();
          return { data: await shown(call, found.value, "") };
        },
      }),
    },
  },
  {
    path: "renew-self",
    on: {
      update: coreHandler({
        summary: "Give the caller's own token more time",
        fields: incrementField,
        run: async (call) => {
          const token = call.request.token ?? "";
          return renew(call, await find(call.core, call.request.time, { token }), token, call.data.increment);
        },
      }),
    },
  },
  {
    path: "renew",
    on: {
      update: coreHandler({
        summary: "Give a token more time",
        fields: { ...tokenField, ...incrementField },
        run: async (call) => {
          const { token, increment } = call.data;
          return renew(call, await find(call.core, call.request.time, { token }), token, increment);
        },
      }),
    },
  },
  {
    path: "renew-accessor",
    on: {
      update: coreHandler({
        summary: "Give a token more time, by its accessor",
        fields: { ...accessorField, ...incrementField },
        run: async (call) => {
          const found = await find(call.core, call.request.time, { accessor: call.data.accessor });
          if (found === null) throw badAccessor();
          return renew(call, found, "", call.data.increment);
        },
      }),
    },
  },
  {
    path: "revoke-self",
    on: {
      update: coreHandler({
        summary: "End the caller's own token and its children",
        run: async (call) =>
          revoke(call, await find(call.core, call.request.time, { token: call.request.token ?? "" })),
      }),
    },
  },
  {
    path: "revoke",
    on: {
      update: coreHandler({
        summary: "End a token and its children",
        fields: tokenField,
        run: async (call) =>
          revoke(call as unknown as CoreCall, await find(call.core, call.request.time, { token: call.data.token })),
      }),
    },
  },
  {
    path: "revoke-accessor",
    on: {
      update: coreHandler({
        summary: "End a token and its children, by its accessor",
        fields: accessorField,
        run: async (call) => {
          const found = await find(call.core, call.request.time, { accessor: call.data.accessor });
          if (found === null) throw badAccessor();
          return revoke(call, found);
        },
      }),
    },
  },
  {
    path: "accessors",
    sudo: true,
    on: {
      list: coreHandler({
        summary: "Accessors of all tokens",
        run: async (call) => ({ data: { keys: await call.core.tokens.accessors() } }),
      }),
    },
  },
];
