// Making tokens: which policies, which life, whose child.
// Must hold: a token gives away no right its maker does not have, unless the maker may choose (root, or sudo here) or a
// role grants it; nobody but its maker's addresses can use it, whatever it is. What a request says that stands in each entry of
// the audit is short.

import { cidrsWithin, commonCidrs, mostCidrs, wrongCidr } from "../../lib/cidr.ts";
import { VaultError } from "../../sdk/errors.ts";
import { field, type Values } from "../../sdk/fields.ts";
import { checkMetadata } from "../../sdk/metadata.ts";
import type { Response } from "../../sdk/request.ts";
import { wrappingName } from "../../policy/compile.ts";
import { inherited, ofMapping } from "../blocks/origins.ts";
import type { CoreCall } from "../call.ts";
import type { Entity } from "../identity/entity.ts";
import { authOf, entityAt, ttlsOf } from "../login.ts";
import { mayChoose, type Session } from "../session.ts";
import type { MadeToken, Mapping, NewToken, TokenEntry } from "./entry.ts";
import { least } from "./renew.ts";
import { checkAlias, forbids, granted, grants, roleOf, type TokenRole, tokenRoles } from "./roles.ts";

export const createFields = {
  id: field.string("A token of one's own choice (root or sudo)"),
  policies: field.strings("Policies; the maker's own where left out"),
  meta: field.map("Metadata"),
  no_parent: field.bool("Makes an orphan (root or sudo)", { default: false }),
  no_default_policy: field.bool("Leaves out the policy `default`", { default: false }),
  ttl: field.duration("Time to live"),
  lease: field.duration("The same, under its old name"),
  explicit_max_ttl: field.duration("A maximum that no renewal passes", { default: 0 }),
  period: field.duration("Makes it periodic (root or sudo)", { default: 0 }),
  renewable: field.bool("Whether it can be renewed", { default: true }),
  display_name: field.string("Shown in lookups and audit", { default: "" }),
  num_uses: field.int("Requests it may make; unlimited where 0", { default: 0, minimum: 0 }),
  type: field.string("service or batch; the role's where left out", { default: "" }),
  entity_alias: field.string("Who it is, where the role allows the name"),
  bound_cidrs: field.strings("Addresses that may use it, within the maker's", { default: [], most: mostCidrs }),
} as const;
type CreateData = Values<typeof createFields>;

export const ownSession = (call: CoreCall): Session => {
  if (call.session === null) throw new VaultError("unauthenticated", "permission denied");
  return call.session;
};

const longestName = 256;
/** Bytes of all names that are asked for. What a mapping or the maker has is as long as its declaration. */
const mostPolicies = 32 * 1024;

function checkLengths({ policies = [], meta = {}, display_name, entity_alias = "" }: CreateData): void {
  checkMetadata("meta", meta);
  for (const [name, value] of Object.entries({ display_name, entity_alias })) {
    if (value.length <= longestName) continue;
    throw new VaultError("invalid", `${name} is longer than ${longestName} characters`);
  }
  if (Buffer.byteLength(policies.join(",")) > mostPolicies) {
    throw new VaultError("invalid", `the names in policies are longer than ${mostPolicies} bytes together`);
  }
}

function chosenPolicies(data: CreateData, maker: Session, free: boolean, role: TokenRole | null): readonly string[] {
  const own = maker.principal.policies;
  const given = (data.policies ?? []).map((name) => name.trim().toLowerCase()).filter(Boolean);
  if (role !== null && grants(role)) return sorted(granted(role, given, data.no_default_policy));
  const wanted = given.length === 0 ? [...own] : given;
  const forbidden = role === null ? undefined : wanted.find((name) => forbids(role, name));
  if (forbidden !== undefined) {
    throw new VaultError("invalid", `token policy ${JSON.stringify(forbidden)} is disallowed by this role`);
  }
  if (wanted.includes("root")) {
    if (!maker.root) throw new VaultError("invalid", "root tokens may not be created without parent token being root");
    return ["root"];
  }
  if (!free) {
    const extra = wanted.filter((name) => name !== "default" && !own.includes(name));
    if (extra.length > 0) throw new VaultError("invalid", "child policies must be subset of parent");
  }
  const noDefault = data.no_default_policy || role?.token_no_default_policy === true;
  const withDefault = !noDefault && (free || own.includes("default")) && !(role !== null && forbids(role, "default"));
  const list = withDefault
    ? [...wanted, "default"]
    : wanted.filter((name) => given.includes(name) || name !== "default");
  return sorted(list.filter((name) => free || own.includes(name)));
}

