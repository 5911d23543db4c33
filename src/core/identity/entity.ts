// The words of identity: entities, their aliases, groups; as declared, and as they are seen by a request.

import type { KeyObject } from "node:crypto";
import { hmacOf } from "../../lib/hmac.ts";
import type { Declaration } from "../../sdk/kind.ts";
import type { EntitySpec, GroupSpec } from "../kinds.ts";
import type { Mounted } from "../mounts.ts";

/** A login name at a mount. */
export interface Alias {
  readonly accessor: string;
  readonly name: string;
}

/** An alias as an object of its own. */
export interface Bound extends Alias {
  readonly id: string;
  readonly custom_metadata?: Readonly<Record<string, string>>;
  /** Ids of the entities that it was of before they were merged. */
  readonly merged_from?: readonly string[];
  /** Milliseconds since 1970. */
  readonly created: number;
  readonly changed: number;
}

/** The spec of an Entity: what only the API writes beside what documents say. */
export type EntityRecord = EntitySpec & {
  readonly bound?: readonly Bound[];
  /** Ids of entities that were merged into it: their tokens are its own. */
  readonly merged?: readonly string[];
};

export type GroupRecord = GroupSpec & {
  readonly type?: "internal" | "external";
  readonly member_entity_ids?: readonly string[];
  readonly member_group_ids?: readonly string[];
  readonly alias?: Bound | null;
};

/** An entity as declared. */
export interface Person {
  readonly id: string;
  readonly name: string;
  /** Null for one that a login made, as long as nobody wrote it. */
  readonly declaration: Declaration | null;
  readonly spec: EntityRecord;
  readonly aliases: readonly Bound[];
  /** Milliseconds since 1970. */
  readonly created: number;
  readonly changed: number;
}

export interface Group {
  readonly id: string;
  readonly name: string;
  readonly declaration: Declaration;
  readonly spec: GroupRecord;
  readonly type: "internal" | "external";
  readonly policies: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly alias: Bound | null;
}

/** An entity as a request sees it. */
export interface Entity {
  readonly id: string;
  readonly name: string;
  readonly disabled: boolean;
  readonly metadata: Readonly<Record<string, string>>;
  readonly aliases: readonly Bound[];
  /** Its own policies. */
  readonly own: readonly string[];
  /** Its own policies and those of its groups, groups of groups included; sorted, each once. */
  readonly policies: readonly string[];
  readonly groups: readonly Group[];
}

/** The entity that a login made for itself. */
export interface Login {
  readonly id: string;
  readonly name: string;
  readonly alias: Alias;
  /** How many of this alias there were before. */
  readonly number: number;
  /** Milliseconds since 1970. */
  readonly created: number;
}

export const aliasKey = ({ accessor, name }: Alias): string => `${accessor}\n${name}`;

/** A UUID that follows from the vault's key and the words (its version is 5, after RFC 9562). */
export function derivedId(key: KeyObject, ...words: readonly string[]): string {
  const hex = hmacOf(key).hex(words.join("\n"));
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** A name for what nobody named: no two of one kind have the same, because a template may stand for it. */
export const nameAfter = (kind: "entity" | "group", id: string): string =>
  `${kind}_${id.slice(0, 8)}${id.slice(9, 13)}${id.slice(15, 18)}`;

const versionAt = 14;

/** Its id is that of its entity with another version, so that either leads to the other without an index. */
export const loginAlias = ({ id, alias, created }: Login): Bound => ({
  id: `${id.slice(0, versionAt)}8${id.slice(versionAt + 1)}`,
  ...alias,
  created,
  changed: created,
});

/** The id of the login's entity that an alias of this id would be of. */
export const ownerOfAlias = (id: string): string | null =>
  id[versionAt] === "8" ? `${id.slice(0, versionAt)}5${id.slice(versionAt + 1)}` : null;

/** A login's entity as the declaration that the first write makes of it. */
export function personOf(login: Login, aliases: readonly Bound[] = [loginAlias(login)]): Person {
  const spec: EntityRecord = { aliases: [], policies: [], metadata: {}, disabled: false, bound: aliases };
  const { id, name, created } = login;
  return { id, name, declaration: null, spec, aliases, created, changed: created };
}

/** The one spelling of a login name at a mount. */
export function normalizeAlias(mounted: Mounted, name: string): string {
  if (mounted.plugin === null) return name.trim().toLowerCase(); // tokens of roles
  const normalize = mounted.plugin.resources.find((resource) => resource.normalize)?.normalize;
  return normalize ? normalize(name) : name;
}
