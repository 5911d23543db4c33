// cubbyhole/: what a token keeps for itself. Nobody else gets at it, root neither, and it is gone when its token is.
//  cubbyhole/<token>/<path>     the entries
//  token/child/<token>/<name>   says that there are some: what hangs on a token is in the due index once the token ends,
//                               and stays there until it is gone (see leases/expiry.ts)
// Must hold: nothing is written below a token that has ended; the name stands before the first entry does.
// Known gap: batch tokens are stored nowhere, so nothing can hang on one, and they have no cubbyhole.

import { VaultError } from "../sdk/errors.ts";
import type { Route } from "../sdk/mount.ts";
import { pageFields, pageOf } from "../sdk/page.ts";
import { checkSecretSize } from "../sdk/size.ts";
import type { Json, View, ViewOp } from "../sdk/view.ts";
import { type CoreCall, coreHandler } from "./call.ts";
import { childKey, cubbyholeName } from "./leases/keys.ts";
import { deniedError } from "./session.ts";

/** Bytes of a path: it stands in a key behind the token's id. */
const longest = 900;

export const entryKey = (token: string, path: string): string => `cubbyhole/${token}/${path}`;

/** Says that the token has one. */
export const markOf = (token: string): ViewOp => ({ key: childKey(token, cubbyholeName(token)), value: true });

function ownerOf({ session }: CoreCall): string {
  if (session === null) throw deniedError();
  if (session.entry.type === "batch") {
    throw new VaultError("invalid", "cubbyhole operations are only supported by 'service' type tokens");
  }
  return session.entry.id;
}

/** "a/" is no entry: policies were asked about "a/". */
function keyOf(call: CoreCall): string {
  if (call.request.path.endsWith("/")) {
    throw new VaultError("not_found", `no handler for route "${call.request.path}". route entry not found.`);
  }
  const path = call.params["path"] ?? "";
  if (Buffer.byteLength(path) > longest) throw new VaultError("invalid", `a path has at most ${longest} bytes here`);
  return entryKey(ownerOf(call), path);
}

type Entry = Readonly<Record<string, Json>>;

async function write(call: CoreCall): Promise<null> {
  const key = keyOf(call);
  const owner = ownerOf(call);
  const value = { ...call.request.data };
  if (Object.keys(value).length === 0) throw new VaultError("invalid", "missing data fields");
  checkSecretSize(value);
  const { root, tokens } = call.core;
  await tokens.whileThere(owner, async () => {
    if ((await tokens.get(owner)) === null) throw deniedError();
    const mark = markOf(owner);
    const marked = (await root.getJson(mark.key)) !== null;
    await root.write([...(marked ? [] : [mark]), { key, value }]);
  });
  return null;
}

async function list(
  call: CoreCall<typeof pageFields>,
): Promise<{ readonly data: { readonly keys: readonly string[] } }> {
  const folder = call.params["path"] ?? "";
  const keys = await call.core.root.list(entryKey(ownerOf(call), folder === "" ? "" : `${folder}/`), pageOf(call.data));
  if (keys.length === 0) throw new VaultError("not_found", []);
  return { data: { keys } };
}

const listing = coreHandler({
  summary: "List the entries and folders one level below a path",
  fields: pageFields,
  run: (call) => list(call),
});

export const readEntry = async (root: View, key: string): Promise<Entry | null> =>
  (await root.getJson<Entry>(key))?.value ?? null;

export const cubbyholeRoutes: readonly Route[] = [
  { path: "", on: { list: listing } },
  {
    path: ":path*",
    exists: async (call) => (await readEntry((call as CoreCall).core.root, keyOf(call as CoreCall))) !== null,
    on: {
      list: listing,
      read: coreHandler({
        summary: "Read an entry of the caller's own",
        run: async (call) => {
          const data = await readEntry(call.core.root, keyOf(call));
          if (data === null) throw new VaultError("not_found", []);
          return { data, shared: true };
        },
      }),
      update: coreHandler({ summary: "Write an entry for the caller alone", open: true, run: write }),
      delete: coreHandler({
        summary: "Delete an entry of the caller's own",
        run: async (call) => {
          await call.core.root.write([{ key: keyOf(call), value: null }]);
          return null;
        },
      }),
    },
  },
];