function sorted(names: readonly string[]): readonly string[] {
  if (names.length === 0) throw new VaultError("invalid", "token must have at least one policy");
  if (names.includes(wrappingName)) throw new VaultError("invalid", `cannot assign policy "${wrappingName}"`);
  return [...new Set(names)].sort();
}

function typeOf(data: CreateData, role: TokenRole | null): TokenEntry["type"] {
  const asked = data.type;
  if (asked !== "" && asked !== "service" && asked !== "batch") {
    throw new VaultError("invalid", "invalid 'token_type' value");
  }
  const rule = role?.token_type ?? "default-service";
  if (rule === "service" || rule === "batch") return rule;
  if (asked !== "") return asked;
  return rule === "default-batch" ? "batch" : "service";
}

/** Where it can be used: what is asked for, within its role's and its maker's. Empty for anywhere. */
function rangesOf(data: CreateData, role: TokenRole | null, maker: Session): readonly string[] {
  const given = data.bound_cidrs;
  if (wrongCidr(given) !== null) {
    throw new VaultError("invalid", 'field "bound_cidrs" holds a range that is none; write it like 10.0.0.0/8');
  }
  if (maker.ranges !== null && !cidrsWithin(given, maker.ranges)) {
    throw new VaultError("invalid", "bound_cidrs must lie within those of the parent token");
  }
  const lists = [given, role?.token_bound_cidrs ?? [], maker.ranges ?? []].filter((ranges) => ranges.length > 0);
  if (lists.length === 0) return [];
  const ranges = lists.reduce(commonCidrs);
  if (ranges.length === 0) throw new VaultError("invalid", "bound_cidrs: there is no address that could use the token");
  return ranges;
}

function checkAllowed(
  data: CreateData,
  maker: Session,
  role: TokenRole | null,
  free: boolean,
  type: TokenEntry["type"],
): void {
  if (maker.entry.type === "batch") throw new VaultError("invalid", "batch tokens cannot create more tokens");
  if (maker.entry.num_uses !== 0) throw new VaultError("invalid", "restricted use token cannot generate child tokens");
  if (data.id && !free) throw new VaultError("invalid", "root or sudo privileges required to specify token id");
  if (data.id && (/[.\s]/.test(data.id) || data.id.length < 16 || data.id.length > 256)) {
    throw new VaultError("invalid", "token id must have 16 to 256 characters, without dots or spaces");
  }
  for (const [asked, what] of [
    [role === null && data.no_parent, "orphan"],
    [data.period > 0, "periodic"],
  ] as const) {
    if (asked && !free) throw new VaultError("invalid", `root or sudo privileges required to create ${what} token`);
  }
  if (type === "batch" && data.explicit_max_ttl > 0) {
    throw new VaultError("invalid", 'batch tokens cannot have "explicit_max_ttl" set');
  }
}

interface Life {
  readonly ttl: number;
  readonly explicit_max_ttl: number;
  readonly period: number;
  readonly renewable: boolean;
}

