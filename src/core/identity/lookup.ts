// identity/lookup: an entity or a group by its id, name or alias. Nothing found is 204.

import { VaultError } from "../../sdk/errors.ts";
import { field, type Values } from "../../sdk/fields.ts";
import type { Route } from "../../sdk/mount.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import { type Alias, normalizeAlias } from "./entity.ts";
import { aliasOf, entityAtAlias, entityNamed, entityOf, type Found } from "./find.ts";
import { readGroup } from "./groups.ts";
import { honours } from "./rights.ts";
import { shownEntity } from "./show.ts";

const fields = {
  id: field.string("Its id"),
  name: field.string("Its name"),
  alias_id: field.string("Id of an alias of it"),
  alias_name: field.string("Name of an alias of it, with alias_mount_accessor"),
  alias_mount_accessor: field.string("Accessor of the alias's mount, with alias_name"),
} as const;
type Query = Values<typeof fields>;

/** What was asked for: one of the ways, and no other. */
function check(query: Query): Query {
  const given = Object.values(query).filter((value) => value !== undefined).length;
  const { alias_name: name, alias_mount_accessor: accessor } = query;
  if (given === 0) throw new VaultError("invalid", "query parameter not supplied");
  if (given === 1 && (name || accessor)) {
    throw new VaultError("invalid", "both 'alias_name' and 'alias_mount_accessor' needs to be set");
  }
  if (given > 1 && !(given === 2 && name && accessor)) {
    throw new VaultError("invalid", "query parameter conflict; please supply distinct set of query parameters");
  }
  return query;
}

const aliasIn = ({ alias_name: name = "", alias_mount_accessor: accessor = "" }: Query): Alias => ({ name, accessor });

async function entityIn(call: CoreCall, query: Query): Promise<Found | null> {
  if (query.id) return entityOf(call, query.id);
  if (query.name) return entityNamed(call, query.name);
  if (query.alias_id) return (await aliasOf(call, query.alias_id))?.found ?? null;
  const alias = aliasIn(query);
  const mounted = call.generation.mounts.byAccessor(alias.accessor);
  if (mounted === null) return null;
  return entityAtAlias(call, { accessor: alias.accessor, name: normalizeAlias(mounted, alias.name) });
}

export const lookupRoutes: readonly Route[] = [
  {
    path: "lookup/entity",
    on: {
      update: coreHandler({
        summary: "Find an entity",
        mutates: false,
        fields,
        run: async (call) => {
          const one = await entityIn(call, check(call.data));
          if (one === null) return null;
          honours(call, "entity", one.person, "read");
          return { data: shownEntity(call.generation, one.person, one.entity) };
        },
      }),
    },
  },
  {
    path: "lookup/group",
    on: {
      update: coreHandler({
        summary: "Find a group",
        mutates: false,
        fields,
        run: async (call) => {
          const query = check(call.data);
          const { identity } = call.generation;
          const group = query.id
            ? identity.group(query.id)
            : query.name
              ? identity.groupNamed(query.name)
              : query.alias_id
                ? identity.groupOfAlias(query.alias_id)
                : identity.groupAt(aliasIn(query));
          return group === null ? null : readGroup(call, group);
        },
      }),
    },
  },
];
