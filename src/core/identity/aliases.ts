// identity/entity-alias: which login names are which entity.
// Must hold: an entity has at most one alias at a mount; a name at a mount is one entity; whoever binds, moves or takes away
// an alias may write the entities that it is about.

import { isDeepStrictEqual } from "node:util";
import { VaultError } from "../../sdk/errors.ts";
import { field, type Values } from "../../sdk/fields.ts";
import { checkMetadata } from "../../sdk/metadata.ts";
import type { Route } from "../../sdk/mount.ts";
import { pageFields } from "../../sdk/page.ts";
import type { Response } from "../../sdk/request.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import type { Edit } from "../ledger.ts";
import { checkName, edit, entityWith, newPerson, refuseGit, type Scene } from "./edits.ts";
import { type Alias, type Bound, nameAfter, normalizeAlias, ownerOfAlias, type Person } from "./entity.ts";
import { aliasOf, everybody, loginAt, loginOf, sameAlias } from "./find.ts";
import { needs } from "./rights.ts";
import { found, listed, listedAlias, shownAlias } from "./show.ts";

const fields = {
  id: field.string("Id of the alias to change", { default: "" }),
  name: field.string("The login name", { default: "" }),
  mount_accessor: field.string("Accessor of the auth method", { default: "" }),
  canonical_id: field.string("Id of the entity; a new one where there is none", { default: "" }),
  entity_id: field.string("The same, under its old name", { default: "" }),
  custom_metadata: field.map("Facts for templated policies"),
} as const;
type AliasCall = CoreCall<typeof fields>;

const invalid = (text: string): VaultError => new VaultError("invalid", text);

/** The mount's one spelling of a name there. */
function spelled({ core }: CoreCall, { accessor, name }: Alias): Alias {
  const mounted = core.generation.mounts.byAccessor(accessor);
  if (mounted === null || !mounted.path.startsWith("auth/")) throw invalid("invalid mount accessor");
  const normal = normalizeAlias(mounted, name);
  checkName("name", normal);
  return { accessor, name: normal };
}

interface Wanted {
  /** Of the alias that is to change; "" where it is told by mount and name. */
  readonly id: string;
  readonly alias: Alias | null;
  /** Of the entity; "" for the one that has it, or a new one. */
  readonly owner: string;
  readonly metadata: Values<typeof fields>["custom_metadata"];
}

async function wantedOf(call: AliasCall): Promise<Wanted> {
  const { data, params } = call;
  const id = params["id"] ?? data.id;
  const metadata = data.custom_metadata;
  if (metadata !== undefined) checkMetadata("custom_metadata", metadata);
  const owner = data.canonical_id || data.entity_id;
  const given = { accessor: data.mount_accessor, name: data.name };
  if (id === "") {
    if (given.accessor === "" || given.name === "") {
      throw invalid("'id' or 'mount_accessor' and 'name' must be provided");
    }
    return { id, alias: spelled(call, given), owner, metadata };
  }
  const known = (await aliasOf(call, id))?.alias;
  if (known === undefined) throw invalid("invalid alias ID provided");
  const same = given.accessor === "" && given.name === "";
  const alias = same
    ? null
    : spelled(call, { accessor: given.accessor || known.accessor, name: given.name || known.name });
  return { id, alias, owner, metadata };
}

const withAlias = (person: Person, alias: Bound): ReturnType<typeof entityWith> => {
  const others = person.aliases.filter(({ id }) => id !== alias.id);
  return entityWith(person, { bound: [...others, alias] });
};

function checkFree(person: Person, accessor: string, but: string, text: string): void {
  if (person.aliases.some((one) => one.accessor === accessor && one.id !== but)) throw invalid(text);
}

/** A new alias. */
function bind(
  call: AliasCall,
  scene: Scene,
  wanted: Wanted & { alias: Alias },
  fresh: readonly [string, string],
): Drafted {
  const { core, request } = call;
  const [id, ownerId] = fresh;
  const times = { created: request.time, changed: request.time };
  const owner =
    wanted.owner === "" ? newPerson(ownerId, nameAfter("entity", ownerId), request.time) : scene.person(wanted.owner);
  if (owner === null) throw invalid("invalid canonical ID");
  if (wanted.owner !== "") {
    refuseGit(core, owner);
    needs(call, "entity", owner, "update");
  }
  checkFree(owner, wanted.alias.accessor, "", "Alias already exists for requested entity and mount accessor");
  const alias = { id, ...wanted.alias, ...(wanted.metadata && { custom_metadata: wanted.metadata }), ...times };
  return { edit: { put: [withAlias(owner, alias)], remove: [] }, id, owner: owner.id };
}

