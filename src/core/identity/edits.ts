// How the identity routes write: one edit of the ledger, drafted against the table as it is by then. A login's entity that is
// written becomes a declaration with the same id.
// Must hold: what Git declares is refused, whatever route leads to it; a login's entity is not ended while it is written.

import type { Exact } from "../../lib/exact.ts";
import type { Work } from "../../lib/slices.ts";
import { VaultError } from "../../sdk/errors.ts";
import type { Declaration, Made } from "../../sdk/kind.ts";
import { isRoot } from "../../sdk/resourceKind.ts";
import type { Core } from "../core.ts";
import { entityKind, groupKind } from "../kinds.ts";
import type { Edit } from "../ledger.ts";
import { refuseManaged } from "../resources.ts";
import type { Directory } from "./directory.ts";
import {
  type Alias,
  aliasKey,
  type Bound,
  type EntityRecord,
  type Group,
  type GroupRecord,
  type Login,
  type Person,
  personOf,
} from "./entity.ts";

/** Entities at the moment of an edit: declared ones as the table has them, others as their login made them. */
export class Scene {
  readonly at: Directory;
  readonly #people: readonly Person[];

  constructor(at: Directory, logins: readonly Login[]) {
    this.at = at;
    this.#people = logins
      .filter(({ id }) => !at.knows(id))
      .map((login) => personOf(login, at.personAt(login.alias) === null ? undefined : []));
  }

  person(id: string): Person | null {
    return this.at.person(id) ?? this.#people.find((one) => one.id === id) ?? null;
  }

  named(name: string): Person | null {
    const wanted = name.toLowerCase();
    return this.at.personNamed(name) ?? this.#people.find((one) => one.name === wanted) ?? null;
  }

  holderOf(alias: Alias): { readonly person: Person; readonly alias: Bound } | null {
    const declared = this.at.personAt(alias);
    return this.#find(declared === null ? this.#people : [declared], (one) => aliasKey(one) === aliasKey(alias));
  }

  ownerOf(aliasId: string): { readonly person: Person; readonly alias: Bound } | null {
    return this.at.personOfAlias(aliasId) ?? this.#find(this.#people, ({ id }) => id === aliasId);
  }

  #find(
    people: readonly Person[],
    matches: (alias: Bound) => boolean,
  ): { readonly person: Person; readonly alias: Bound } | null {
    for (const person of people) {
      const alias = person.aliases.find(matches);
      if (alias !== undefined) return { person, alias };
    }
    return null;
  }
}

const unchanged = Symbol("unchanged");

/** `logins` are the entities of logins that the edit may be about. `draft` gives null where there is nothing to change; it may
 *  be run more than once. */
export async function edit<E extends Edit | null>(
  core: Core,
  logins: readonly (Login | null)[],
  draft: (scene: Scene) => E,
  ..._exact: Exact<E, Edit>
): Promise<void> {
  const run = async (held: readonly Login[]): Promise<void> => {
    await core.ledger.edit(function* (table): Work<Edit> {
      const drafted = draft(new Scene(yield* core.generation.identity.over(table), held));
      // oxlint-disable-next-line typescript/only-throw-error -- no error: it leads out of the ledger without a generation
      if (drafted === null) throw unchanged;
      return drafted;
    });
  };
  const ids = logins.flatMap((login) => login?.id ?? []);
  try {
    await (ids.length === 0 ? run([]) : core.logins.hold(ids, run));
  } catch (error) {
    if (error !== unchanged) throw error;
  }
}

export const refuseGit = (core: Core, what: Person | Group): void =>
  refuseManaged(core.generation, what.declaration, `${what.declaration?.kind ?? ""} ${what.name}`);

const declared = (
  kind: string,
  name: string,
  spec: EntityRecord | GroupRecord,
  made: Made | undefined,
): Declaration => ({
  kind,
  mount: null,
  name,
  metadata: { name },
  spec: spec as unknown as Declaration["spec"],
  secrets: {},
  source: null,
  ...(made !== undefined && { made }),
});

const madeOf = ({ id, created, declaration }: Person): Made =>
  declaration?.made ?? { id, created, changed: created, changes: 0 };

/** The entity with `change`, under another name where one is given; what stood under the old name is to be removed. */
export const entityWith = (person: Person, change: Partial<EntityRecord>, name = person.name): Declaration =>
  declared(entityKind.name, name, { ...person.spec, aliases: [], bound: person.aliases, ...change }, madeOf(person));

export const newPerson = (id: string, name: string, now: number): Person => ({
  id,
  name,
  declaration: null,
  spec: { aliases: [], policies: [], metadata: {}, disabled: false },
  aliases: [],
  created: now,
  changed: now,
});

export const newGroup = (id: string, name: string, spec: Partial<GroupRecord>, now: number): Declaration =>
  declared(
    groupKind.name,
    name,
    { policies: [], metadata: {}, member_entities: [], member_groups: [], ...spec },
    { id, created: now, changed: now, changes: 0 },
  );

/** A group of the API with `change`: its members by id. */
export function groupWith(at: Directory, group: Group, change: Partial<GroupRecord>, name = group.name): Declaration {
  const { entities, groups } = at.members(group);
  const members = { member_entities: [], member_groups: [], member_entity_ids: entities, member_group_ids: groups };
  const made = group.declaration.made ?? { id: group.id, created: 0, changed: 0, changes: 0 };
  return declared(groupKind.name, name, { ...group.spec, ...members, ...change }, made);
}

/** The API's groups without these entities, with `other` in their place where it is given. */
export function groupsWithout(at: Directory, ids: ReadonlySet<string>, other?: string): readonly Declaration[] {
  const found = new Set([...ids].flatMap((id) => at.directOf(id)));
  return [...found].flatMap((id) => {
    const group = at.group(id);
    if (group === null || group.declaration.source !== null) return [];
    const left = at.members(group).entities.filter((member) => !ids.has(member));
    const members = other === undefined || left.includes(other) ? left : [...left, other];
    return [groupWith(at, group, { member_entity_ids: members })];
  });
}

const visible = /^(?!\s)[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]{1,255}(?<!\s)$/u;

export function checkName(field: string, name: string): void {
  if (!visible.test(name) || name.startsWith("/") || name.endsWith("/")) {
    throw new VaultError(
      "invalid",
      `"${field}" has 1 to 255 characters, no blank or slash at the ends, nothing invisible`,
    );
  }
}

/** As policies are called: lower case, each once, in order. `root` is refused, however it is spelled. */
export function policyNames(names: readonly string[]): readonly string[] {
  const plain = new Set(names.map((name) => name.trim().toLowerCase()).filter(Boolean));
  if (names.some(isRoot)) throw new VaultError("invalid", "policies cannot contain root");
  return [...plain].sort();
}
