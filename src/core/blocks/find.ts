// What somebody means who names a person, a mapping, a mount or an address, and which block is about that.
// Must hold: a name that could be two things is refused, with what tells them apart: nobody hides behind the name of another.

import { foldCidr } from "../../lib/cidr.ts";
import { isVaultError, VaultError } from "../../sdk/errors.ts";
import type { Declaration } from "../../sdk/kind.ts";
import type { CoreCall } from "../call.ts";
import type { Generation } from "../generation.ts";
import { type Alias, aliasKey, type Entity, normalizeAlias } from "../identity/entity.ts";
import { entityNamed, entityOf } from "../identity/find.ts";
import type { Mounted } from "../mounts.ts";
import { tokenRoles } from "../tokens/roles.ts";
import { type About, type BlockType, keyOf } from "./block.ts";
import { type Block, placesOf, short } from "./blocks.ts";
import { ofEntity, ofMapping } from "./origins.ts";

const invalid = (text: string): VaultError => new VaultError("invalid", text);
const missing = (text: string): VaultError => new VaultError("not_found", text);
const quoted = (text: string): string => JSON.stringify(text);

/** The auth mount that a name begins with, and what follows. */
function atMount({ mounts }: Generation, name: string): { readonly mounted: Mounted; readonly rest: string } | null {
  const path = `auth/${name.replace(/^auth\//, "")}`;
  const mounted = mounts.route(path);
  if (mounted === null || !mounted.path.startsWith("auth/")) return null;
  const rest = path.slice(mounted.path.length);
  return rest === "" ? null : { mounted, rest };
}

interface Candidate {
  readonly entity: Entity;
  readonly as: string;
  /** Of a login that nobody came with yet. */
  readonly unseen?: true;
}

/** With all names of the login, in the order in which they count. */
async function namesOf({ accessor, namesOf: ask }: Mounted, name: string): Promise<readonly Alias[]> {
  const names = ask === null ? [name] : await ask(name);
  return names.map((one) => ({ accessor, name: one }));
}

async function byLogin(call: CoreCall, name: string): Promise<readonly Candidate[]> {
  const { core, generation } = call;
  const place = atMount(generation, name);
  if (place === null) return [];
  const { mounted, rest } = place;
  const aliases = await namesOf(mounted, normalizeAlias(mounted, rest));
  const as = (alias: Alias): string => `the login ${alias.name} at ${mounted.path}`;
  const declared = aliases.flatMap((alias): readonly Candidate[] => {
    const entity = generation.identity.byAlias(alias);
    return entity === null ? [] : [{ entity, as: as(alias) }];
  });
  const [first] = aliases;
  if (declared.length > 0 || first === undefined) return declared;
  const login = await core.logins.of(first, generation.identity);
  const unseen = (await core.logins.get(login.id)) === null;
  return [{ entity: generation.identity.ofLogin(login), as: as(first), ...(unseen && { unseen }) }];
}

/** His logins by all their names, without those that are somebody else's. */
async function loginsOf({ generation }: CoreCall, { id, aliases }: Entity): Promise<readonly Alias[]> {
  const { identity, mounts } = generation;
  const all = new Map<string, Alias>(aliases.map((alias) => [aliasKey(alias), alias]));
  for (const { accessor, name } of aliases) {
    const mounted = mounts.byAccessor(accessor);
    for (const alias of mounted === null ? [] : await namesOf(mounted, name)) {
      if ((identity.personAt(alias)?.id ?? id) === id) all.set(aliasKey(alias), alias);
    }
  }
  return [...all.values()];
}

/** Everybody whom a name may mean. */
async function people(call: CoreCall, name: string): Promise<readonly Candidate[]> {
  const [byId, byName, login] = await Promise.all([entityOf(call, name), entityNamed(call, name), byLogin(call, name)]);
  return [
    ...(byId === null ? [] : [{ entity: byId.entity, as: "the entity of this id" }]),
    ...(byName === null ? [] : [{ entity: byName.entity, as: `the entity ${byName.entity.name}` }]),
    ...login,
  ];
}

async function personOf(call: CoreCall, name: string): Promise<About> {
  const found = await people(call, name);
  const [one] = found;
  if (one === undefined) {
    throw missing(
      `there is nobody called ${quoted(name)}: give the name or id of an entity, or a login as MOUNT/LOGIN`,
    );
  }
  if (found.some(({ entity }) => entity.id !== one.entity.id)) {
    const who = found.map(({ entity, as }) => `${as} (${entity.id})`).join(", ");
    throw invalid(`${quoted(name)} may be ${who}: give the id`);
  }
  if (one.unseen) call.warn(`nobody has logged in as ${quoted(name)} yet; it is blocked all the same`);
  const logins = placesOf(await loginsOf(call, one.entity), call.generation.mounts);
  return { type: "person", ids: [one.entity.id], logins };
}