function lifeOf(call: CoreCall<typeof createFields>, maker: Session, role: TokenRole | null, root: boolean): Life {
  const { core, data } = call;
  const asked = data.ttl ?? data.lease ?? 0;
  const period = role !== null && role.token_period > 0 ? role.token_period : data.period;
  const explicit_max_ttl = least(data.explicit_max_ttl, role?.token_explicit_max_ttl ?? 0);
  if (root && asked === 0 && explicit_max_ttl === 0 && period === 0) {
    if (maker.entry.expires_at === 0) return { ttl: 0, explicit_max_ttl, period, renewable: false };
    throw new VaultError("invalid", "expiring root tokens cannot create non-expiring root tokens");
  }
  const { ttl, max } = ttlsOf(core, null, { ttl: asked, max_ttl: 0, explicit_max_ttl, period });
  if (asked > ttl && period === 0) {
    call.warn(`TTL of "${asked}s" exceeded the effective max_ttl of "${max}s"; TTL value is capped accordingly`);
  }
  return { ttl, explicit_max_ttl, period, renewable: data.renewable && role?.renewable !== false };
}

/** Who the token is: the role's named alias, or the maker where it is his child. */
async function aliasOf(
  call: CoreCall<typeof createFields>,
  role: TokenRole | null,
  maker: Session | null,
): Promise<{ readonly who: Pick<TokenEntry, "alias" | "entity_id" | "groups">; readonly entity: Entity | null }> {
  const { data, mounted } = call;
  if (data.entity_alias) {
    const alias = { accessor: mounted.accessor, name: checkAlias(role, data.entity_alias) };
    const entity = await entityAt(call, alias);
    return { who: { alias, entity_id: entity.id }, entity };
  }
  if (maker === null || maker.entity === null) return { who: { alias: null }, entity: null };
  const { alias, groups } = maker.entry;
  const who = { alias, entity_id: maker.entity.id, ...(groups !== undefined && { groups }) };
  return { who, entity: maker.entity };
}

const displayName = ({ display_name: name }: CreateData): string =>
  name === "" ? "token" : `token-${name.replace(/[^A-Za-z0-9-]/g, "-")}`.replace(/-$/, "");

/** `through` is the name of a role. */
export async function create(
  call: CoreCall<typeof createFields>,
  options: { readonly orphan?: true; readonly through?: string } = {},
): Promise<Response> {
  const maker = ownSession(call);
  const { core, data, generation } = call;
  checkLengths(data);
  const { through } = options;
  const role = through === undefined ? null : roleOf(generation, through);
  if (through !== undefined && role === null) throw new VaultError("invalid", `unknown role ${through}`);
  const free = mayChoose(maker);
  const type = typeOf(data, role);
  checkAllowed(data, maker, role, free, type);
  const policies = chosenPolicies(data, maker, free, role);
  const root = policies.includes("root");
  if (root && type === "batch") throw new VaultError("invalid", "batch tokens cannot be root tokens");
  const orphan = role === null ? options.orphan === true || data.no_parent : role.orphan;
  const life = lifeOf(call, maker, role, root);
  const { who, entity } = await aliasOf(call, role, orphan ? null : maker);
  const mapping: Mapping | null =
    through === undefined
      ? null
      : { accessor: call.mounted.accessor, kind: tokenRoles.kind, name: through, seq: generation.record.seq };
  if (mapping !== null && generation.blocks?.refuses([ofMapping(mapping)])) {
    throw new VaultError("denied", "permission denied");
  }
  const made: NewToken = {
    ...(data.id && { client_token: data.id }),
    parent: orphan ? null : maker.entry.id,
    policies,
    mapping,
    ...who,
    ...inherited({ ...who, mapping }, maker.principal.origins, call.connection),
    display_name: displayName(data),
    meta: data.meta ?? null,
    path: role !== null && role.path_suffix !== "" ? `${call.request.path}/${role.path_suffix}` : call.request.path,
    max_ttl: 0,
    ...life,
    num_uses: least(data.num_uses, role?.token_num_uses ?? 0),
    bound_cidrs: rangesOf(data, role, maker),
  };
  const issue = (): Promise<MadeToken> => core.issue(type, made);
  const leased = type === "service" && life.ttl > 0;
  const { token, entry } = leased
    ? await core.quotas.leased(call.mounted, call.request.path, null, issue)
    : await issue();
  for (const name of policies) if (generation.policy(name) === null) call.warn(`Policy "${name}" does not exist`);
  return { auth: authOf(token, entry, entity?.policies ?? [], entity?.id ?? "") };
}
