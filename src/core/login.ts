// From what an auth method proved (a grant) to a token. Only the core makes tokens.
// Must hold: the token gets what the mapping's declaration says in the request's generation, nothing from the plugin.

import { compileCidrs } from "../lib/cidr.ts";
import { VaultError } from "../sdk/errors.ts";
import type { AuthResult, Grant, Response } from "../sdk/request.ts";
import type { TokenSpec } from "../sdk/token.ts";
import { inherited, ofEntity, ofLogin, ofMapping } from "./blocks/origins.ts";
import type { CoreCall } from "./call.ts";
import type { Core } from "./core.ts";
import type { Generation } from "./generation.ts";
import type { Alias, Entity } from "./identity/entity.ts";
import type { Mounted } from "./mounts.ts";
import { grantedPolicies } from "./session.ts";
import type { MadeToken, NewToken, TokenEntry } from "./tokens/entry.ts";

export interface Ttls {
  /** Seconds. */
  readonly ttl: number;
  readonly max: number;
}

/** Seconds for a new token: what is asked for, or the defaults, within every maximum. */
export function ttlsOf(
  core: Core,
  mounted: Mounted | null,
  wanted: {
    readonly ttl: number;
    readonly max_ttl: number;
    readonly explicit_max_ttl: number;
    readonly period: number;
  },
): Ttls {
  const config = mounted?.spec?.config;
  const systemMax = config?.max_lease_ttl || core.maxLeaseTtl;
  const systemDefault = Math.min(config?.default_lease_ttl || core.defaultLeaseTtl, systemMax);
  const max = Math.min(...[wanted.max_ttl, wanted.explicit_max_ttl, systemMax].filter((seconds) => seconds > 0));
  const asked = wanted.period > 0 ? Math.min(wanted.period, systemMax) : wanted.ttl > 0 ? wanted.ttl : systemDefault;
  return { ttl: wanted.period > 0 && wanted.explicit_max_ttl === 0 ? asked : Math.min(asked, max), max };
}

/** What the mount is tuned to; where it leaves a choice, what the mapping says. */
function typeOf(mounted: Mounted, spec: TokenSpec): TokenEntry["type"] {
  const tuned = mounted.spec?.config.token_type ?? "default-service";
  const said = [tuned, spec.token_type ?? "default"].find((type) => type !== "" && !type.startsWith("default"));
  if (said !== undefined) return said === "batch" ? "batch" : "service";
  const preferred = [spec.token_type, tuned].find((type) => type?.startsWith("default-"));
  return preferred === "default-batch" ? "batch" : "service";
}

