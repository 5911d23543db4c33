// KV version 1: one value a path, no history. Any fields of a request are the secret.

import { parseDuration } from "../../lib/duration.ts";
import { VaultError } from "../../sdk/errors.ts";
import { type Call, handler, type MountContext, type Route } from "../../sdk/mount.ts";
import { pageFields } from "../../sdk/page.ts";
import type { Response } from "../../sdk/request.ts";
import { checkSecretSize } from "../../sdk/size.ts";
import type { ViewEntry } from "../../sdk/view.ts";
import type { JsonObject } from "./json.ts";
import { namesIn, scan } from "./lists.ts";
import { missing, pathOf } from "./paths.ts";
import { checkPath } from "./store.ts";
import { Plain, plainKey } from "./upgrade.ts";

const folderOf = (call: Pick<Call, "params">): string => (call.params["path"] ? `${call.params["path"]}/` : "");

export function plainRoutes(context: MountContext): readonly Route[] {
  const { view, defaultLeaseTtl } = context;
  const plain = new Plain(context);
  const entryAt = async (path: string): Promise<ViewEntry<JsonObject> | null> => {
    if (!plain.usable) await plain.check();
    return view.getJson<JsonObject>(plainKey(path));
  };
  const write = async (path: string, value: JsonObject | null): Promise<null> => {
    if (!plain.usable) await plain.check();
    await view.write([{ key: plainKey(path), value }]);
    plain.confirm();
    return null;
  };
  const lists = {
    list: handler({
      summary: "List the secrets and folders one level below a path",
      fields: pageFields,
      run: async (call) => {
        if (!plain.usable) await plain.check();
        return { data: { keys: await namesIn(call.data, (page) => view.list(plainKey(folderOf(call)), page)) } };
      },
    }),
    scan: handler({
      summary: "List the secrets on all levels below a path",
      run: async (call) => {
        if (!plain.usable) await plain.check();
        return { data: { keys: await scan(view, plainKey(folderOf(call))) } };
      },
    }),
  };
  /** Seconds that a client is told to wait before it reads again: what the secret says, or else the mount. */
  const answer = (data: JsonObject): Response => {
    const duration = parseDuration(data["ttl"] ?? data["lease"]) ?? defaultLeaseTtl;
    return { data, shared: true, lease: { id: "", duration, renewable: false } };
  };
  return [
    { path: "", on: lists },
    {
      path: ":path*",
      exists: async (call) => (await entryAt(pathOf(call))) !== null,
      on: {
        ...lists,
        read: handler({
          summary: "Read a secret",
          run: async (call) => {
            const entry = await entryAt(pathOf(call));
            if (entry === null) throw missing();
            return answer(entry.value);
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
            checkSecretSize(data);
            return write(path, data);
          },
        }),
        delete: handler({ summary: "Delete a secret", run: (call) => write(pathOf(call), null) }),
      },
    },
  ];
}
