// Who is who in one generation. An entity is a person or a service; a login name at a mount (an alias) leads to exactly one.
// Declared entities, by Git or by the API, stand here; a login that no declaration knows gets an entity of its own, which
// only logins.ts knows and which can be a member of groups all the same.
// Must hold: alias names arrive in their mount's one spelling; where two declarations claim an alias, Git's has it; an alias
// that the API bound stays with the mount of that accessor, and means nothing at another mount of the same path. A directory
// never changes, and is the same whether it was made anew or by whatever changes of others.

import type { KeyObject } from "node:crypto";
import type { Work } from "../../lib/slices.ts";
import { allGroups } from "../../policy/groups.ts";
import type { Declaration } from "../../sdk/kind.ts";
import { entityKind, groupKind } from "../kinds.ts";
import type { MountTable } from "../mounts.ts";
import { noShelf, type Shelf, type Table } from "../table.ts";
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
import { emptyRegister, lower, type Register, RegisterDraft } from "./register.ts";

/** What follows from one declaration and the mounts alone. */
const people = new WeakMap<Declaration, { readonly mounts: MountTable; readonly person: Person }>();

interface Parts {
  readonly key: KeyObject;
  readonly mounts: MountTable;
  readonly entities: Shelf;
  readonly groups: Shelf;
  readonly register: Register;
}

export class Directory {
  readonly #key: KeyObject;
  readonly #mounts: MountTable;
  readonly #entities: Shelf;
  readonly #groupShelf: Shelf;
  readonly #register: Register;
  readonly #whole = new Map<string, Entity>();
  readonly #parents = { get: (id: string): readonly string[] => this.#parentsOf(id) };
  /** The last that was made from this one: it is a shorter way to the next. Whoever holds this one does not hold that. */
  #after: WeakRef<Directory> | null = null;

  private constructor({ key, mounts, entities, groups, register }: Parts) {
    this.#key = key;
    this.#mounts = mounts;
    this.#entities = entities;
    this.#groupShelf = groups;
    this.#register = register;
  }

  static *of(table: Table, mounts: MountTable, key: KeyObject): Work<Directory> {
    const none = new Directory({ key, mounts, entities: noShelf, groups: noShelf, register: emptyRegister });
    return yield* none.#next(table);
  }

  /** The same of another table, with the same mounts. */
  *over(table: Table): Work<Directory> {
    if (this.#isOf(table)) return this;
    const before = this.#after?.deref() ?? this;
    const after = before.#isOf(table) ? before : yield* before.#next(table);
    this.#after = new WeakRef(after);
    return after;
  }

  #isOf(table: Table): boolean {
    return (
      table.shelf(entityKind.name, null) === this.#entities && table.shelf(groupKind.name, null) === this.#groupShelf
    );
  }

