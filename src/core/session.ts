// A token in a generation: who it is and what it may, worked out once and kept until the token or the generation changes.
// Must hold: a token's rights are never more than its mapping, and its parent, have in the request's generation; what
// cannot be worked out (mapping gone, mount gone, parent gone, entity disabled) is no right at all.

import { commonCidrs, compileCidrs, wrongCidr } from "../lib/cidr.ts";
import { VaultError } from "../sdk/errors.ts";
import type { TokenSpec } from "../sdk/token.ts";
import { type Acl, type AclCache, type Bindings } from "../policy/match.ts";
import { type Login, loginOf } from "./asking.ts";
import { ofEntity, originsOf } from "./blocks/origins.ts";
import type { Principal } from "./exchange.ts";
import type { Generation } from "./generation.ts";
import type { Entity } from "./identity/entity.ts";
import type { Logins } from "./identity/logins.ts";
import { type BatchTokens, isBatch } from "./tokens/batch.ts";
import type { Mapping, TokenEntry } from "./tokens/entry.ts";
import { allows, grants, isRoleMapping, roleOf } from "./tokens/roles.ts";
import type { TokenStore } from "./tokens/store.ts";

export interface Session {
  readonly entry: TokenEntry;
  readonly generation: Generation;
  readonly principal: Principal;
  readonly entity: Entity | null;
  readonly acl: Acl;
  /** What the token, or the one that it is a child of, comes from; null where a token without a login made it. */
  readonly login: Login | null;
  /** The addresses that may use it, null for any: its own ranges within its mapping's and its parent's as they are now. */
  readonly ranges: readonly string[] | null;
  readonly bound: ((address: string) => boolean) | null;
  /** Milliseconds since 1970, 0 for never: the token's own end, or its parent's where that comes first. */
  readonly expiresAt: number;
  readonly root: boolean;
  /** What this request has left of a limited number of uses, where it has taken one. */
  readonly usesLeft?: number;
}

export interface SessionsOptions {
  readonly tokens: TokenStore;
  readonly batch: BatchTokens;
  readonly acls: AclCache;
  readonly logins: () => Logins;
}

const most = 20_000;
const depthLimit = 64;
/** Where creating tokens with policies of one's own choice is decided. */
const createPath = "auth/token/create";

export const deniedError = (): VaultError => new VaultError("unauthenticated", ["permission denied", "invalid token"]);

/** The token_* fields that a mapping has now; null where it is not there any more, or is there anew: it, or its mount, has
 *  been away since the token was made. A token role is no login, but has those that bind a token. */
export function mappingSpec(generation: Generation, mapping: Mapping): TokenSpec | null {
  const mounted = generation.mounts.byAccessor(mapping.accessor);
  if (mounted === null) return null;
  const declaration = generation.table.get(mapping.kind, mounted.mount, mapping.name);
  if (declaration === null) return null;
  const since = Math.max(declaration.since ?? 0, mounted.declaration?.since ?? 0);
  return (mapping.seq ?? 0) < since ? null : (declaration.spec as unknown as TokenSpec);
}

/** Those of a token's policies that its mapping gives now; null where the mapping is not there any more. */
export function mappedPolicies(generation: Generation, entry: TokenEntry): readonly string[] | null {
  const { mapping } = entry;
  if (mapping === null) return entry.policies;
  const spec = mappingSpec(generation, mapping);
  if (spec === null) return null;
  if (isRoleMapping(entry)) {
    const role = roleOf(generation, mapping.name);
    return role === null ? null : entry.policies.filter((name) => allows(role, name));
  }
  const now = grantedPolicies(spec);
  return entry.policies.filter((name) => now.includes(name));
}

/** Whether the mapping alone says what the token may, and not its maker as well. */
function isGranted(generation: Generation, entry: TokenEntry): boolean {
  if (entry.mapping === null) return false;
  const role = isRoleMapping(entry) ? roleOf(generation, entry.mapping.name) : null;
  return role === null || grants(role);
}

