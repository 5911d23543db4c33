// Who is who. An entity is a person or a service; a login name at a mount (an alias) leads to exactly one.
// Declared entities (Git or API) stand in the generation. A login that no declaration knows gets an entity whose id
// follows from the alias alone, so that two first logins at the same time are one person without a lock.
// Must hold: alias names arrive in their mount's one spelling; a declared alias wins over the derived entity from the
// next request on, for tokens that exist already too.

import { createHmac, type KeyObject } from "node:crypto";
import { allGroups } from "../policy/groups.ts";
import type { Work } from "../lib/slices.ts";
import type { View } from "../sdk/view.ts";
import type { EntitySpec, GroupSpec } from "./kinds.ts";
import type { MountTable } from "./mounts.ts";
import type { Table } from "./table.ts";

export interface Alias {
  readonly accessor: string;
  readonly name: string;
}

export interface Group {
  readonly id: string;
  readonly name: string;
}

export interface Entity {
  readonly id: string;
  readonly name: string;
  readonly disabled: boolean;
  readonly metadata: Readonly<Record<string, string>>;
  readonly aliases: readonly Alias[];
  /** Its own policies and those of its groups, groups of groups included; sorted, each once. */
  readonly policies: readonly string[];
  readonly groups: readonly Group[];
}

const aliasKey = (alias: Alias): string => `${alias.accessor}\n${alias.name}`;

/** A UUID that follows from the vault's key and the words. */
export function derivedId(key: KeyObject, ...words: readonly string[]): string {
  const hex = createHmac("sha256", key).update(words.join("\n")).digest("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** The entities and groups of one generation. */
export class IdentityIndex {
  readonly #byAlias = new Map<string, Entity>();
  readonly #byName = new Map<string, Entity>();
  readonly #byId = new Map<string, Entity>();
  readonly groups = new Map<string, Group & GroupSpec>();

  static *of(table: Table, mounts: MountTable, key: KeyObject): Work<IdentityIndex> {
    const index = new IdentityIndex();
    yield* index.#fill(table, mounts, key);
    return index;
  }

  *#fill(table: Table, mounts: MountTable, key: KeyObject): Work<void> {
    for (const declaration of table.shelf("Group", null).values()) {
      const spec = declaration.spec as unknown as GroupSpec;
      this.groups.set(declaration.name, {
        ...spec,
        id: derivedId(key, "group", declaration.name),
        name: declaration.name,
      });
      yield;
    }
    const direct = new Map<string, string[]>();
    const parents = new Map<string, string[]>();
    for (const group of this.groups.values()) {
      for (const name of group.member_entities) push(direct, name, group.name);
      for (const name of group.member_groups) push(parents, name, group.name);
    }
    for (const declaration of table.shelf("Entity", null).values()) {
      const spec = declaration.spec as unknown as EntitySpec;
      const groups = allGroups(direct.get(declaration.name) ?? [], parents, (name) => this.groups.has(name)).flatMap(
        (name) => this.groups.get(name) ?? [],
      );
      const aliases = spec.aliases.flatMap((alias) => {
        const mounted = mounts.at(`auth/${alias.mount.replace(/\/+$/, "")}`);
        if (mounted === null) return [];
        const normalize = mounted.plugin?.resources.find((resource) => resource.normalize)?.normalize;
        return [{ accessor: mounted.accessor, name: normalize ? normalize(alias.name) : alias.name }];
      });
      const policies = new Set([...spec.policies, ...groups.flatMap((group) => group.policies)]);
      const entity: Entity = {
        id: derivedId(key, "entity", declaration.name),
        name: declaration.name,
        disabled: spec.disabled,
        metadata: spec.metadata,
        aliases,
        policies: [...policies].sort(),
        groups,
      };
      this.#byName.set(entity.name, entity);
      this.#byId.set(entity.id, entity);
      for (const alias of aliases) this.#byAlias.set(aliasKey(alias), entity);
      yield;
    }
  }

  /** Null where no declaration has it. */
  byAlias(alias: Alias): Entity | null {
    return this.#byAlias.get(aliasKey(alias)) ?? null;
  }

  byName(name: string): Entity | null {
    return this.#byName.get(name) ?? null;
  }

  byId(id: string): Entity | null {
    return this.#byId.get(id) ?? null;
  }

  get entities(): IterableIterator<Entity> {
    return this.#byName.values();
  }
}

function push(map: Map<string, string[]>, key: string, value: string): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

/** Entities that logins made: remembered so that they can be listed and named. */
export class Logins {
  readonly #view: View;
  readonly #key: KeyObject;
  readonly #known = new Set<string>();

  constructor(view: View, key: KeyObject) {
    this.#view = view;
    this.#key = key;
  }

  /** The entity that an undeclared alias is. */
  derive(alias: Alias): Entity {
    const id = derivedId(this.#key, "alias", alias.accessor, alias.name);
    return {
      id,
      name: `entity_${id.slice(0, 8)}`,
      disabled: false,
      metadata: {},
      aliases: [alias],
      policies: [],
      groups: [],
    };
  }

  /** Derives and records it. */
  async record(alias: Alias, at: number): Promise<Entity> {
    const entity = this.derive(alias);
    if (this.#known.has(entity.id)) return entity;
    if ((await this.#view.get(`entity/${entity.id}`)) === null) {
      await this.#view.write([
        {
          key: `entity/${entity.id}`,
          value: { id: entity.id, name: entity.name, aliases: [{ ...alias }], created: at },
        },
      ]);
    }
    if (this.#known.size >= 100_000) this.#known.clear();
    this.#known.add(entity.id);
    return entity;
  }

  async get(id: string): Promise<Entity | null> {
    const entry = await this.#view.getJson<{ aliases: readonly Alias[] }>(`entity/${id}`);
    const alias = entry?.value.aliases[0];
    return alias === undefined ? null : this.derive(alias);
  }

  list(): Promise<readonly string[]> {
    return this.#view.list("entity/");
  }
}
