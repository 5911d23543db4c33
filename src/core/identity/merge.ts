// identity/entity/merge: several entities become one, which gets their aliases and memberships, not their policies. Their
// tokens are its tokens from then on.
// Must hold: who merges may write the entity that stays and delete those that go.

import { VaultError } from "../../sdk/errors.ts";
import { field, type Values } from "../../sdk/fields.ts";
import type { Route } from "../../sdk/mount.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import type { Edit } from "../ledger.ts";
import { edit, entityWith, groupsWithout, refuseGit, type Scene } from "./edits.ts";
import type { Bound, Person } from "./entity.ts";
import { loginOf } from "./find.ts";
import { needs } from "./rights.ts";

const fields = {
  from_entity_ids: field.strings("Ids of the entities that go", { default: [] }),
  to_entity_id: field.string("Id of the entity that stays", { default: "" }),
  force: field.bool("Accepted and without meaning: it is about second factors", { default: false }),
  conflicting_alias_ids_to_keep: field.strings("Which alias stays where both have one at the same mount", {
    default: [],
  }),
} as const;

type MergeData = Values<typeof fields>;

const invalid = (text: string): VaultError => new VaultError("invalid", text);

function people(scene: Scene, data: MergeData): { readonly to: Person; readonly from: readonly Person[] } {
  const to = scene.person(data.to_entity_id);
  if (to === null) throw invalid("entity id to merge to is invalid");
  const from = [...new Set(data.from_entity_ids)].map((id) => {
    if (id === to.id) throw invalid("to_entity_id should not be present in from_entity_ids");
    const person = scene.person(id);
    if (person === null) throw invalid("entity id to merge from is invalid");
    return person;
  });
  return { to, from };
}

/** The aliases of the entity that stays. */
function joined(to: Person, from: readonly Person[], keep: readonly string[], now: number): Bound[] {
  const taken = new Map<string, Person>();
  let aliases = [...to.aliases];
  for (const person of from) {
    for (const alias of person.aliases) {
      const other = taken.get(alias.accessor);
      if (other !== undefined && other !== person) {
        throw invalid(
          `mount accessor ${alias.accessor} found in multiple fromEntities, merge should be done with one fromEntity at a time`,
        );
      }
      taken.set(alias.accessor, person);
      const clash = aliases.filter(
        ({ accessor, merged_from }) => accessor === alias.accessor && !merged_from?.includes(person.id),
      );
      if (clash.some(({ id }) => keep.includes(id))) continue;
      if (clash.length > 0 && !keep.includes(alias.id)) throw invalid(clashText(clash[0]?.id ?? "", alias, keep));
      aliases = aliases.filter((one) => !clash.includes(one));
      aliases.push({ ...alias, merged_from: [...(alias.merged_from ?? []), person.id], changed: now });
    }
  }
  return aliases;
}

function clashText(id: string, alias: Bound, keep: readonly string[]): string {
  if (keep.length > 0) {
    return `conflicting mount accessors in following alias IDs and neither were present in conflicting_alias_ids_to_keep: ${alias.id}, ${id}`;
  }
  return (
    "toEntity and at least one fromEntity have aliases with the same mount accessor, repeat the merge request specifying exactly one " +
    `fromEntity, clashes: mountAccessor: ${alias.accessor}, conflicting toEntity alias ID: ${id}, ` +
    `conflicting fromEntity alias ID: ${alias.id}`
  );
}

function draft(call: CoreCall<typeof fields>, scene: Scene): Edit {
  const { core, data, request } = call;
  const { at } = scene;
  const { to, from } = people(scene, data);
  for (const person of [to, ...from]) refuseGit(core, person);
  needs(call, "entity", to, "update");
  for (const person of from) needs(call, "entity", person, "delete");
  // Git's groups have their members by name, and who is merged has none any more.
  for (const person of from) {
    for (const id of at.directOf(person.id)) {
      const group = at.group(id);
      if (group?.spec.member_entities.includes(person.name)) refuseGit(core, group);
    }
  }
  const bound = joined(to, from, data.conflicting_alias_ids_to_keep, request.time);
  const merged = [...(to.spec.merged ?? []), ...from.flatMap(({ id, spec }) => [...(spec.merged ?? []), id])];
  return {
    put: [entityWith(to, { bound, merged }), ...groupsWithout(at, new Set(from.map(({ id }) => id)), to.id)],
    remove: from.flatMap(({ declaration }) => declaration ?? []),
  };
}

async function merge(call: CoreCall<typeof fields>): Promise<null> {
  const { from_entity_ids: from, to_entity_id: to, conflicting_alias_ids_to_keep: keep } = call.data;
  if (to === "") throw invalid("missing entity id to merge to");
  if (from.length === 0) throw invalid("missing entity ids to merge from");
  if (from.length > 1 && keep.length > 1) {
    throw invalid("aliases conflicts cannot be resolved with multiple from entity ids - merge one entity at a time");
  }
  const logins = await Promise.all([to, ...from].map((id) => loginOf(call, id)));
  await edit(call.core, logins, (scene) => draft(call, scene));
  return null;
}

export const mergeRoute: Route = {
  path: "entity/merge",
  on: { update: coreHandler({ summary: "Make one entity of several", fields, run: merge }) },
};