export function grantedPolicies(spec: TokenSpec): readonly string[] {
  const names = spec.token_policies.map((name) => name.trim().toLowerCase()).filter(Boolean);
  return [...new Set(spec.token_no_default_policy ? names : [...names, "default"])].sort();
}

export class Sessions {
  readonly #options: SessionsOptions;
  /** By token as the client sends it: saves the HMAC on the hot path; dropped at seal. */
  readonly #byToken = new Map<string, Session>();
  /** Token by id, and ids of known children by parent id, of what stands in `#byToken`. */
  readonly #tokenOf = new Map<string, string>();
  readonly #children = new Map<string, Set<string>>();
  /** Counts what was forgotten. */
  #forgotten = 0;

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  /** The session if it is known for this generation; no promise on the hot path. */
  peek(token: string, generation: Generation): Session | null {
    const session = this.#byToken.get(token);
    return session !== undefined && session.generation === generation ? session : null;
  }

  /** Throws VaultError `unauthenticated` where the token is not valid. Expiry is the caller's to check. */
  async load(token: string, generation: Generation): Promise<Session> {
    const id = this.#options.tokens.idOf(token);
    const forgotten = this.#forgotten;
    const session = await this.#read(token, id, generation);
    // It, or its parent, may have been revoked while this was worked out, for which many turns may have been taken: it is looked at
    // once more, with all rules merged, and not kept.
    if (forgotten !== this.#forgotten) return this.#read(token, id, generation);
    if (this.#byToken.size >= most) this.clear();
    this.#byToken.set(token, session);
    this.#tokenOf.set(id, token);
    const { parent } = session.entry;
    if (parent !== null) {
      const siblings = this.#children.get(parent);
      if (siblings === undefined) this.#children.set(parent, new Set([id]));
      else siblings.add(id);
    }
    return session;
  }

  async #read(token: string, id: string, generation: Generation): Promise<Session> {
    const entry = isBatch(token) ? this.#options.batch.open(token) : (await this.#options.tokens.get(id))?.value;
    if (!entry) throw deniedError();
    return this.#build(entry, generation, 0);
  }

  /** For a token that is not the caller's: nothing is kept. */
  of(entry: TokenEntry, generation: Generation): Promise<Session> {
    return this.#build(entry, generation, 0);
  }

  /** After any change of a token: what is known of it and of its children is worked out again. */
  forget(id: string): void {
    this.#forgotten += 1;
    const token = this.#tokenOf.get(id);
    if (token !== undefined) this.#byToken.delete(token);
    this.#tokenOf.delete(id);
    const children = this.#children.get(id);
    this.#children.delete(id);
    for (const child of children ?? []) this.forget(child);
  }

  clear(): void {
    this.#forgotten += 1;
    this.#byToken.clear();
    this.#tokenOf.clear();
    this.#children.clear();
  }

  async #build(entry: TokenEntry, generation: Generation, depth: number): Promise<Session> {
    if (depth > depthLimit || entry.num_uses < 0) throw deniedError();
    const entity = await this.entityOf(entry, generation);
    if (entity?.disabled) throw deniedError();
    const own = originsOf(entry);
    if (entity !== null) own.push(ofEntity(entity.id));
    if (generation.blocks?.refusesMade(entry.created_at, own)) throw deniedError();
    const parent = await this.#parent(entry, generation, depth);
    const tokenPolicies = ownPolicies(entry, generation, parent);
    const identityPolicies = entity?.policies ?? [];
    const policies = [...new Set([...tokenPolicies, ...identityPolicies.filter((name) => name !== "root")])].sort();
    const ends = [entry.expires_at, parent?.expiresAt ?? 0].filter((end) => end > 0);
    const ranges = rangesOf(entry, generation, parent);
    const known = policies.flatMap((name) => generation.policy(name) ?? []);
    const acl = await this.#options.acls.gather(known, entity === null ? null : bindings(entity, entry));
    return {
      entry,
      generation,
      entity,
      acl,
      login: loginOf(entry, generation) ?? parent?.login ?? null,
      ranges,
      bound: ranges === null ? null : compileCidrs(ranges),
      expiresAt: ends.length === 0 ? 0 : Math.min(...ends),
      root: tokenPolicies.includes("root"),
      principal: {
        accessor: entry.accessor,
        displayName: entry.display_name,
        policies,
        tokenPolicies,
        identityPolicies,
        entityId: entity?.id ?? "",
        // Addresses stand in the order in which they were come from.
        origins: [...new Set([...(parent?.principal.origins ?? []), ...own])],
        metadata: entry.meta ?? {},
        tokenType: entry.type,
        issuedAt: entry.created_at,
        ttl: entry.ttl,
      },
    };
  }

