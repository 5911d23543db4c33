// Making tokens: which policies, which life, whose child.
// Must hold: a token gives away no right its maker does not have, unless the maker may choose (root, or sudo here).

import { compileCidrs } from "../../lib/cidr.ts";
import { VaultError } from "../../sdk/errors.ts";
import { field, type Values } from "../../sdk/fields.ts";
import type { Response } from "../../sdk/request.ts";
import type { CoreCall } from "../call.ts";
import { authOf, ttlsOf } from "../login.ts";
import { mayChoose, type Session } from "../session.ts";

export const createFields = {
  id: field.string("A token of one's own choice (root only)"),
  policies: field.strings("Policies; the maker's own where left out"),
  meta: field.map("Metadata"),
  no_parent: field.bool("Makes an orphan (root or sudo)", { default: false }),
  no_default_policy: field.bool("Leaves out the policy `default`", { default: false }),
  ttl: field.duration("Time to live"),
  lease: field.duration("The same, under its old name"),
  explicit_max_ttl: field.duration("A maximum that no renewal passes", { default: 0 }),
  period: field.duration("Makes it periodic (root or sudo)", { default: 0 }),
  renewable: field.bool("Whether it can be renewed", { default: true }),
  display_name: field.string("Shown in lookups and audit", { default: "token" }),
  num_uses: field.int("Requests it may make; unlimited where 0", { default: 0, minimum: 0 }),
  type: field.string("service", { default: "service" }),
  entity_alias: field.string("Not available for tokens made without a role"),
  bound_cidrs: field.strings("Addresses that may use it", { default: [] }),
} as const;
type CreateData = Values<typeof createFields>;

export const ownSession = (call: CoreCall): Session => {
  if (call.session === null) throw new VaultError("unauthenticated", "permission denied");
  return call.session;
};

function chosenPolicies(data: CreateData, maker: Session, free: boolean): readonly string[] {
  const own = maker.principal.policies;
  const given = (data.policies ?? []).map((name) => name.trim().toLowerCase()).filter(Boolean);
  const wanted = given.length === 0 ? [...own] : given;
  if (wanted.includes("root")) {
    if (!maker.root) throw new VaultError("invalid", "root tokens may not be created without parent token being root");
    return ["root"];
  }
  if (!free) {
    const extra = wanted.filter((name) => name !== "default" && !own.includes(name));
    if (extra.length > 0) throw new VaultError("invalid", "child policies must be subset of parent");
  }
  const withDefault = !data.no_default_policy && (free || own.includes("default"));
  const list = withDefault
    ? [...wanted, "default"]
    : wanted.filter((name) => given.includes(name) || name !== "default");
  const policies = [...new Set(list)].filter((name) => free || own.includes(name)).sort();
  if (policies.length === 0) throw new VaultError("invalid", "token must have at least one policy");
  return policies;
}

export async function create(call: CoreCall<typeof createFields>, orphan: boolean): Promise<Response> {
  const maker = ownSession(call);
  const { core, data } = call;
  const free = mayChoose(maker);
  if (data.type !== "service") throw new VaultError("invalid", `token type "${data.type}" is not available`);
  if (data.entity_alias) throw new VaultError("invalid", "entity_alias is only available with a token role");
  if (data.id && !maker.root) throw new VaultError("invalid", "root or sudo privileges required to specify token id");
  if (data.id && (/[.\s]/.test(data.id) || data.id.length < 16 || data.id.length > 256)) {
    throw new VaultError("invalid", "token id must have 16 to 256 characters, without dots or spaces");
  }
  if ((data.no_parent || data.period > 0) && !free) {
    throw new VaultError("invalid", "root or sudo privileges required to create orphan or periodic token");
  }
  if (data.bound_cidrs.length > 0 && compileCidrs(data.bound_cidrs) === null) {
    throw new VaultError("invalid", 'field "bound_cidrs" holds a range that is none; write it like 10.0.0.0/8');
  }
  if (maker.entry.num_uses !== 0) throw new VaultError("invalid", "restricted use token cannot generate child tokens");
  const policies = chosenPolicies(data, maker, free);
  const root = policies.includes("root");
  const ttls = ttlsOf(core, null, {
    ttl: data.ttl ?? data.lease ?? 0,
    max_ttl: 0,
    explicit_max_ttl: data.explicit_max_ttl,
    period: data.period,
  });
  const never =
    root &&
    !data.ttl &&
    !data.lease &&
    data.explicit_max_ttl === 0 &&
    data.period === 0 &&
    maker.entry.expires_at === 0;
  const isOrphan = orphan || data.no_parent;
  const asked = data.ttl ?? data.lease ?? 0;
  if (!never && asked > ttls.ttl && data.period === 0) {
    call.warn(`TTL of "${asked}s" exceeded the effective max_ttl of "${ttls.max}s"; TTL value is capped accordingly`);
  }
  const { token, entry } = await core.tokens.create({
    ...(data.id && { client_token: data.id }),
    parent: isOrphan ? null : maker.entry.id,
    policies,
    mapping: null,
    alias: isOrphan ? null : maker.entry.alias,
    display_name: `token${data.display_name === "token" ? "" : `-${data.display_name.replace(/[^A-Za-z0-9-]/g, "-")}`}`,
    meta: data.meta ?? null,
    path: call.request.path,
    ttl: never ? 0 : ttls.ttl,
    max_ttl: 0,
    explicit_max_ttl: data.explicit_max_ttl,
    period: data.period,
    renewable: never ? false : data.renewable,
    num_uses: data.num_uses,
    bound_cidrs: data.bound_cidrs.length > 0 ? data.bound_cidrs : isOrphan ? [] : maker.entry.bound_cidrs,
  });
  const entity = isOrphan ? null : maker.entity;
  return { auth: authOf(token, entry, entity?.policies ?? [], entity?.id ?? "") };
}
