// Who is who in one generation. An entity is a person or a service; a login name at a mount (an alias) leads to exactly one.
// Declared entities, by Git or by the API, stand here; a login that no declaration knows gets an entity of its own, which
// only logins.ts knows and which can be a member of groups all the same.
// Must hold: alias names arrive in their mount's one spelling; where two declarations claim an alias, Git's has it; an alias
// that the API bound stays with the mount of that accessor, and means nothing at another mount of the same path.

import type { KeyObject } from "node:crypto";
import type { Work } from "../../lib/slices.ts";
import { allGroups } from "../../policy/groups.ts";
import type { Declaration } from "../../sdk/kind.ts";
import { entityKind, groupKind } from "../kinds.ts";
import type { MountTable } from "../mounts.ts";
import type { Shelf, Table } from "../table.ts";
import {
  type Alias,
  aliasKey,
  type Bound,
  derivedId,
  type Entity,
  type EntityRecord,
  type Group,
  type GroupRecord,
  loginAlias,
  type Login,
  normalizeAlias,
  type Person,
} from "./entity.ts";

/** What follows from one declaration and the mounts alone. */
const people = new WeakMap<Declaration, { readonly mounts: MountTable; readonly person: Person }>();

export class Directory {
  readonly #key: KeyObject;
  readonly #mounts: MountTable;
  readonly #entities: Shelf;
  readonly #groupShelf: Shelf;
  readonly #byId = new Map<string, Person>();
  readonly #byName = new Map<string, Person>();
  readonly #byAlias = new Map<string, Person>();
  readonly #byAliasId = new Map<string, Person>();
  /** By the id of what was merged into it. */
  readonly #merged = new Map<string, Person>();
  readonly #groups = new Map<string, Group>();
  readonly #groupNames = new Map<string, Group>();
  readonly #groupAliases = new Map<string, Group>();
  /** Ids of the groups that an entity, or a group, is a member of. */
  readonly #direct = new Map<string, string[]>();
  readonly #parents = new Map<string, string[]>();
  readonly #whole = new Map<string, Entity>();

  private constructor(table: Table, mounts: MountTable, key: KeyObject) {
    this.#key = key;
    this.#mounts = mounts;
    this.#entities = table.shelf(entityKind.name, null);
    this.#groupShelf = table.shelf(groupKind.name, null);
  }

  static *of(table: Table, mounts: MountTable, key: KeyObject): Work<Directory> {
    const directory = new Directory(table, mounts, key);
    yield* directory.#fill();
    return directory;
  }