  /** Who the alias of a token is now. Throws where that is nobody, or where the entity that the token was made for is there no
   *  more: not even somebody who has its alias now gets its tokens. */
  async entityOf(entry: TokenEntry, generation: Generation): Promise<Entity | null> {
    const { alias, entity_id: was, groups } = entry;
    if (alias === null) return null;
    const { identity } = generation;
    const logins = this.#options.logins();
    if (was !== undefined && !identity.knows(was) && (await logins.get(was)) === null) throw deniedError();
    const entity = identity.byAlias(alias) ?? identity.ofLogin(await logins.of(alias, identity));
    if (was !== undefined && entity.id !== was && !identity.knows(entity.id)) throw deniedError();
    return groups === undefined ? entity : identity.joined(entity, alias.accessor, groups);
  }

  async #parent(entry: TokenEntry, generation: Generation, depth: number): Promise<Session | null> {
    if (entry.parent === null) return null;
    const found = await this.#options.tokens.get(entry.parent);
    if (found === null) throw deniedError();
    return this.#build(found.value, generation, depth + 1);
  }
}

function ownPolicies(entry: TokenEntry, generation: Generation, parent: Session | null): readonly string[] {
  const own = mappedPolicies(generation, entry);
  if (own === null) throw deniedError();
  if (parent === null || parent.root || isGranted(generation, entry)) return own;
  if (mayChoose(parent)) return own.filter((name) => name !== "root");
  return own.filter((name) => parent.principal.policies.includes(name));
}

/** Every range that binds it: its own, its mapping's as it is now, and its parent's. */
function rangesOf(entry: TokenEntry, generation: Generation, parent: Session | null): Session["ranges"] {
  const mapped = entry.mapping === null ? null : mappingSpec(generation, entry.mapping);
  const lists = [entry.bound_cidrs, mapped?.token_bound_cidrs ?? []].filter((ranges) => ranges.length > 0);
  if (lists.some((ranges) => wrongCidr(ranges) !== null)) throw deniedError();
  if (parent !== null && parent.ranges !== null) lists.push(parent.ranges);
  return lists.length === 0 ? null : lists.reduce(commonCidrs);
}

/** Whether a token may make children with policies that it does not have itself. A condition on it never lets: the question
 *  is asked again at each request of such a child, when its maker asks for nothing. */
export const mayChoose = (session: Session): boolean => session.root || session.acl.check(createPath, "update").sudo;

/** Where the entity has several aliases at a mount, its name there is the one of the token. */
function bindings(entity: Entity, { alias: used }: TokenEntry): Bindings {
  const aliases = entity.aliases.map((alias) =>
    used === null || alias.accessor !== used.accessor || alias.name !== used.name
      ? alias
      : { ...alias, ...(used.metadata && { metadata: used.metadata }) },
  );
  const own = aliases.findIndex(({ accessor, name }) => accessor === used?.accessor && name === used.name);
  if (own > 0) aliases.unshift(...aliases.splice(own, 1));
  return { entity: { id: entity.id, name: entity.name, metadata: entity.metadata, aliases }, groups: entity.groups };
}
