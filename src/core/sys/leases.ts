// sys/leases: looking up, renewing and ending what was leased, tokens among it, with Vault's names and answers.

import { rfc3339 } from "../../lib/clock.ts";
import { VaultError } from "../../sdk/errors.ts";
import { field } from "../../sdk/fields.ts";
import type { Handler, Route } from "../../sdk/mount.ts";
import { pageFields, pageOf } from "../../sdk/page.ts";
import type { Response } from "../../sdk/request.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import type { Core } from "../core.ts";
import { tokenOf } from "../leases/keys.ts";
import { renew } from "../leases/renewal.ts";
import { leaseTidy, tidyAnswer } from "../tidy.ts";

/** As many as are shown unless more are asked for. */
const mostShown = 10_000;
const idFields = { lease_id: field.string("The lease") } as const;
const syncFields = {
  sync: field.bool("Answers only once it is tried, and tells what failed", { default: false }),
} as const;
const stuckFields = {
  include_child_namespaces: field.bool("Accepted and without meaning: there are no namespaces", { default: false }),
  type: field.string("irrevocable: those that could not be revoked", {
    enum: ["irrevocable"],
    default: "irrevocable",
  }),
} as const;

interface Times {
  readonly issued_at: number;
  readonly expires_at: number;
  readonly last_renewal: number;
  readonly renewable: boolean;
}

function shown(id: string, now: number, times: Times): Record<string, unknown> {
  return {
    id,
    issue_time: rfc3339(times.issued_at),
    expire_time: rfc3339(times.expires_at),
    last_renewal: times.last_renewal === 0 ? null : rfc3339(times.last_renewal),
    renewable: times.renewable,
    ttl: Math.max(0, Math.floor((times.expires_at - now) / 1000)),
  };
}

/** The lease that the body or the path names. */
function named(call: Pick<CoreCall<typeof idFields>, "data" | "params">): string {
  const id = (call.data.lease_id || call.params["lease_id"] || "").replace(/^\/+|\/+$/g, "");
  if (id === "") throw new VaultError("invalid", "lease_id must be specified");
  return id;
}

async function lookup(core: Core, id: string, now: number): Promise<Record<string, unknown>> {
  const token = tokenOf(id);
  if (token !== null) {
    const entry = (await core.tokens.get(token.id))?.value;
    if (entry === undefined || entry.path !== token.path || entry.expires_at === 0) {
      throw new VaultError("invalid", "invalid lease");
    }
    return shown(id, now, { ...entry, issued_at: entry.created_at });
  }
  const entry = (await core.leases.store.get(id))?.value;
  if (entry === undefined) throw new VaultError("invalid", "invalid lease");
  const { ending, state } = entry;
  return {
    ...shown(id, now, entry),
    ...(state !== "active" && { state, renewable: false }),
    ...(ending !== null && {
      attempts: ending.attempts,
      last_error: ending.error,
      next_attempt: rfc3339(ending.next),
      stuck: ending.stuck,
    }),
  };
}

/** Where something failed, one of them and why. */
function refuse(failures: ReadonlyMap<string, string>, of: number): void {
  const [first] = failures;
  if (first === undefined) return;
  throw new VaultError("upstream", `failed to revoke "${first[0]}" (${failures.size} / ${of}): ${first[1]}`);
}

async function revokeBelow(call: Pick<CoreCall, "core" | "params">, sync: boolean, force: boolean): Promise<Response> {
  const prefix = (call.params["prefix"] ?? "").replace(/^\/+|\/+$/g, "");
  const failures = new Map<string, string>();
  const { leases } = call.core;
  let count = 0;
  for await (const ids of leases.below(prefix)) {
    count += ids.length;
    for (const [id, error] of await leases.revoke(ids, { sync, force })) failures.set(id, error);
  }
  refuse(failures, count);
  return sync || force ? {} : { outcome: "accepted" };
}

const renewing = coreHandler({
  summary: "Give a lease more time",
  fields: {
    ...idFields,
    increment: field.duration("Seconds from now on; what its terms said where 0", { default: 0 }),
  },
  run: async (call) => {
    const id = named(call);
    if (tokenOf(id) !== null) throw new VaultError("invalid", "tokens cannot be renewed through this endpoint");
    return { lease: await renew(call.core, id, call.data.increment, (text) => call.warn(text)) };
  },
});

