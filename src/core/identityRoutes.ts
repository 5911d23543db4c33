// identity/: entities and groups as declared (by Git or here), and those that logins made.

import { VaultError } from "../sdk/errors.ts";
import { type Fields, parse } from "../sdk/fields.ts";
import type { Declaration } from "../sdk/kind.ts";
import type { Route } from "../sdk/mount.ts";
import type { Response } from "../sdk/request.ts";
import { type CoreCall, coreHandler } from "./call.ts";
import type { Entity, Group } from "./identity.ts";
import { entityFields, entityKind, groupFields, groupKind, type GroupSpec } from "./kinds.ts";
import { refuseManaged, specOf } from "./resources.ts";

const shownEntity = (call: CoreCall, entity: Entity): Record<string, unknown> => ({
  id: entity.id,
  name: entity.name,
  aliases: entity.aliases.map((alias) => ({
    mount_accessor: alias.accessor,
    mount_path: call.generation.mounts.byAccessor(alias.accessor)?.path ?? "",
    mount_type: call.generation.mounts.byAccessor(alias.accessor)?.type ?? "",
    name: alias.name,
    canonical_id: entity.id,
  })),
  policies: call.generation.table.get("Entity", null, entity.name)?.spec["policies"] ?? [],
  metadata: entity.metadata,
  disabled: entity.disabled,
  group_ids: entity.groups.map((group) => group.id),
  direct_group_ids: entity.groups
    .filter((group) => call.generation.identity.groups.get(group.name)?.member_entities.includes(entity.name))
    .map((group) => group.id),
  namespace_id: "root",
});

const shownGroup = (call: CoreCall, group: Group & GroupSpec): Record<string, unknown> => ({
  id: group.id,
  name: group.name,
  type: "internal",
  policies: group.policies,
  metadata: group.metadata,
  member_entity_ids: group.member_entities.flatMap((name) => call.generation.identity.byName(name)?.id ?? []),
  member_group_ids: group.member_groups.flatMap((name) => call.generation.identity.groups.get(name)?.id ?? []),
  namespace_id: "root",
});

const found = (data: Record<string, unknown> | null): Response => {
  if (data === null) throw new VaultError("not_found", []);
  return { data };
};

async function entityById(call: CoreCall, id: string): Promise<Record<string, unknown> | null> {
  const declared = call.generation.identity.byId(id);
  const entity = declared ?? (await call.core.logins.get(id));
  return entity === null ? null : shownEntity(call, entity);
}

async function write(call: CoreCall, kind: "Entity" | "Group", fields: Fields): Promise<Response> {
  const name = call.params["name"] ?? "";
  const owner = kind === "Entity" ? entityKind : groupKind;
  await call.core.ledger.edit((table) => {
    const before = table.get(kind, null, name);
    refuseManaged(call.core.generation, before, `${kind} ${name}`);
    const { spec } = specOf(fields, parse(fields, call.data, { partial: true }).values, before);
    const declaration: Declaration = { kind, mount: null, name, metadata: { name }, spec, secrets: {}, source: null };
    for (const fault of owner.check?.(declaration) ?? []) throw new VaultError("invalid", fault.message);
    return { put: [declaration], remove: [] };
  });
  const { identity } = call.core.generation;
  const id = kind === "Entity" ? identity.byName(name)?.id : identity.groups.get(name)?.id;
  return { data: { id: id ?? "", name, aliases: null } };
}

async function remove(call: CoreCall, kind: "Entity" | "Group"): Promise<null> {
  const name = call.params["name"] ?? "";
  await call.core.ledger.edit((table) => {
    const before = table.get(kind, null, name);
    refuseManaged(call.core.generation, before, `${kind} ${name}`);
    return { put: [], remove: before === null ? [] : [before] };
  });
  return null;
}

const optional = (fields: Fields): Fields =>
  Object.fromEntries(
    Object.entries(fields).map(([name, entry]) => {
      const { default: _default, required: _required, ...rest } = entry;
      return [name, rest];
    }),
  );

const keys = (names: readonly string[]): Response => {
  if (names.length === 0) throw new VaultError("not_found", []);
  return { data: { keys: [...names].sort() } };
};

function named(
  kind: "Entity" | "Group",
  fields: Fields,
  show: (call: CoreCall) => Record<string, unknown> | null,
): Route[] {
  const folder = kind.toLowerCase();
  return [
    {
      path: `${folder}/name`,
      on: {
        list: coreHandler({
          summary: `Names of ${folder} declarations`,
          run: async (call) => keys([...call.generation.table.shelf(kind, null).keys()]),
        }),
      },
    },
    {
      path: `${folder}/name/:name`,
      on: {
        read: coreHandler({ summary: `One ${folder}`, run: async (call) => found(show(call)) }),
        update: coreHandler({
          summary: `Write one ${folder}`,
          fields: optional(fields),
          run: (call) => write(call as CoreCall, kind, fields),
        }),
        delete: coreHandler({ summary: `Delete one ${folder}`, run: (call) => remove(call, kind) }),
      },
    },
  ];
}

export const identityRoutes: readonly Route[] = [
  ...named("Entity", entityFields, (call) => {
    const entity = call.generation.identity.byName(call.params["name"] ?? "");
    return entity === null ? null : shownEntity(call, entity);
  }),
  ...named("Group", groupFields, (call) => {
    const group = call.generation.identity.groups.get(call.params["name"] ?? "");
    return group === undefined ? null : shownGroup(call, group);
  }),
  {
    path: "entity/id",
    on: {
      list: coreHandler({
        summary: "Ids of all entities",
        run: async (call) => {
          const declared = [...call.generation.identity.entities].map((entity) => entity.id);
          return keys([...new Set([...declared, ...(await call.core.logins.list())])]);
        },
      }),
    },
  },
  {
    path: "entity/id/:id",
    on: {
      read: coreHandler({
        summary: "One entity",
        run: async (call) => found(await entityById(call, call.params["id"] ?? "")),
      }),
    },
  },
  {
    path: "group/id",
    on: {
      list: coreHandler({
        summary: "Ids of all groups",
        run: async (call) => keys([...call.generation.identity.groups.values()].map((group) => group.id)),
      }),
    },
  },
  {
    path: "group/id/:id",
    on: {
      read: coreHandler({
        summary: "One group",
        run: async (call) => {
          const group = [...call.generation.identity.groups.values()].find((one) => one.id === call.params["id"]);
          return found(group === undefined ? null : shownGroup(call, group));
        },
      }),
    },
  },
];
