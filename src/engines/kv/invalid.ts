// What a versioned engine says to requests that are meant for version 1: Vault's 404 with a hint, for people who read it
// in their client.

import { VaultError } from "../../sdk/errors.ts";
import { handler, type Handler, type Route } from "../../sdk/mount.ts";

const commands = { read: "get", update: "put", patch: "patch", delete: "delete", list: "list", scan: "scan" } as const;
const roots = new Set(["metadata", "data", "delete", "undelete", "destroy"]);

const hint = (path: string, command: string): string =>
  roots.has(path)
    ? "Non-listing operations on the root of a K/V v2 mount are not supported."
    : `Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. If using the Vault CLI, use 'vault kv ${command}' for this operation.`;

/** For paths that have no meaning; none of them changes anything. */
export const invalidHandlers = Object.fromEntries(
  Object.entries(commands).map(([operation, command]) => [
    operation,
    handler({
      summary: "Says which paths there are",
      mutates: false,
      unpublished: true,
      open: true,
      run: async (call) => {
        throw new VaultError("not_found", [], { warnings: [hint(call.params["path"] ?? "metadata", command)] });
      },
    }),
  ]),
) as Readonly<Record<keyof typeof commands, Handler>>;

export const invalidRoute: Route = { path: ":path**", on: invalidHandlers };
