// auth/token/: making, looking up, renewing and ending tokens, with Vault's names and answers.

import { rfc3339 } from "../../lib/clock.ts";
import { isVaultError, VaultError } from "../../sdk/errors.ts";
import { field } from "../../sdk/fields.ts";
import type { Route } from "../../sdk/mount.ts";
import { pageFields } from "../../sdk/page.ts";
import type { Response } from "../../sdk/request.ts";
import type { ViewEntry } from "../../sdk/view.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import type { Core } from "../core.ts";
import { resourceRoutes } from "../resources.ts";
import { mappedPolicies, type Session } from "../session.ts";
import { tidyAnswer, tokenTidy } from "../tidy.ts";
import { isBatch } from "./batch.ts";
import { create, createFields, ownSession } from "./create.ts";
import type { TokenEntry } from "./entry.ts";
import { refuseBatch, renew } from "./renew.ts";
import { isRoleMapping, tokenRoles } from "./roles.ts";

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

/** What a batch token says, as long as it is good for something. */
async function openBatch({ core, generation, request }: CoreCall, token: string): Promise<TokenEntry | null> {
  const entry = core.batch.open(token);
  if (entry === null) return null;
  const session = await core.sessions.of(entry, generation).catch(unlessInvalid);
  return session === null || request.time >= session.expiresAt ? null : entry;
}

function unlessInvalid(error: unknown): null {
  if (isVaultError(error, "unauthenticated")) return null;
  throw error;
}

/** Seconds left, 0 for a token that never ends. */
const ttlAt = ({ expires_at: end }: TokenEntry, time: number): number =>
  end === 0 ? 0 : Math.max(0, Math.ceil((end - time) / 1000));

async function shown(call: CoreCall, entry: TokenEntry, token: string): Promise<Record<string, unknown>> {
  const { core, generation } = call;
  const entity = await core.sessions.entityOf(entry, generation).catch(unlessInvalid);
  return {
    accessor: entry.accessor,
    creation_time: Math.floor(entry.created_at / 1000),
    creation_ttl: entry.creation_ttl ?? entry.ttl,
    display_name: entry.display_name,
    entity_id: entity?.id ?? entry.entity_id ?? "",
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
    ...(isRoleMapping(entry) && { role: entry.mapping?.name }),
    ...(entry.period > 0 && { period: entry.period }),
    ...(entry.bound_cidrs.length > 0 && { bound_cidrs: entry.bound_cidrs }),
    policies: mappedPolicies(generation, entry) ?? [],
    renewable: entry.renewable,
    ttl: ttlAt(entry, call.request.time),
    type: entry.type,
  };
}

const looks = new WeakMap<Session, { readonly ttl: number; readonly response: Response }>();

/** The caller's own token. While its time to live reads the same, it is the same object: clients ask often, and what they
 *  are told and what the audit makes of it is then worked out once. */
function own(call: CoreCall): Response | Promise<Response> {
  const session = ownSession(call);
  const ttl = ttlAt(session.entry, call.request.time);
  const known = looks.get(session);
  return known?.ttl === ttl ? known.response : look(call, session, ttl);
}

async function look(call: CoreCall, session: Session, ttl: number): Promise<Response> {
  const { entry, usesLeft = entry.num_uses } = session;
  const data = await shown(call, { ...entry, num_uses: usesLeft }, call.request.token ?? "");
  const response: Response = { data: Object.freeze(data), shared: true };
  looks.set(session, { ttl, response });
  return response;
}

async function any(call: CoreCall, token: string): Promise<Response> {
  const entry = isBatch(token)
    ? await openBatch(call, token)
    : ((await find(call.core, call.request.time, { token }))?.value ?? null);
  if (entry === null) throw new VaultError("denied", "bad token");
  return { data: await shown(call, entry, token) };
}

async function revoke(call: CoreCall, found: ViewEntry<TokenEntry> | null, token = ""): Promise<null> {
  refuseBatch(token, "revoked");
  if (found !== null) await call.core.tokens.revoke(found.value.id);
  return null;
}

