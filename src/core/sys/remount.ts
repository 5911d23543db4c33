// sys/remount: a mount at another path, and how far its move is.

import { VaultError } from "../../sdk/errors.ts";
import { field } from "../../sdk/fields.ts";
import type { Route } from "../../sdk/mount.ts";
import type { Response } from "../../sdk/request.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import { mountPathOf } from "../kinds.ts";
import { migration, move } from "../remount.ts";
import { authSide, secretSide, type Side, trimmed } from "./sides.ts";

const fields = {
  from: field.string("The path it has, with auth/ before that of an auth method"),
  to: field.string("The path that it gets, likewise"),
} as const;

const sideOf = (path: string): Side => (path.startsWith("auth/") ? authSide : secretSide);

/** Slashes at the ends do not matter; spaces do. */
function pathOf(name: "from" | "to", given: string | undefined): string {
  const path = trimmed(given ?? "");
  if (path === "") throw new VaultError("invalid", "both 'from' and 'to' path must be specified as a string");
  if (path !== path.trim()) throw new VaultError("invalid", `'${name}' path cannot contain trailing whitespace`);
  return path;
}

async function remount(call: CoreCall<typeof fields>): Promise<Response> {
  const from = pathOf("from", call.data.from);
  const to = pathOf("to", call.data.to);
  const side = sideOf(from);
  if (sideOf(to) !== side) {
    const what = side === authSide ? "auth mount to non-auth mount" : "non-auth mount to auth mount";
    throw new VaultError("invalid", `cannot remount ${what}: 'from' and 'to' must be of one kind`);
  }
  const mounted = call.generation.mounts.at(from);
  if (mounted === null) throw new VaultError("invalid", "no matching mount at the path given as 'from'");
  if (mounted.declaration === null) throw new VaultError("invalid", `cannot remount "${mounted.path}"`);
  const short = to.slice(side.prefix.length);
  const next = { ...mounted.declaration, spec: { ...mounted.declaration.spec, path: short } };
  if (!new RegExp(side.kind.fields["path"]?.pattern ?? "", "u").test(mountPathOf(next.name, next.spec))) {
    throw new VaultError("invalid", "invalid destination mount path: 'to' has a segment that no mount may have");
  }
  for (const { message } of side.kind.check?.(next) ?? []) {
    throw new VaultError("invalid", `cannot remount to the destination: ${message}`);
  }
  const id = await move(call, mounted, short);
  call.warn(`the mount is at ${to}/ now; tokens and leases of ${from}/ are being revoked`);
  return { data: { migration_id: id }, shape: "both" };
}

export const remountRoutes: readonly Route[] = [
  {
    path: "remount",
    sudo: true,
    on: {
      update: coreHandler({ summary: "Move a mount to another path", fields, run: remount }),
    },
  },
  {
    path: "remount/status/:migration_id",
    on: {
      read: coreHandler({
        summary: "How far a move is",
        run: async (call) => {
          const id = call.params["migration_id"] ?? "";
          const known = await migration(call.core, id);
          if (known === null) throw new VaultError("not_found", []);
          const { from, to, status } = known;
          const info = { source_mount: from, target_mount: to, status };
          return { data: { migration_id: id, migration_info: info }, shape: "both" };
        },
      }),
    },
  },
];