  /** The same of another table, with the same mounts. */
  *over(table: Table): Work<Directory> {
    const same =
      table.shelf(entityKind.name, null) === this.#entities && table.shelf(groupKind.name, null) === this.#groupShelf;
    return same ? this : yield* Directory.of(table, this.#mounts, this.#key);
  }

  *#fill(): Work<void> {
    for (const declaration of this.#entities.values()) {
      const person = this.#personOf(declaration);
      this.#byId.set(person.id, person);
      this.#byName.set(lower(person.name), person);
      for (const id of person.spec.merged ?? []) this.#merged.set(id, person);
      for (const alias of person.aliases) this.#claim(alias, person);
      yield;
    }
    for (const declaration of this.#groupShelf.values()) {
      const group = this.#groupOf(declaration);
      this.#groups.set(group.id, group);
      this.#groupNames.set(lower(group.name), group);
      if (group.alias !== null) this.#groupAliases.set(aliasKey(group.alias), group);
      yield;
    }
    for (const group of this.#groups.values()) {
      for (const id of this.#memberEntities(group)) push(this.#direct, id, group.id);
      for (const id of this.#memberGroups(group)) push(this.#parents, id, group.id);
      yield;
    }
  }

  #claim(alias: Bound, person: Person): void {
    const key = aliasKey(alias);
    const other = this.#byAlias.get(key);
    if (other?.declaration?.source && !person.declaration?.source) return;
    const lost = other?.aliases.find((one) => aliasKey(one) === key);
    if (lost !== undefined) this.#byAliasId.delete(lost.id);
    this.#byAlias.set(key, person);
    this.#byAliasId.set(alias.id, person);
  }

  #personOf(declaration: Declaration): Person {
    const known = people.get(declaration);
    if (known?.mounts === this.#mounts) return known.person;
    const { name, made } = declaration;
    const spec = declaration.spec as unknown as EntityRecord;
    const id = made?.id ?? derivedId(this.#key, "entity", name);
    const times = { created: made?.created ?? 0, changed: made?.changed ?? 0 };
    const declared = spec.aliases.flatMap((alias): readonly Bound[] => {
      const mounted = this.#mounts.at(`auth/${alias.mount.replace(/\/+$/, "")}`);
      if (mounted === null) return [];
      const bound = { accessor: mounted.accessor, name: normalizeAlias(mounted, alias.name) };
      return [{ id: derivedId(this.#key, "entity-alias", id, bound.accessor, bound.name), ...bound, ...times }];
    });
    const aliases = new Map([...declared, ...(spec.bound ?? [])].map((alias) => [aliasKey(alias), alias]));
    const person: Person = { id, name, declaration, spec, aliases: [...aliases.values()], ...times };
    people.set(declaration, { mounts: this.#mounts, person });
    return person;
  }

  #groupOf(declaration: Declaration): Group {
    const { name, made } = declaration;
    const spec = declaration.spec as unknown as GroupRecord;
    const { policies, metadata, alias = null, type = "internal" } = spec;
    const id = made?.id ?? derivedId(this.#key, "group", name);
    return { id, name, declaration, spec, policies, metadata, alias, type };
  }

  /** Of Git's groups by name, of the API's by id. */
  #memberEntities({ spec }: Group): Set<string> {
    const named = spec.member_entities.flatMap((name) => {
      const declaration = this.#entities.get(name);
      return declaration === undefined ? [] : [this.#personOf(declaration).id];
    });
    return new Set([...named, ...(spec.member_entity_ids ?? [])]);
  }

  #memberGroups({ spec }: Group): Set<string> {
    const named = spec.member_groups.flatMap((name) => {
      const declaration = this.#groupShelf.get(name);
      return declaration === undefined ? [] : [declaration.made?.id ?? derivedId(this.#key, "group", name)];
    });
    return new Set([...named, ...(spec.member_group_ids ?? []).filter((id) => this.#groups.has(id))]);
  }

  get people(): IterableIterator<Person> {
    return this.#byId.values();
  }

  get groups(): IterableIterator<Group> {
    return this.#groups.values();
  }

  person(id: string): Person | null {
    return this.#byId.get(id) ?? null;
  }

  /** Names are told apart whatever their case; the very spelling goes first. */
  personNamed(name: string): Person | null {
    const exact = this.#entities.get(name);
    return exact === undefined ? (this.#byName.get(lower(name)) ?? null) : this.#personOf(exact);
  }

  personAt(alias: Alias): Person | null {
    return this.#byAlias.get(aliasKey(alias)) ?? null;
  }

  personOfAlias(id: string): { readonly person: Person; readonly alias: Bound } | null {
    const person = this.#byAliasId.get(id);
    const alias = person?.aliases.find((one) => one.id === id);
    return person === undefined || alias === undefined ? null : { person, alias };
  }

  /** Its aliases, without those that somebody else has. */
  aliasesOf(person: Person): readonly Bound[] {
    return person.aliases.filter(({ id }) => this.#byAliasId.get(id) === person);
  }

  /** Whether it is declared, or merged into one that is. */
  knows(id: string): boolean {
    return this.#byId.has(id) || this.#merged.has(id);
  }

  /** The declared entity of that id, or the one that it was merged into. */
  holderOf(id: string): Person | null {
    return this.#byId.get(id) ?? this.#merged.get(id) ?? null;
  }

  group(id: string): Group | null {
    return this.#groups.get(id) ?? null;
  }

  groupNamed(name: string): Group | null {
    const exact = this.#groupShelf.get(name);
    const found = exact && this.#groups.get(exact.made?.id ?? derivedId(this.#key, "group", name));
    return found ?? this.#groupNames.get(lower(name)) ?? null;
  }

  groupAt(alias: Alias): Group | null {
    return this.#groupAliases.get(aliasKey(alias)) ?? null;
  }

  groupOfAlias(id: string): Group | null {
    for (const group of this.#groupAliases.values()) if (group.alias?.id === id) return group;
    return null;
  }

  /** Ids, in order. */
  members(group: Group): { readonly entities: readonly string[]; readonly groups: readonly string[] } {
    return { entities: [...this.#memberEntities(group)].sort(), groups: [...this.#memberGroups(group)].sort() };
  }

  parentsOf(group: Group): readonly string[] {
    return [...(this.#parents.get(group.id) ?? [])].sort();
  }

  /** Ids of the groups that somebody, or a group, is a member of: itself, not through other groups. */
  directOf(id: string): readonly string[] {
    return this.#direct.get(id) ?? [];
  }

  /** The group and all that it is in, at any depth. */
  above(group: Group): readonly string[] {
    return allGroups([group.id], this.#parents, (id) => this.#groups.has(id));
  }

  byAlias(alias: Alias): Entity | null {
    const person = this.personAt(alias);
    return person === null ? null : this.entity(person);
  }

  entity(person: Person): Entity {
    let entity = this.#whole.get(person.id);
    if (entity === undefined) {
      const { id, name, spec } = person;
      const bare = { id, name, disabled: spec.disabled, metadata: spec.metadata, aliases: this.aliasesOf(person) };
      entity = this.#grouped(bare, spec.policies, this.directOf(id));
      this.#whole.set(id, entity);
    }
    return entity;
  }

  /** The entity of a login that no declaration knows. */
  ofLogin(login: Login): Entity {
    const { id, name, alias } = login;
    const aliases = this.personAt(alias) === null ? [loginAlias(login)] : [];
    return this.#grouped({ id, name, disabled: false, metadata: {}, aliases }, [], this.directOf(id));
  }

  /** With the external groups that a login at a mount said of itself. */
  joined(entity: Entity, accessor: string, names: readonly string[]): Entity {
    const said = names.flatMap((name) => this.groupAt({ accessor, name })?.id ?? []);
    return said.length === 0 ? entity : this.#grouped(entity, entity.own, [...this.directOf(entity.id), ...said]);
  }

  #grouped(
    bare: Pick<Entity, "id" | "name" | "disabled" | "metadata" | "aliases">,
    own: readonly string[],
    direct: readonly string[],
  ): Entity {
    const ids = direct.length === 0 ? [] : allGroups(direct, this.#parents, (id) => this.#groups.has(id));
    const groups = ids.flatMap((id) => this.#groups.get(id) ?? []).sort((a, b) => (a.name < b.name ? -1 : 1));
    const policies = [...new Set([...own, ...groups.flatMap((group) => group.policies)])].sort();
    return { ...bare, own, policies, groups };
  }
}

const lower = (name: string): string => name.toLowerCase();

function push(map: Map<string, string[]>, key: string, value: string): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
