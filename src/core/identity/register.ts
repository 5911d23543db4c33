// The maps behind a directory: whoever is found by id, by name, by alias, and the groups that they are members of. A register
// never changes; a change of some declarations makes another one in the time that those take.
// Must hold: a register is the same whichever changes led to it: of several that claim a name or an alias, Git's has it, and
// among those the first by name. What is to go is taken out before anything is put in, as an id may change its name.
// Members are kept as they are declared, by id or by name, so that no change of an entity has to look for its groups.

import { type Draft, Shards } from "../../lib/shards.ts";
import type { Declaration } from "../../sdk/kind.ts";
import { aliasKey, type Group, type Person } from "./entity.ts";

/** All that claim a key; the first has it. */
type Claim<T> = readonly T[];
/** Ids of groups, sorted. */
type Ids = readonly string[];

export interface Register {
  readonly people: Shards<Person>;
  readonly named: Shards<Claim<Person>>;
  readonly aliases: Shards<Claim<Person>>;
  /** By the id of an alias, also of one that somebody else has. */
  readonly aliasIds: Shards<Person>;
  /** By the id of what was merged into it. */
  readonly merged: Shards<Person>;
  readonly groups: Shards<Group>;
  readonly groupsNamed: Shards<Claim<Group>>;
  readonly groupAliases: Shards<Claim<Group>>;
  /** The groups that have an entity, or a group, as a member, by its id or by its name. */
  readonly ofEntityId: Shards<Ids>;
  readonly ofEntityName: Shards<Ids>;
  readonly ofGroupId: Shards<Ids>;
  readonly ofGroupName: Shards<Ids>;
}

export const emptyRegister: Register = {
  people: new Shards(),
  named: new Shards(),
  aliases: new Shards(),
  aliasIds: new Shards(),
  merged: new Shards(),
  groups: new Shards(),
  groupsNamed: new Shards(),
  groupAliases: new Shards(),
  ofEntityId: new Shards(),
  ofEntityName: new Shards(),
  ofGroupId: new Shards(),
  ofGroupName: new Shards(),
};

export const lower = (name: string): string => name.toLowerCase();

interface Declared {
  readonly name: string;
  readonly declaration: Declaration | null;
}

const same = (one: Declared, other: Declared | undefined): boolean => one.declaration === other?.declaration;

function goesBefore(one: Declared, other: Declared): boolean {
  const [git, otherGit] = [Boolean(one.declaration?.source), Boolean(other.declaration?.source)];
  return git === otherGit ? one.name < other.name : git;
}

function claim<T extends Declared>(map: Draft<Claim<T>>, key: string, one: T): void {
  const others = map.get(key) ?? [];
  const at = others.findIndex((other) => goesBefore(one, other));
  map.set(key, at < 0 ? [...others, one] : [...others.slice(0, at), one, ...others.slice(at)]);
}

function unclaim<T extends Declared>(map: Draft<Claim<T>>, key: string, one: T): void {
  const left = (map.get(key) ?? []).filter((other) => !same(one, other));
  if (left.length === 0) map.delete(key);
  else map.set(key, left);
}

function release<T extends Declared>(map: Draft<T>, key: string, one: T): void {
  if (same(one, map.get(key))) map.delete(key);
}

function enter(map: Draft<Ids>, keys: Iterable<string>, id: string): void {
  for (const key of keys) {
    const ids = map.get(key) ?? [];
    if (!ids.includes(id)) map.set(key, [...ids, id].sort());
  }
}

function leave(map: Draft<Ids>, keys: Iterable<string>, id: string): void {
  for (const key of keys) {
    const left = (map.get(key) ?? []).filter((one) => one !== id);
    if (left.length === 0) map.delete(key);
    else map.set(key, left);
  }
}

type Members = Readonly<Record<"ofEntityId" | "ofEntityName" | "ofGroupId" | "ofGroupName", readonly string[]>>;
const memberKinds = ["ofEntityId", "ofEntityName", "ofGroupId", "ofGroupName"] as const;

