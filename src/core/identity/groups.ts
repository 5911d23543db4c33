// identity/group: entities, and other groups, that share policies. Members of an internal group are written; those of an
// external one come with the logins whose grant names its alias.
// Must hold: no group is a member of itself, through whatever others; what Git declares becomes no member here: its policies
// are Git's alone.
// Known gap: who is in an external group stands in the tokens of those logins, and not in its member_entity_ids.

import { VaultError } from "../../sdk/errors.ts";
import { field, type Values } from "../../sdk/fields.ts";
import { checkMetadata } from "../../sdk/metadata.ts";
import type { Route } from "../../sdk/mount.ts";
import { pageFields } from "../../sdk/page.ts";
import type { Response } from "../../sdk/request.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import { checkName, edit, groupWith, newGroup, policyNames, refuseGit, type Scene } from "./edits.ts";
import { type Group, type GroupRecord, nameAfter } from "./entity.ts";
import { loginOf } from "./find.ts";
import { honours } from "./rights.ts";
import { briefAlias, found, listed, shownGroup } from "./show.ts";

const fields = {
  id: field.string("Id of the group to change", { default: "" }),
  name: field.string("Its name; one is made up where there is none", { default: "" }),
  type: field.string("internal, or external; cannot be changed", { enum: ["internal", "external"] }),
  metadata: field.map("Facts for templated policies"),
  policies: field.strings("Policies of its members"),
  member_entity_ids: field.strings("Ids of entities"),
  member_group_ids: field.strings("Ids of groups whose members are members here"),
} as const;
type GroupData = Values<typeof fields>;
type GroupCall = CoreCall<typeof fields>;

const invalid = (text: string): VaultError => new VaultError("invalid", text);

function typeOf(data: GroupData, before: Group | null): "internal" | "external" {
  const type = data.type as Group["type"] | undefined;
  if (before !== null && type !== undefined && type !== before.type) throw invalid("group type cannot be changed");
  return before?.type ?? type ?? "internal";
}

/** Throws where one of them cannot be a member. */
function checkMembers(call: GroupCall, scene: Scene, before: Group | null): void {
  const { at } = scene;
  const had = before === null ? { entities: [], groups: [] } : at.members(before);
  for (const id of call.data.member_entity_ids ?? []) {
    const person = scene.person(id);
    if (person === null) throw invalid('invalid entity ID in "member_entity_ids"');
    if (!had.entities.includes(id)) refuseGit(call.core, person);
  }
  const above = before === null ? [] : at.above(before);
  for (const id of call.data.member_group_ids ?? []) {
    const group = at.group(id);
    if (group === null) throw invalid('invalid member group ID in "member_group_ids"');
    if (id === before?.id) throw invalid("member group ID is same as the ID of the group");
    if (above.includes(id)) throw invalid("cyclic relationship detected for member group ID");
    if (!had.groups.includes(id)) refuseGit(call.core, group);
  }
}

function changeOf(data: GroupData, type: Group["type"]): Partial<GroupRecord> {
  const { metadata, policies, member_entity_ids: entities, member_group_ids: groups } = data;
  if (metadata !== undefined) checkMetadata("metadata", metadata);
  if (type === "external" && entities !== undefined) {
    throw invalid("member entities can't be set manually for external groups");
  }
  if (type === "external" && groups !== undefined) throw invalid("member groups can't be set for external groups");
  return {
    type,
    ...(metadata !== undefined && { metadata }),
    ...(policies !== undefined && { policies: policyNames(policies) }),
    ...(entities !== undefined && { member_entity_ids: [...new Set(entities)] }),
    ...(groups !== undefined && { member_group_ids: [...new Set(groups)] }),
  };
}

function meant(scene: Scene, id: string, name: string): Group | null {
  const byId = id === "" ? null : scene.at.group(id);
  if (id !== "" && byId === null) throw invalid("invalid group ID");
  const byName = name === "" ? null : scene.at.groupNamed(name);
  if (byId !== null && byName !== null && byId.id !== byName.id) throw invalid("group name is already in use");
  return byId ?? byName;
}