interface Drafted {
  readonly edit: Edit;
  readonly id: string;
  readonly owner: string;
}

/** A change of one that is there; null where nothing changes. */
function change(
  call: AliasCall,
  scene: Scene,
  wanted: Wanted,
  held: { readonly person: Person; readonly alias: Bound },
): Drafted | null {
  const { core, request } = call;
  const { person: before, alias } = held;
  const now = wanted.alias ?? alias;
  const metadata = wanted.metadata ?? alias.custom_metadata ?? {};
  const moves = wanted.owner !== "" && wanted.owner !== before.id;
  const same = sameAlias(now, alias) && isDeepStrictEqual({ ...metadata }, { ...alias.custom_metadata });
  if (same && !moves) return null;
  const owner = moves ? scene.person(wanted.owner) : before;
  if (owner === null) throw invalid("given 'canonical_id' is not associated with an entity");
  for (const person of new Set([before, owner])) {
    refuseGit(core, person);
    needs(call, "entity", person, "update");
  }
  const other = scene.holderOf(now);
  if (other !== null && other.alias.id !== alias.id) {
    throw invalid("alias with combination of mount accessor and name already exists");
  }
  const text = moves
    ? "Alias cannot be updated as the given entity already has an alias for this mount"
    : "Alias cannot be updated as the entity already has an alias for the given 'mount_accessor'";
  checkFree(owner, now.accessor, alias.id, text);
  const { accessor, name } = now;
  const next: Bound = { ...alias, accessor, name, custom_metadata: metadata, changed: request.time };
  const left = entityWith(before, { bound: before.aliases.filter(({ id }) => id !== alias.id) });
  const put = moves ? [left, withAlias(owner, next)] : [withAlias(owner, next)];
  return { edit: { put, remove: [] }, id: alias.id, owner: owner.id };
}

async function write(call: AliasCall): Promise<Response | null> {
  const { core } = call;
  const wanted = await wantedOf(call);
  const { alias } = wanted;
  const logins = await Promise.all([
    loginOf(call, ownerOfAlias(wanted.id) ?? ""),
    loginOf(call, wanted.owner),
    alias === null ? null : loginAt(call, alias),
  ]);
  const fresh = [core.newId(), core.newId()] as const;
  let answer: Response | null = null;
  await edit(core, logins, (scene) => {
    const held = wanted.id !== "" ? scene.ownerOf(wanted.id) : alias === null ? null : scene.holderOf(alias);
    if (held === null && (wanted.id !== "" || alias === null)) throw invalid("invalid alias ID provided");
    const drafted =
      held === null && alias !== null
        ? bind(call, scene, { ...wanted, alias }, fresh)
        : held && change(call, scene, wanted, held);
    answer = drafted && { data: { id: drafted.id, canonical_id: drafted.owner } };
    return drafted && drafted.edit;
  });
  return answer;
}

async function remove(call: CoreCall): Promise<null> {
  const { core, params } = call;
  const id = params["id"] ?? "";
  const login = await loginOf(call, ownerOfAlias(id) ?? "");
  await edit(core, [login], (scene) => {
    const held = scene.ownerOf(id);
    if (held === null) return null;
    const { person } = held;
    refuseGit(core, person);
    needs(call, "entity", person, "update");
    return { put: [entityWith(person, { bound: person.aliases.filter((one) => one.id !== id) })], remove: [] };
  });
  return null;
}

async function list(call: CoreCall<typeof pageFields>): Promise<Response> {
  return listed(
    (await everybody(call)).flatMap(({ entity }) =>
      entity.aliases.map((alias) => ({
        key: alias.id,
        id: alias.id,
        info: listedAlias(call.generation, entity.id, alias),
      })),
    ),
    call.data,
  );
}

export const aliasRoutes: readonly Route[] = [
  {
    path: "entity-alias",
    on: { update: coreHandler({ summary: "Bind a login name to an entity, or change that", fields, run: write }) },
  },
  {
    path: "entity-alias/id",
    on: { list: coreHandler({ summary: "Ids of all entity aliases", fields: pageFields, run: list }) },
  },
  {
    path: "entity-alias/id/:id",
    on: {
      read: coreHandler({
        summary: "One entity alias",
        run: async (call) => {
          const one = await aliasOf(call, call.params["id"] ?? "");
          return found(one === null ? null : shownAlias(call.generation, one.found.person.id, one.alias));
        },
      }),
      update: coreHandler({
        summary: "Change one entity alias",
        fields,
        run: write,
      }),
      delete: coreHandler({ summary: "Take a login name from its entity", run: remove }),
    },
  },
];