const membersOf = ({ spec }: Group): Members => ({
  ofEntityId: spec.member_entity_ids ?? [],
  ofEntityName: spec.member_entities,
  ofGroupId: spec.member_group_ids ?? [],
  ofGroupName: spec.member_groups,
});

/** Those of `keys` that `others` do not have. */
function without(keys: readonly string[], others: readonly string[]): readonly string[] {
  if (keys.length === 0 || others.length === 0) return keys;
  const known = new Set(others);
  return keys.filter((key) => !known.has(key));
}

/** A register in the making. */
export class RegisterDraft {
  readonly #maps: { readonly [K in keyof Register]: Register[K] extends Shards<infer V> ? Draft<V> : never };

  constructor(base: Register) {
    this.#maps = {
      people: base.people.draft(),
      named: base.named.draft(),
      aliases: base.aliases.draft(),
      aliasIds: base.aliasIds.draft(),
      merged: base.merged.draft(),
      groups: base.groups.draft(),
      groupsNamed: base.groupsNamed.draft(),
      groupAliases: base.groupAliases.draft(),
      ofEntityId: base.ofEntityId.draft(),
      ofEntityName: base.ofEntityName.draft(),
      ofGroupId: base.ofGroupId.draft(),
      ofGroupName: base.ofGroupName.draft(),
    };
  }

  removePerson(person: Person): void {
    const { people, named, aliases, aliasIds, merged } = this.#maps;
    release(people, person.id, person);
    unclaim(named, lower(person.name), person);
    for (const id of person.spec.merged ?? []) release(merged, id, person);
    for (const alias of person.aliases) {
      unclaim(aliases, aliasKey(alias), person);
      release(aliasIds, alias.id, person);
    }
  }

  addPerson(person: Person): void {
    const { people, named, aliases, aliasIds, merged } = this.#maps;
    people.set(person.id, person);
    claim(named, lower(person.name), person);
    for (const id of person.spec.merged ?? []) merged.set(id, person);
    for (const alias of person.aliases) {
      claim(aliases, aliasKey(alias), person);
      aliasIds.set(alias.id, person);
    }
  }

  /** `next` is what comes in its place under the same name: members of both stay as they are. */
  removeGroup(group: Group, next: Group | null): void {
    const { groups, groupsNamed, groupAliases } = this.#maps;
    release(groups, group.id, group);
    unclaim(groupsNamed, lower(group.name), group);
    if (group.alias !== null) unclaim(groupAliases, aliasKey(group.alias), group);
    const [had, has] = [membersOf(group), keptMembers(group, next)];
    for (const kind of memberKinds) leave(this.#maps[kind], without(had[kind], has?.[kind] ?? []), group.id);
  }

  addGroup(group: Group, before: Group | null): void {
    const { groups, groupsNamed, groupAliases } = this.#maps;
    groups.set(group.id, group);
    claim(groupsNamed, lower(group.name), group);
    if (group.alias !== null) claim(groupAliases, aliasKey(group.alias), group);
    const [had, has] = [keptMembers(group, before), membersOf(group)];
    for (const kind of memberKinds) enter(this.#maps[kind], without(has[kind], had?.[kind] ?? []), group.id);
  }

  done(): Register {
    const maps = this.#maps;
    return {
      people: maps.people.done(),
      named: maps.named.done(),
      aliases: maps.aliases.done(),
      aliasIds: maps.aliasIds.done(),
      merged: maps.merged.done(),
      groups: maps.groups.done(),
      groupsNamed: maps.groupsNamed.done(),
      groupAliases: maps.groupAliases.done(),
      ofEntityId: maps.ofEntityId.done(),
      ofEntityName: maps.ofEntityName.done(),
      ofGroupId: maps.ofGroupId.done(),
      ofGroupName: maps.ofGroupName.done(),
    };
  }
}

const keptMembers = (group: Group, other: Group | null): Members | null =>
  other !== null && other.id === group.id ? membersOf(other) : null;