const tokenField = { token: field.string("The token", { default: "", secret: true }) } as const;
const accessorField = { accessor: field.string("The accessor", { default: "" }) } as const;
const incrementField = { increment: field.duration("How long it should live from now on") } as const;
const optionalToken = { token: field.string("The token; the caller's own where left out") } as const;

/** The token behind an accessor. Throws VaultError `invalid`. */
async function byAccessor(call: CoreCall<typeof accessorField>): Promise<ViewEntry<TokenEntry>> {
  const { accessor } = call.data;
  if (accessor === "") throw new VaultError("invalid", "missing accessor");
  const found = await find(call.core, call.request.time, { accessor });
  if (found === null) throw new VaultError("invalid", "invalid accessor");
  return found;
}

/** The token in the body. Throws VaultError `invalid` where none is given. */
function byToken(call: CoreCall<typeof tokenField>): Promise<ViewEntry<TokenEntry> | null> {
  const { token } = call.data;
  if (token === "") throw new VaultError("invalid", "missing token ID");
  return find(call.core, call.request.time, { token });
}

export const tokenRoutes: readonly Route[] = [
  {
    path: "create",
    on: {
      update: coreHandler({ summary: "Make a child token", fields: createFields, run: (call) => create(call) }),
    },
  },
  {
    path: "create/:role",
    on: {
      update: coreHandler({
        summary: "Make a token through a role",
        fields: createFields,
        run: (call) => create(call, { through: call.params["role"] ?? "" }),
      }),
    },
  },
  {
    path: "create-orphan",
    on: {
      update: coreHandler({
        summary: "Make a token without a parent",
        fields: createFields,
        run: (call) => create(call, { orphan: true }),
      }),
    },
  },
  {
    path: "lookup-self",
    on: {
      read: coreHandler({
        summary: "The caller's own token",
        run: own,
      }),
      update: coreHandler({
        summary: "The caller's own token",
        mutates: false,
        run: own,
      }),
    },
  },
  {
    path: "lookup",
    on: {
      read: coreHandler({
        summary: "Any token",
        fields: optionalToken,
        run: (call) => (call.data.token === undefined ? own(call) : any(call, call.data.token)),
      }),
      update: coreHandler({
        summary: "Any token",
        mutates: false,
        fields: optionalToken,
        run: (call) => any(call, call.data.token ?? call.request.token ?? ""),
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
          return { data: await shown(call, (await byAccessor(call)).value, "") };
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
          return renew(call, await byToken(call), token, increment);
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
          return renew(call, await byAccessor(call), "", call.data.increment);
        },
      }),
    },
  },
  {
    path: "revoke-self",
    on: {
      update: coreHandler({
        summary: "End the caller's own token and its children",
        run: async (call) => {
          const token = call.request.token ?? "";
          return revoke(call, await find(call.core, call.request.time, { token }), token);
        },
      }),
    },
  },
  {
    path: "revoke",
    on: {
      update: coreHandler({
        summary: "End a token and its children",
        fields: tokenField,
        run: async (call) => revoke(call, await byToken(call), call.data.token),
      }),
    },
  },
  {
    path: "revoke-orphan",
    sudo: true,
    on: {
      update: coreHandler({
        summary: "End a token alone; its children go on without a parent",
        fields: tokenField,
        run: async (call) => {
          const found = await byToken(call);
          refuseBatch(call.data.token, "revoked");
          if (found === null) throw new VaultError("invalid", "token to revoke not found");
          await call.core.tokens.revokeAlone(found.value.id);
          return null;
        },
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
          if (call.data.accessor === "") throw new VaultError("invalid", "missing accessor");
          const found = await find(call.core, call.request.time, { accessor: call.data.accessor });
          if (found === null) call.warn("No token found with this accessor");
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
        fields: pageFields,
        run: async (call) => ({ data: { keys: await call.core.tokens.accessors(call.data) } }),
      }),
    },
  },
  {
    path: "tidy",
    on: {
      update: coreHandler({
        summary: "Look for what tokens that are gone have left",
        run: async ({ core }) => tidyAnswer(core.tidy.start(tokenTidy)),
      }),
    },
  },
  ...resourceRoutes([tokenRoles]),
];
