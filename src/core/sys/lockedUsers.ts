// sys/locked-users: names that failed logins have locked, and their way out before the time is over.

import { field } from "../../sdk/fields.ts";
import type { Route } from "../../sdk/mount.ts";
import { coreHandler } from "../call.ts";
import type { Mounted } from "../mounts.ts";

const listFields = { mount_accessor: field.string("Of this mount alone", { default: "" }) } as const;

/** The one spelling of a name that logs in at a mount. */
function spelled(mounted: Mounted | null, name: string): string {
  const resource = mounted?.plugin?.resources.find((one) => one.name === mounted.plugin?.guessed);
  return resource?.normalize?.(name) ?? name;
}

export const lockedUserRoutes: readonly Route[] = [
  {
    path: "locked-users",
    on: {
      read: coreHandler({
        summary: "Names that are locked after failed logins, by mount",
        fields: listFields,
        run: async (call) => {
          const wanted = call.data.mount_accessor;
          const mounts = [...call.core.lockouts.locked()]
            .filter(([accessor]) => wanted === "" || accessor === wanted)
            .map(([accessor, names]) => ({
              mount_accessor: accessor,
              counts: names.length,
              alias_identifiers: [...names].sort(),
            }))
            .sort((one, other) => other.counts - one.counts);
          const total = mounts.reduce((sum, { counts }) => sum + counts, 0);
          const root = { namespace_id: "root", namespace_path: "", counts: total, mount_accessors: mounts };
          return { data: { by_namespace: [root], total } };
        },
      }),
    },
  },
  {
    path: "locked-users/:mount_accessor/unlock/:alias_identifier",
    on: {
      update: coreHandler({
        summary: "Unlock a name, whether or not it is locked",
        run: async (call) => {
          const { mount_accessor: accessor = "", alias_identifier: alias = "" } = call.params;
          const name = spelled(call.generation.mounts.byAccessor(accessor), alias);
          call.core.lockouts.unlock({ accessor, name });
          return null;
        },
      }),
    },
  },
];