async function write(call: GroupCall): Promise<Response | null> {
  const { core, data, params, request } = call;
  const id = params["id"] ?? data.id;
  const name = params["name"] ?? data.name;
  if (name !== "") checkName("name", name);
  const logins = await Promise.all((data.member_entity_ids ?? []).map((member) => loginOf(call, member)));
  const fresh = core.newId();
  let answer: Response | null = null;
  await edit(core, logins, (scene) => {
    const before = meant(scene, id, name);
    const change = changeOf(data, typeOf(data, before));
    if (before !== null) refuseGit(core, before);
    const called = before === null ? name || nameAfter("group", fresh) : id === "" ? before.name : name || before.name;
    honours(call, "group", before ?? { id: "", name: called }, "update");
    checkMembers(call, scene, before);
    answer = before === null ? { data: { id: fresh, name: called } } : null;
    if (before === null) return { put: [newGroup(fresh, called, change, request.time)], remove: [] };
    const gone = before.name === called ? [] : [before.declaration];
    return { put: [groupWith(scene.at, before, change, called)], remove: gone };
  });
  return answer;
}

async function remove(call: CoreCall, find: (scene: Scene) => Group | null): Promise<null> {
  await edit(call.core, [], (scene) => {
    const group = find(scene);
    if (group === null) return null;
    refuseGit(call.core, group);
    honours(call, "group", group, "delete");
    const { at } = scene;
    const parents = at.parentsOf(group).flatMap((id) => {
      const parent = at.group(id);
      if (parent === null || parent.declaration.source !== null) return [];
      const left = at.members(parent).groups.filter((member) => member !== group.id);
      return [groupWith(at, parent, { member_group_ids: left })];
    });
    return { put: parents, remove: [group.declaration] };
  });
  return null;
}

function list({ generation, data }: CoreCall<typeof pageFields>, key: "id" | "name"): Response {
  const { identity } = generation;
  return listed(
    [...identity.groups].map((group) => ({
      key: group[key],
      id: group.id,
      info: {
        name: group.name,
        num_member_entities: identity.members(group).entities.length,
        num_parent_groups: identity.parentsOf(group).length,
        ...(group.alias !== null && { alias: briefAlias(generation, group.alias) }),
      },
    })),
    data,
  );
}

/** In whatever spelling the request has it, the rules about it are the same. */
export function readGroup(call: CoreCall, group: Group | null): Response {
  if (group !== null) honours(call, "group", group, "read");
  return found(group === null ? null : shownGroup(call.generation, group));
}

function routesBy(key: "id" | "name", find: (at: Scene["at"], value: string) => Group | null): Route[] {
  const value = ({ params }: CoreCall): string => params[key] ?? "";
  return [
    {
      path: `group/${key}`,
      on: {
        list: coreHandler({ summary: `Groups by ${key}`, fields: pageFields, run: async (call) => list(call, key) }),
      },
    },
    {
      path: key === "id" ? "group/id/:id" : "group/name/:name*",
      on: {
        read: coreHandler({
          summary: "One group",
          run: async (call) => readGroup(call, find(call.generation.identity, value(call))),
        }),
        update: coreHandler({
          summary: "Write one group",
          fields,
          run: write,
        }),
        delete: coreHandler({
          summary: "Delete one group",
          run: (call) => remove(call, ({ at }) => find(at, value(call))),
        }),
      },
    },
  ];
}

export const groupRoutes: readonly Route[] = [
  {
    path: "group",
    on: { update: coreHandler({ summary: "Create a group, or change one", fields, run: write }) },
  },
  ...routesBy("id", (at, id) => at.group(id)),
  ...routesBy("name", (at, name) => at.groupNamed(name)),
];