const revoking = coreHandler({
  summary: "End a lease, or a token",
  fields: { ...idFields, ...syncFields },
  run: async (call) => {
    const id = named(call);
    const { sync } = call.data;
    refuse(await call.core.leases.revoke([id], { sync }), 1);
    return sync ? null : { outcome: "accepted" };
  },
});

const listing = coreHandler({
  summary: "List the leases and folders one level below a prefix",
  sudo: true,
  fields: pageFields,
  run: async (call) => {
    const prefix = call.params["prefix"] ?? "";
    const page = pageOf(call.data);
    const keys = await call.core.leases.list(prefix === "" ? "" : `${prefix}/`, page);
    if (keys.length === 0) throw new VaultError("not_found", []);
    return { data: { keys } };
  },
});

/** Vault serves these below sys/ too, as it did before there was sys/leases. */
const both = (path: string, handler: Handler): Route[] =>
  [`leases/${path}`, path].map((each) => ({ path: each, on: { update: handler } }));

const belowPrefix = (path: string, handler: Handler): Route[] =>
  both(`${path}/:prefix*`, handler).map((route) => ({ ...route, sudo: true, folders: true }));

/** Throws VaultError `invalid`. */
function limitOf(text: string): number {
  if (text === "none") return Infinity;
  const limit = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (limit > 0) return limit;
  throw new VaultError("invalid", 'limit must be "none" or a number above 0');
}

export const leaseRoutes: readonly Route[] = [
  {
    path: "leases/tidy",
    on: {
      update: coreHandler({
        summary: "Look for leases whose tokens are gone, and for what leases that are gone have left",
        run: async ({ core }) => tidyAnswer(core.tidy.start(leaseTidy)),
      }),
    },
  },
  {
    path: "leases/lookup",
    on: {
      list: listing,
      update: coreHandler({
        summary: "What is known of a lease",
        mutates: false,
        fields: idFields,
        run: async (call) => ({ data: await lookup(call.core, named(call), call.request.time) }),
      }),
    },
  },
  { path: "leases/lookup/:prefix*", on: { list: listing } },
  ...["renew", "renew/:lease_id*"].flatMap((path) => both(path, renewing)),
  ...["revoke", "revoke/:lease_id*"].flatMap((path) => both(path, revoking)),
  ...belowPrefix(
    "revoke-prefix",
    coreHandler({
      summary: "End all leases below a prefix, tokens among them",
      fields: syncFields,
      run: (call) => revokeBelow(call, call.data.sync, false),
    }),
  ),
  ...belowPrefix(
    "revoke-force",
    coreHandler({
      summary: "End all leases below a prefix, and forget those that cannot be ended",
      run: (call) => revokeBelow(call, true, true),
    }),
  ),
  {
    path: "leases",
    sudo: true,
    on: {
      read: coreHandler({
        summary: "Leases that could not be revoked",
        fields: {
          ...stuckFields,
          limit: field.string('At most so many, or "none" for all', { default: String(mostShown) }),
        },
        run: async (call) => {
          const stuck = (await call.core.leases.stuck()).sort((a, b) => a.expires_at - b.expires_at);
          const most = limitOf(call.data.limit);
          const leases = stuck.slice(0, most).map(({ id, accessor, ending }) => ({
            lease_id: id,
            mount_id: accessor,
            error: ending?.error ?? "",
            attempts: ending?.attempts ?? 0,
          }));
          if (stuck.length > most)
            call.warn('Command halted because many irrevocable leases were found. To emit all, set limit to "none".');
          return { data: { lease_count: leases.length, leases } };
        },
      }),
    },
  },
  {
    path: "leases/count",
    sudo: true,
    on: {
      read: coreHandler({
        summary: "How many leases could not be revoked, by the accessor of their mount",
        fields: stuckFields,
        run: async (call) => {
          const stuck = await call.core.leases.stuck();
          const counts: Record<string, number> = {};
          for (const { accessor } of stuck) counts[accessor] = (counts[accessor] ?? 0) + 1;
          return { data: { lease_count: stuck.length, counts } };
        },
      }),
    },
  },
];
