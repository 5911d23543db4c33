// identity/entity: people and services, by id and by name.

import { VaultError } from "../../sdk/errors.ts";
import { field, type Values } from "../../sdk/fields.ts";
import { checkMetadata } from "../../sdk/metadata.ts";
import type { Route } from "../../sdk/mount.ts";
import { pageFields } from "../../sdk/page.ts";
import type { Operation, Response } from "../../sdk/request.ts";
import type { ViewOp } from "../../sdk/view.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import { endTask } from "./ends.ts";
import { checkName, edit, entityWith, groupsWithout, newPerson, policyNames, refuseGit, type Scene } from "./edits.ts";
import { type EntityRecord, nameAfter, type Person } from "./entity.ts";
import { entityNamed, entityOf, everybody, type Found, loginNamed, loginOf } from "./find.ts";
import { mergeRoute } from "./merge.ts";
import { honours } from "./rights.ts";
import { briefAlias, found, listed, shownEntity } from "./show.ts";

const entityFields = {
  id: field.string("Id of the entity to change", { default: "" }),
  name: field.string("Its name; one is made up where there is none", { default: "" }),
  metadata: field.map("Facts for templated policies"),
  policies: field.strings("Policies it has wherever it logs in"),
  disabled: field.bool("Denies every request of its tokens"),
} as const;

type EntityData = Values<typeof entityFields>;

function changeOf({ metadata, policies, disabled }: EntityData): Partial<EntityRecord> {
  if (metadata !== undefined) checkMetadata("metadata", metadata);
  return {
    ...(metadata !== undefined && { metadata }),
    ...(policies !== undefined && { policies: policyNames(policies) }),
    ...(disabled !== undefined && { disabled }),
  };
}

/** Whom a write is about; null for somebody new. */
function meant(scene: Scene, id: string, name: string): Person | null {
  const byId = id === "" ? null : scene.person(id);
  if (id !== "" && byId === null) throw new VaultError("invalid", "entity not found from id");
  const byName = name === "" ? null : scene.named(name);
  if (byId !== null && byName !== null && byId.id !== byName.id) {
    throw new VaultError("invalid", "entity name is already in use");
  }
  return byId ?? byName;
}

async function write(call: CoreCall<typeof entityFields>): Promise<Response | null> {
  const { core, data, params, request } = call;
  const id = params["id"] ?? data.id;
  const name = params["name"] ?? data.name;
  if (name !== "") checkName("name", name);
  const change = changeOf(data);
  const logins = [id === "" ? null : await loginOf(call, id), name === "" ? null : await loginNamed(call, name)];
  const fresh = core.newId();
  let answer: Response | null = null;
  await edit(core, logins, (scene) => {
    const before = meant(scene, id, name);
    answer = null;
    if (before === null) {
      const person = newPerson(fresh, name === "" ? nameAfter("entity", fresh) : name, request.time);
      honours(call, "entity", { id: "", name: person.name }, "update");
      answer = { data: { id: person.id, name: person.name, aliases: null } };
      return { put: [entityWith(person, change)], remove: [] };
    }
    refuseGit(core, before);
    honours(call, "entity", before, "update");
    // Who is found by his name keeps its spelling, unless he is written by his id.
    const called = id === "" || name === "" ? before.name : name;
    const gone = before.declaration !== null && before.name !== called ? [before.declaration] : [];
    return { put: [entityWith(before, change, called)], remove: gone };
  });
  return answer;
}

/** Ends these entities: their aliases, their memberships and their tokens go with them. */
async function remove(call: CoreCall, ids: readonly string[]): Promise<null> {
  const { core } = call;
  const logins = await Promise.all(ids.map((id) => loginOf(call, id)));
  const ended: Person[] = [];
  const task: ViewOp[] = [];
  await edit(core, logins, (scene) => {
    const people = [...new Set(ids)].flatMap((id) => scene.person(id) ?? []);
    for (const person of people) {
      refuseGit(core, person);
      honours(call, "entity", person, "delete");
    }
    ended.splice(0, ended.length, ...people);
    const put = groupsWithout(scene.at, new Set(people.map(({ id }) => id)));
    const gone = people.flatMap(({ declaration }) => declaration ?? []);
    // A change of generation is followed by the end of those that it removes, not of those that nobody declared.
    const undeclared = people.filter(({ declaration }) => declaration === null);
    const changes = put.length + gone.length > 0;
    const seq = changes ? core.generation.record.seq + 1 : undefined;
    const ops = undeclared.length === 0 ? [] : [endTask(core.tasks, undeclared, seq)];
    task.splice(0, task.length, ...(changes ? [] : ops));
    return changes ? { put, remove: gone, ops } : null;
  });
  if (task.length > 0) await core.root.write(task);
  // At once, and not only when the task comes to it: the next request of their tokens is refused.
  for (const { id, spec } of ended) for (const each of [id, ...(spec.merged ?? [])]) await core.logins.end(each);
  if (task.length > 0) void core.tasks.run().catch(() => {});
  return null;
}

async function list(call: CoreCall<typeof pageFields>, key: "id" | "name"): Promise<Response> {
  return listed(
    (await everybody(call)).map(({ entity: { id, name, aliases } }) => {
      const brief = aliases.map((alias) => briefAlias(call.generation, alias));
      return { key: key === "id" ? id : name, id, info: { name, ...(brief.length > 0 && { aliases: brief }) } };
    }),
    call.data,
  );
}

/** As the path names it: in another case it is the same entity, and the rules about it are the same. */
function shown(call: CoreCall, one: Found | null): Response {
  if (one !== null) honours(call, "entity", one.person, "read");
  return found(one === null ? null : shownEntity(call.generation, one.person, one.entity));
}

function routesBy(key: "id" | "name", find: (call: CoreCall, value: string) => Promise<Found | null>): Route[] {
  const handlers = {
    read: coreHandler({
      summary: "One entity",
      run: async (call) => shown(call, await find(call, call.params[key] ?? "")),
    }),
    update: coreHandler({
      summary: "Write one entity",
      fields: entityFields,
      run: write,
    }),
    delete: coreHandler({
      summary: "Delete one entity",
      run: async (call) => {
        const one = await find(call, call.params[key] ?? "");
        return one === null ? null : remove(call, [one.person.id]);
      },
    }),
  } satisfies Partial<Record<Operation, unknown>>;
  return [
    {
      path: `entity/${key}`,
      on: {
        list: coreHandler({ summary: `Entities by ${key}`, fields: pageFields, run: (call) => list(call, key) }),
      },
    },
    { path: key === "id" ? "entity/id/:id" : "entity/name/:name*", on: handlers },
  ];
}

const batchFields = { entity_ids: field.strings("Ids of the entities", { default: [] }) } as const;

export const entityRoutes: readonly Route[] = [
  {
    path: "entity",
    on: { update: coreHandler({ summary: "Create an entity, or change one", fields: entityFields, run: write }) },
  },
  ...routesBy("id", entityOf),
  ...routesBy("name", entityNamed),
  {
    path: "entity/batch-delete",
    on: {
      update: coreHandler({
        summary: "Delete several entities",
        fields: batchFields,
        run: (call) => {
          const ids = call.data.entity_ids;
          if (ids.length === 0) throw new VaultError("invalid", "missing entity ids to delete");
          return remove(call, ids);
        },
      }),
    },
  },
  mergeRoute,
];