  *#next(table: Table): Work<Directory> {
    const entities = table.shelf(entityKind.name, null);
    const groups = table.shelf(groupKind.name, null);
    const changedPeople = yield* this.#entities.changed(entities);
    const changedGroups = yield* this.#groupShelf.changed(groups);
    const draft = new RegisterDraft(this.#register);
    const pairs = changedGroups.map(
      (name) => [this.#groupIn(this.#groupShelf, name), this.#groupIn(groups, name)] as const,
    );
    for (const name of changedPeople) {
      const before = this.#entities.get(name);
      if (before !== undefined) draft.removePerson(this.#personOf(before));
      yield;
    }
    for (const [before, after] of pairs) {
      if (before !== null) draft.removeGroup(before, after);
      yield;
    }
    for (const name of changedPeople) {
      const after = entities.get(name);
      if (after !== undefined) draft.addPerson(this.#personOf(after));
      yield;
    }
    for (const [before, after] of pairs) {
      if (after !== null) draft.addGroup(after, before);
      yield;
    }
    return new Directory({ key: this.#key, mounts: this.#mounts, entities, groups, register: draft.done() });
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

  #groupIn(shelf: Shelf, called: string): Group | null {
    const declaration = shelf.get(called);
    if (declaration === undefined) return null;
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
      const group = this.groupNamed(name);
      return group?.name === name ? [group.id] : [];
    });
    return new Set([...named, ...(spec.member_group_ids ?? []).filter((id) => this.#register.groups.has(id))]);
  }

  get people(): Iterable<Person> {
    return this.#register.people.values();
  }

  get groups(): Iterable<Group> {
    return this.#register.groups.values();
  }

  person(id: string): Person | null {
    return this.#register.people.get(id) ?? null;
  }

  /** Names are told apart whatever their case; the very spelling goes first. */
  personNamed(name: string): Person | null {
    return called(this.#register.named.get(lower(name)), name);
  }

  personAt(alias: Alias): Person | null {
    return this.#register.aliases.get(aliasKey(alias))?.[0] ?? null;
  }

  personOfAlias(id: string): { readonly person: Person; readonly alias: Bound } | null {
    const person = this.#register.aliasIds.get(id);
    const alias = person?.aliases.find((one) => one.id === id);
    return person === undefined || alias === undefined || !this.#has(person, alias) ? null : { person, alias };
  }

  /** Its aliases, without those that somebody else has. */
  aliasesOf(person: Person): readonly Bound[] {
    return person.aliases.filter((alias) => this.#has(person, alias));
  }

  #has(person: Person, alias: Alias): boolean {
    return this.personAt(alias)?.declaration === person.declaration;
  }

  /** Whether it is declared, or merged into one that is. */
  knows(id: string): boolean {
    return this.#register.people.has(id) || this.#register.merged.has(id);
  }

  /** The declared entity of that id, or the one that it was merged into. */
  holderOf(id: string): Person | null {
    return this.#register.people.get(id) ?? this.#register.merged.get(id) ?? null;
  }

  group(id: string): Group | null {
    return this.#register.groups.get(id) ?? null;
  }

  groupNamed(name: string): Group | null {
    return called(this.#register.groupsNamed.get(lower(name)), name);
  }

  groupAt(alias: Alias): Group | null {
    return this.#register.groupAliases.get(aliasKey(alias))?.[0] ?? null;
  }

  groupOfAlias(id: string): Group | null {
    for (const [group] of this.#register.groupAliases.values()) if (group?.alias?.id === id) return group;
    return null;
  }

  /** Ids, in order. */
  members(group: Group): { readonly entities: readonly string[]; readonly groups: readonly string[] } {
    return { entities: [...this.#memberEntities(group)].sort(), groups: [...this.#memberGroups(group)].sort() };
  }

  parentsOf(group: Group): readonly string[] {
    return this.#parentsOf(group.id);
  }

  #parentsOf(id: string): readonly string[] {
    const { groups, ofGroupId, ofGroupName } = this.#register;
    const group = groups.get(id);
    return union(ofGroupId.get(id), group && ofGroupName.get(group.name));
  }

  /** Ids of the groups that somebody, or a group, is a member of: itself, not through other groups. In order. */
  directOf(id: string): readonly string[] {
    const { people: known, ofEntityId, ofEntityName } = this.#register;
    const person = known.get(id);
    return union(ofEntityId.get(id), person && ofEntityName.get(person.name));
  }

  /** The group and all that it is in, at any depth. */
  above(group: Group): readonly string[] {
    return this.#groupsOver([group.id]);
  }

  #groupsOver(ids: readonly string[]): readonly string[] {
    return ids.length === 0 ? ids : allGroups(ids, this.#parents, (id) => this.#register.groups.has(id));
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
    const groups = this.#groupsOver(direct)
      .flatMap((id) => this.group(id) ?? [])
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    const policies = [...new Set([...own, ...groups.flatMap((group) => group.policies)])].sort();
    return { ...bare, own, policies, groups };
  }
}

/** The one of this very spelling, or else the first. */
function called<T extends { readonly name: string }>(all: readonly T[] | undefined, name: string): T | null {
  if (all === undefined) return null;
  for (const one of all) if (one.name === name) return one;
  return all[0] ?? null;
}

/** Of sorted lists. */
function union(some: readonly string[] = [], others: readonly string[] = []): readonly string[] {
  if (others.length === 0) return some;
  return some.length === 0 ? others : [...new Set([...some, ...others])].sort();
}
