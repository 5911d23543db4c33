// Entities, groups and aliases as the API shows them.

import { rfc3339 } from "../../lib/clock.ts";
import { VaultError } from "../../sdk/errors.ts";
import { type PageInput, partOf } from "../../sdk/page.ts";
import type { Response } from "../../sdk/request.ts";
import type { Generation } from "../generation.ts";
import type { Bound, Entity, Group, Person } from "./entity.ts";

type Shown = Record<string, unknown>;
type Map = Readonly<Record<string, string>> | undefined;

/** Vault has no empty maps where nothing was ever given. */
const mapOf = (map: Map): Map | null => (map === undefined || Object.keys(map).length === 0 ? null : map);
const listOf = (list: readonly string[] | undefined): readonly string[] | null =>
  list === undefined || list.length === 0 ? null : list;
const namespace_id = "root";

function mountOf({ mounts }: Generation, { accessor }: Bound): Shown {
  const mounted = mounts.byAccessor(accessor);
  return {
    mount_accessor: accessor,
    ...(mounted !== null && { mount_path: mounted.path, mount_type: mounted.type }),
  };
}

export const shownAlias = (generation: Generation, owner: string, alias: Bound): Shown => ({
  id: alias.id,
  canonical_id: owner,
  name: alias.name,
  ...mountOf(generation, alias),
  metadata: null,
  custom_metadata: mapOf(alias.custom_metadata),
  merged_from_canonical_ids: listOf(alias.merged_from),
  local: false,
  creation_time: rfc3339(alias.created),
  last_update_time: rfc3339(alias.changed),
  namespace_id,
});

export function shownEntity(generation: Generation, person: Person, entity: Entity): Shown {
  const direct = new Set(generation.identity.directOf(person.id));
  const ids = entity.groups.map(({ id }) => id);
  return {
    id: person.id,
    name: person.name,
    aliases: entity.aliases.map((alias) => shownAlias(generation, person.id, alias)),
    policies: entity.own,
    metadata: mapOf(entity.metadata),
    disabled: entity.disabled,
    merged_entity_ids: listOf(person.spec.merged),
    direct_group_ids: ids.filter((id) => direct.has(id)),
    inherited_group_ids: ids.filter((id) => !direct.has(id)),
    group_ids: ids,
    mfa_secrets: {},
    creation_time: rfc3339(person.created),
    last_update_time: rfc3339(person.changed),
    namespace_id,
  };
}

export function shownGroup(generation: Generation, group: Group): Shown {
  const { identity } = generation;
  const members = identity.members(group);
  const { created = 0, changed = 0, changes = 1 } = group.declaration.made ?? {};
  return {
    id: group.id,
    name: group.name,
    type: group.type,
    policies: group.policies,
    metadata: mapOf(group.metadata),
    member_entity_ids: members.entities,
    member_group_ids: members.groups,
    parent_group_ids: identity.parentsOf(group),
    alias: group.alias === null ? {} : shownAlias(generation, group.id, group.alias),
    modify_index: changes,
    creation_time: rfc3339(created),
    last_update_time: rfc3339(changed),
    namespace_id,
  };
}

/** What a list of aliases tells of one. */
export const listedAlias = (generation: Generation, owner: string, alias: Bound): Shown => ({
  name: alias.name,
  canonical_id: owner,
  ...mountOf(generation, alias),
  metadata: null,
  custom_metadata: mapOf(alias.custom_metadata),
  local: false,
});

/** What a list of entities or groups tells of an alias. */
export const briefAlias = (generation: Generation, alias: Bound): Shown => ({
  id: alias.id,
  name: alias.name,
  ...mountOf(generation, alias),
});

export const found = (data: Shown | null): Response => {
  if (data === null) throw new VaultError("not_found", []);
  return { data };
};

/** In order; nothing is Vault's 404. */
export function listed(
  entries: readonly { readonly key: string; readonly id: string; readonly info: Shown }[],
  page: PageInput,
): Response {
  const keys = partOf(entries.map(({ key }) => key).sort(), page);
  if (keys.length === 0) throw new VaultError("not_found", []);
  const asked = new Set(keys);
  const told = entries.filter(({ key }) => asked.has(key));
  return { data: { keys, key_info: Object.fromEntries(told.map(({ id, info }) => [id, info])) } };
}
