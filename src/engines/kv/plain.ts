// KV version 1: one value a path, no history. Any fields of a request are the secret.

import { parseDuration } from "../../lib/duration.ts";
import { VaultError } from "../../sdk/errors.ts";
import { handler, type MountContext, type Route } from "../../sdk/mount.ts";
import { type JsonObject } from "./json.ts";
import { pageFields } from "./metadata.ts";
import { missing, pathOf } from "./paths.ts";
import { checkPath } from "./store.ts";

/** Seconds that a client is told to wait before it reads again, unless the secret says so under `ttl`: 768 hours. */
const refresh = 2_764_800;

const key = (path: string): string => `plain/${path}`;

export function plainRoutes({ view }: MountContext): readonly Route[] {
  const list = handler({
    summary: "List the secrets and folders one level below a path",
    fields: pageFields,
    run: async (call) => {
      const folder = call.params["path"] ?? "";
      const { after, limit } = call.data;
      const keys = await view.list(folder === "" ? "plain/" : `plain/${folder}/`, {
        ...(after !== undefined && { after }),
        ...(limit !== undefined && { limit }),
      });
      if (keys.length === 0) throw missing();
      return { data: { keys } };
    },
  });
  return [
    { path: "", on: { list } },
    {
      path: ":path*",
      exists: async (call) => (await view.getJson(key(pathOf(call)))) !== null,
      on: {
        list,
        read: handler({
          summary: "Read a secret",
          run: async (call) => {
            const entry = await view.getJson<JsonObject>(key(pathOf(call)));
            if (entry === null) throw missing();
            const duration = parseDuration(entry.value["ttl"] ?? entry.value["lease"]) ?? refresh;
            return { data: entry.value, shared: true, lease: { id: "", duration, renewable: false } };
          },
        }),
        update: handler({
          summary: "Write a secret",
          open: true,
          run: async (call) => {
            const path = pathOf(call);
            checkPath(path);
            const data = { ...call.request.data };
            if (Object.keys(data).length === 0) throw new VaultError("invalid", "missing data fields");
            await view.write([{ key: key(path), value: data }]);
            return null;
          },
        }),
        delete: handler({
          summary: "Delete a secret",
          run: async (call) => {
            await view.write([{ key: key(pathOf(call)), value: null }]);
            return null;
          },
        }),
      },
    },
  ];
}
