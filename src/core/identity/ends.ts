// What follows the end of entities: what logins recorded of them, their memberships in the API's groups, and their tokens with
// all that hangs on those. Their tokens are refused from the moment that they are gone; this is what is done about it.
// Known gap: tokens are looked for at the mounts of the aliases that the entity had in the end. One made through an alias
// that was taken from it before is refused too, but stays until its time is over, and so do its leases.

import type { Declaration } from "../../sdk/kind.ts";
import type { Json, ViewOp } from "../../sdk/view.ts";
import type { Core } from "../core.ts";
import type { Generation } from "../generation.ts";
import { entityKind } from "../kinds.ts";
import type { Tasks } from "../tasks.ts";
import { edit, groupsWithout } from "./edits.ts";
import type { Person } from "./entity.ts";

/** In one task, so that the tokens of a mount are gone through once. */
const atOnce = 1_000;

const endType = "end-entities";

export function endTask(tasks: Tasks, people: readonly Person[], seq?: number): ViewOp {
  const ids = people.flatMap(({ id, spec }) => [id, ...(spec.merged ?? [])]);
  const accessors = [...new Set(people.flatMap(({ aliases }) => aliases.map(({ accessor }) => accessor)))];
  return tasks.put(endType, `entity ${ids[0] ?? ""}`, { ids, accessors }, seq);
}

/** For declared entities that a change removes; not for those that it renames or merges into others. */
export function endEntities(
  before: Generation,
  after: Generation,
  removed: readonly Declaration[],
  tasks: Tasks,
): readonly ViewOp[] {
  const people = removed.flatMap((declaration) => {
    const person = declaration.kind === entityKind.name ? before.identity.personNamed(declaration.name) : null;
    return person === null || after.identity.knows(person.id) ? [] : [person];
  });
  const ops: ViewOp[] = [];
  for (let at = 0; at < people.length; at += atOnce) {
    ops.push(endTask(tasks, people.slice(at, at + atOnce), after.record.seq));
  }
  return ops;
}

const texts = (value: Json | undefined): readonly string[] => (value ?? []) as readonly string[];

export const endChores = (core: () => Core) => ({
  [endType]: async (args: Readonly<Record<string, Json>>): Promise<void> => {
    const ids = new Set(texts(args["ids"]));
    for (const id of ids) await core().logins.end(id);
    await edit(core(), [], ({ at }) => {
      const put = groupsWithout(at, ids);
      return put.length === 0 ? null : { put, remove: [] };
    });
    for (const accessor of texts(args["accessors"])) {
      await core().tokens.revokeWhere(accessor, ({ entity_id: id }) => id !== undefined && ids.has(id));
    }
  },
});