function mappingOf({ generation }: CoreCall, name: string): About {
  const place = atMount(generation, name);
  if (place === null) throw invalid("a mapping is named MOUNT/NAME, such as approle/payments-api or token/ci");
  const { mounted, rest } = place;
  const resources = mounted.plugin?.resources ?? (mounted.path === "auth/token/" ? [tokenRoles] : []);
  const found = resources.flatMap((resource): readonly About[] => {
    const folder = resource.path.slice(0, resource.path.lastIndexOf("/") + 1);
    const bare = rest.startsWith(folder) ? rest.slice(folder.length) : rest;
    const object = resource.normalize?.(bare) ?? bare;
    if (generation.table.get(resource.kind, mounted.mount, object) === null) return [];
    // What is configured and lets nobody in, is none.
    if (resource !== tokenRoles && resource.fields["token_policies"] === undefined) return [];
    const { accessor, path } = mounted;
    return [{ type: "mapping", kind: resource.kind, places: [{ accessor, name: object, mount: short(path) }] }];
  });
  const [one, other] = found;
  if (one === undefined) throw missing(`there is no mapping ${quoted(rest)} at ${mounted.path}`);
  if (other !== undefined) throw invalid(`${quoted(name)} is several: ${resources.map(({ path }) => path).join(", ")}`);
  return one;
}

function mountOf({ generation }: CoreCall, name: string): About {
  const path = name.replace(/^\/+|\/+$/g, "");
  const found = [path, `auth/${path}`].flatMap((each) => {
    const mounted = generation.mounts.at(each);
    return mounted === null ? [] : [mounted];
  });
  const mountable = found.filter(({ plugin }) => plugin !== null);
  const [one, other] = mountable;
  if (one === undefined) {
    const why = found.length > 0 ? "belongs to the vault itself and cannot be blocked" : "is no mount";
    throw found.length > 0 ? invalid(`${quoted(name)} ${why}`) : missing(`${quoted(name)} ${why}`);
  }
  if (other !== undefined) throw invalid(`${quoted(name)} may be ${one.path} or ${other.path}: give the whole path`);
  return { type: "mount", mounts: [{ accessor: one.accessor, path: one.path }] };
}

function addressOf(name: string): About {
  const range = foldCidr(name);
  if (range === null)
    throw invalid(`${quoted(name)} is no address range; write it like 203.0.113.0/24 or 2001:db8::/32`);
  return { type: "address", range };
}

/** Throws VaultError `not_found` or `invalid`. */
export async function aboutOf(call: CoreCall, type: BlockType, name: string): Promise<About> {
  if (type === "person") return personOf(call, name);
  if (type === "mapping") return mappingOf(call, name);
  return type === "mount" ? mountOf(call, name) : addressOf(name);
}

/** Whether a block is about the same thing. */
export function isAbout(block: Block, about: About): boolean {
  if (about.type !== block.about.type) return false;
  if (about.type === "person") return block.covers(about.ids.map(ofEntity));
  if (about.type === "mapping") {
    return block.covers(about.places.map(({ accessor, name }) => ofMapping({ accessor, kind: about.kind, name })));
  }
  if (about.type === "mount") return about.mounts.some(({ accessor }) => block.accessors.has(accessor));
  return keyOf(about) === keyOf(block.about);
}

/** The block that a name means: one that was made under it, one of that key, or one that is about what has the name now. */
export async function blockOf(call: CoreCall, type: BlockType, name: string): Promise<Block> {
  const all = (call.generation.blocks?.all ?? []).filter(({ about }) => about.type === type);
  const key = all.find(({ declaration }) => declaration.name === `${type}/${name}`);
  if (key !== undefined) return key;
  const isMadeUnder = all.some(({ spec }) => spec.name === name);
  const about = await aboutOf({ ...call, warn: () => {} }, type, name).catch((error: unknown) => {
    // What is gone, or is two by now, may still be blocked under the name.
    if (isVaultError(error, "not_found") || (isMadeUnder && isVaultError(error, "invalid"))) return null;
    throw error;
  });
  const found = all.filter((block) => block.spec.name === name || (about !== null && isAbout(block, about)));
  const [one, other] = found;
  if (one === undefined) throw missing(`${type} ${quoted(name)} is not blocked`);
  if (other === undefined) return one;
  const keys = found.map(({ declaration }) => declaration.name.slice(type.length + 1));
  throw invalid(`${quoted(name)} is several blocks: give one of ${keys.join(", ")}`);
}

/** What Git declares that a block is about. */
export function documentsOf({ about }: Block, { identity, mounts, table }: Generation): readonly Declaration[] {
  const found = ((): readonly (Declaration | null)[] => {
    if (about.type === "person") return [...new Set(about.ids.map((id) => identity.holderOf(id)?.declaration ?? null))];
    if (about.type === "mount") {
      return about.mounts.map(({ accessor }) => mounts.byAccessor(accessor)?.declaration ?? null);
    }
    if (about.type === "address") return [];
    return about.places.map(({ accessor, name }) => {
      const mounted = mounts.byAccessor(accessor);
      return mounted === null ? null : table.get(about.kind, mounted.mount, name);
    });
  })();
  return found.flatMap((declaration) => (declaration?.source ? declaration : []));
}
