// What only all documents of a commit together show of identity: a login that two entities claim, a group that is a member of
// itself. Either would leave it to chance what somebody may.

import type { Declaration, Documents, Fault } from "../../sdk/kind.ts";
import type { MountPlugin } from "../../sdk/mount.ts";
import type { EntitySpec, GroupSpec } from "../kinds.ts";

const trim = (path: string): string => path.replace(/^\/+|\/+$/g, "");

/** Names have their mount's one spelling, where the documents say of what type the mount is. */
function spelling(all: Documents, plugins: readonly MountPlugin[]): (mount: string, name: string) => string {
  const spell = new Map<string, (name: string) => string>();
  for (const { kind, name, spec } of all.declarations) {
    if (kind !== "AuthMethod") continue;
    const plugin = plugins.find((each) => each.class === "auth" && each.type === spec["type"]);
    const normalize = plugin?.resources.find((resource) => resource.normalize)?.normalize;
    const path = spec["path"];
    if (normalize !== undefined) spell.set(trim(typeof path === "string" ? path : name), normalize);
  }
  return (mount, name) => spell.get(mount)?.(name) ?? name;
}

interface World {
  /** The first that has a login. */
  readonly owners: ReadonlyMap<string, Declaration>;
  readonly keyOf: (alias: EntitySpec["aliases"][number]) => string;
}

function worldOf(all: Documents, plugins: readonly MountPlugin[]): World {
  const spelled = spelling(all, plugins);
  const keyOf: World["keyOf"] = ({ mount, name }) => `${trim(mount)}\n${spelled(trim(mount), name)}`;
  const owners = new Map<string, Declaration>();
  for (const declaration of all.declarations) {
    if (declaration.kind !== "Entity") continue;
    for (const alias of (declaration.spec as unknown as EntitySpec).aliases) {
      const key = keyOf(alias);
      if (!owners.has(key)) owners.set(key, declaration);
    }
  }
  return { owners, keyOf };
}

/** Every login is of one entity. */
export function proveEntity(
  plugins: readonly MountPlugin[],
): (entity: Declaration, all: Documents) => readonly Fault[] {
  const worlds = new WeakMap<Documents, World>();
  return (entity, all) => {
    let world = worlds.get(all);
    if (world === undefined) worlds.set(all, (world = worldOf(all, plugins)));
    const { owners, keyOf } = world;
    return (entity.spec as unknown as EntitySpec).aliases.flatMap((alias, at): readonly Fault[] => {
      const owner = owners.get(keyOf(alias)) ?? entity;
      if (owner === entity) return [];
      const message = `this login is that of Entity ${JSON.stringify(owner.name)} already; a login is one person or service`;
      return [{ path: ["aliases", at, "name"], message }];
    });
  };
}

/** No group is a member of itself, through whatever others. */
export function proveGroup(group: Declaration, all: Documents): readonly Fault[] {
  const membersOf = (name: string): readonly string[] =>
    (all.get("Group", null, name)?.spec as unknown as GroupSpec | undefined)?.member_groups ?? [];
  return membersOf(group.name).flatMap((member, at): readonly Fault[] => {
    const seen = new Set([member]);
    for (const name of seen) for (const each of membersOf(name)) seen.add(each);
    if (!seen.has(group.name)) return [];
    return [{ path: ["member_groups", at], message: "by this the group is a member of itself" }];
  });
}