export async function login(call: CoreCall, response: Response): Promise<Response> {
  const { grant, ...rest } = response;
  const { core, generation, mounted } = call;
  if (grant === undefined) throw new VaultError("internal", "no grant");
  const resource = mounted.plugin?.resources.find((one) => one.name === grant.mapping.resource);
  const declaration = resource && generation.table.get(resource.kind, mounted.mount, grant.mapping.name);
  if (!resource || !declaration) throw new VaultError("denied", "permission denied");
  const spec = declaration.spec as unknown as TokenSpec;
  const own = grant.boundCidrs ?? [];
  for (const ranges of [spec.token_bound_cidrs, own]) {
    if (ranges.length > 0 && !compileCidrs(ranges)?.(call.connection.remoteAddress)) {
      throw new VaultError("denied", "permission denied");
    }
  }
  const mapping = {
    accessor: mounted.accessor,
    kind: resource.kind,
    name: grant.mapping.name,
    seq: generation.record.seq,
  };
  const issued = grant.origins ?? [];
  const [name, ...others] = namesOf(generation, mounted, grant.alias);
  const also = others.map((other) => ofLogin({ accessor: mounted.accessor, name: other }));
  const { blocks } = generation;
  if (blocks?.refusesMade(grant.issuedAt ?? Infinity, [ofMapping(mapping), ...issued]) || blocks?.refuses(also)) {
    throw new VaultError("denied", "permission denied");
  }
  const { metadata } = grant.alias;
  const alias = { accessor: mounted.accessor, name, ...(metadata !== undefined && { metadata }) };
  const groups = [...new Set(grant.groups)].filter((group) => generation.identity.groupAt({ ...alias, name: group }));
  const entity = await entityAt(call, alias, groups);
  const period = spec.token_period;
  const { ttl } = ttlsOf(core, mounted, {
    ttl: spec.token_ttl,
    max_ttl: spec.token_max_ttl,
    explicit_max_ttl: spec.token_explicit_max_ttl,
    period,
  });
  const type = typeOf(mounted, spec);
  const made: NewToken = {
    parent: null,
    policies: grantedPolicies(spec).filter((name) => name !== "root"),
    mapping,
    alias,
    entity_id: entity.id,
    ...inherited({ mapping, alias, entity_id: entity.id }, [...issued, ...also], call.connection),
    ...(groups.length > 0 && { groups }),
    display_name: `${mounted.path.slice("auth/".length).replaceAll("/", "-")}${grant.displayName}`.replace(/-$/, ""),
    meta: grant.metadata ?? null,
    path: call.request.path,
    ttl,
    max_ttl: spec.token_max_ttl,
    explicit_max_ttl: spec.token_explicit_max_ttl,
    period,
    renewable: true,
    num_uses: spec.token_num_uses,
    bound_cidrs: own.length > 0 ? own : spec.token_bound_cidrs,
  };
  const issue = (): Promise<MadeToken> => core.issue(type, made);
  const { token, entry } =
    type === "batch" ? await issue() : await core.quotas.leased(mounted, made.path, grant.mapping.name, issue);
  return { ...rest, auth: authOf(token, entry, entity.policies, entity.id) };
}

/** First the one that it has now, then the one that it could have: that is blocked with it. */
function namesOf(
  { identity }: Generation,
  { accessor }: Mounted,
  { name, also }: Grant["alias"],
): readonly [string, ...string[]] {
  if (also === undefined) return [name];
  const isAlso = identity.personAt({ accessor, name }) === null && identity.personAt({ accessor, name: also }) !== null;
  return isAlso ? [also, name] : [name, also];
}

/** Who somebody is that comes with an alias, perhaps for the first time, and the groups that he is said to be in. */
export async function entityAt(
  { core, generation, request }: CoreCall,
  alias: Alias,
  groups: readonly string[] = [],
): Promise<Entity> {
  const { identity } = generation;
  const known = identity.byAlias(alias);
  if (generation.blocks?.refuses([ofLogin(alias)])) throw new VaultError("denied", "permission denied");
  if (known?.disabled) throw new VaultError("denied", "permission denied");
  const entity = known ?? identity.ofLogin(await core.logins.record(alias, request.time, identity));
  if (generation.blocks?.refuses([ofEntity(entity.id)])) throw new VaultError("denied", "permission denied");
  return groups.length === 0 ? entity : identity.joined(entity, alias.accessor, groups);
}

/** What a client is told of a token it gets. */
export function authOf(
  token: string,
  entry: TokenEntry,
  identityPolicies: readonly string[],
  entityId: string,
  tokenPolicies: readonly string[] = entry.policies,
): AuthResult {
  const policies = [...new Set([...tokenPolicies, ...identityPolicies])].sort();
  return {
    client_token: token,
    accessor: entry.accessor,
    policies,
    token_policies: tokenPolicies,
    ...(identityPolicies.length > 0 && { identity_policies: identityPolicies }),
    metadata: entry.meta,
    lease_duration: entry.ttl,
    renewable: entry.renewable,
    entity_id: entityId,
    token_type: entry.type,
    orphan: entry.parent === null,
    mfa_requirement: null,
    num_uses: Math.max(entry.num_uses, 0),
  };
}
