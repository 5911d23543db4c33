// identity/group-alias: by which name at a mount the logins there are in an external group.
// Must hold: a name at a mount is one group; whoever binds, moves or takes away an alias may write the groups that it is about.

import { VaultError } from "../../sdk/errors.ts";
import { field } from "../../sdk/fields.ts";
import type { Route } from "../../sdk/mount.ts";
import { pageFields } from "../../sdk/page.ts";
import type { Response } from "../../sdk/request.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import type { Edit } from "../ledger.ts";
import { checkName, edit, groupWith, newGroup, refuseGit, type Scene } from "./edits.ts";
import { type Bound, type Group, nameAfter } from "./entity.ts";
import { sameAlias } from "./find.ts";
import { needs } from "./rights.ts";
import { found, listed, listedAlias, shownAlias } from "./show.ts";

const fields = {
  id: field.string("Id of the alias to change", { default: "" }),
  name: field.string("Name of the group at the mount", { default: "" }),
  mount_accessor: field.string("Accessor of the auth method", { default: "" }),
  canonical_id: field.string("Id of the group; a new one where there is none", { default: "" }),
} as const;
type AliasCall = CoreCall<typeof fields>;

const invalid = (text: string): VaultError => new VaultError("invalid", text);

interface Drafted {
  readonly edit: Edit;
  readonly owner: string;
}

function ownerOf(call: AliasCall, scene: Scene): Group | null {
  const { canonical_id: id } = call.data;
  if (id === "") return null;
  const group = scene.at.group(id);
  if (group === null) throw invalid("invalid group ID given in 'canonical_id'");
  if (group.type !== "external") throw invalid("alias can't be set on an internal group");
  return group;
}

/** The alias at its group, which is `before` where it has one and no other is named; null where nothing changes. */
function draft(call: AliasCall, scene: Scene, before: Group | null, alias: Bound, fresh: string): Drafted | null {
  const { core, request } = call;
  const { at } = scene;
  const owner = ownerOf(call, scene) ?? before;
  if (before !== null && owner === before && before.alias !== null && sameAlias(before.alias, alias)) return null;
  const other = at.groupAt(alias);
  if (other !== null && other.alias?.id !== alias.id) {
    throw invalid("combination of mount and group alias name is already in use");
  }
  for (const group of new Set([before, owner])) {
    if (group === null) continue;
    refuseGit(core, group);
    needs(call, "group", group, "update");
  }
  if (owner === null) {
    const group = newGroup(fresh, nameAfter("group", fresh), { type: "external", alias }, request.time);
    return { edit: { put: [group], remove: [] }, owner: fresh };
  }
  const put = [groupWith(at, owner, { alias })];
  if (before !== null && before !== owner) put.push(groupWith(at, before, { alias: null }));
  return { edit: { put, remove: [] }, owner: owner.id };
}

async function write(call: AliasCall): Promise<Response | null> {
  const { core, data, params, request } = call;
  const id = params["id"] ?? data.id;
  const { name, mount_accessor: accessor } = data;
  if (id !== "" && call.generation.identity.groupOfAlias(id) === null) throw invalid("invalid group alias ID");
  if (name === "") throw invalid("missing alias name");
  if (accessor === "") throw invalid("missing mount_accessor");
  checkName("name", name);
  const fresh = [core.newId(), core.newId()] as const;
  let answer: Response | null = null;
  await edit(core, [], (scene) => {
    const before = id === "" ? null : scene.at.groupOfAlias(id);
    if (id !== "" && before === null) throw invalid("invalid group alias ID");
    const mounted = core.generation.mounts.byAccessor(accessor);
    if (mounted === null || !mounted.path.startsWith("auth/")) throw invalid("invalid mount accessor");
    const made = before?.alias ?? { id: fresh[0], created: request.time };
    const drafted = draft(call, scene, before, { ...made, accessor, name, changed: request.time }, fresh[1]);
    answer = drafted && { data: { id: made.id, canonical_id: drafted.owner } };
    return drafted && drafted.edit;
  });
  return answer;
}

async function remove(call: CoreCall): Promise<null> {
  await edit(call.core, [], ({ at }) => {
    const group = at.groupOfAlias(call.params["id"] ?? "");
    if (group === null) return null;
    refuseGit(call.core, group);
    needs(call, "group", group, "update");
    return { put: [groupWith(at, group, { alias: null })], remove: [] };
  });
  return null;
}

export const groupAliasRoutes: readonly Route[] = [
  {
    path: "group-alias",
    on: { update: coreHandler({ summary: "Bind a name at a mount to an external group", fields, run: write }) },
  },
  {
    path: "group-alias/id",
    on: {
      list: coreHandler({
        summary: "Ids of all group aliases",
        fields: pageFields,
        run: async ({ generation, data }) =>
          listed(
            [...generation.identity.groups].flatMap(({ id, alias }) =>
              alias === null ? [] : [{ key: alias.id, id: alias.id, info: listedAlias(generation, id, alias) }],
            ),
            data,
          ),
      }),
    },
  },
  {
    path: "group-alias/id/:id",
    on: {
      read: coreHandler({
        summary: "One group alias",
        run: async ({ generation, params }) => {
          const group = generation.identity.groupOfAlias(params["id"] ?? "");
          return found(group?.alias ? shownAlias(generation, group.id, group.alias) : null);
        },
      }),
      update: coreHandler({
        summary: "Change one group alias",
        fields,
        run: write,
      }),
      delete: coreHandler({ summary: "Take a name at a mount from its group", run: remove }),
    },
  },
];
