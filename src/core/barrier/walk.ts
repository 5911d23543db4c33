// The keys of a whole store in byte order, a few at a time. Each step begins anew at the last key, so that it sees what
// was written since.

import type { StorageBackend } from "../../sdk/storage.ts";

type Lister = Pick<StorageBackend, "list">;

/** At most `limit` keys behind `after` ("" for the first); fewer only at the end of the store. */
export async function keysAfter(storage: Lister, after: string, limit: number): Promise<string[]> {
  const keys: string[] = [];
  const segments = after.split("/");
  // What follows in the folder of the key, then what follows this folder in the one above it, and so on.
  for (let depth = segments.length - 1; depth >= 0 && keys.length < limit; depth--) {
    const prefix = segments
      .slice(0, depth)
      .map((segment) => `${segment}/`)
      .join("");
    const name = segments[depth] ?? "";
    await gather(storage, keys, prefix, depth === segments.length - 1 ? name : `${name}/`, limit);
  }
  return keys;
}

async function gather(storage: Lister, keys: string[], prefix: string, after: string, limit: number): Promise<void> {
  for (let last = after; ;) {
    const left = limit - keys.length;
    const names = await storage.list(prefix, { limit: left, ...(last !== "" && { after: last }) });
    for (const name of names) {
      if (name.endsWith("/")) await gather(storage, keys, prefix + name, "", limit);
      else keys.push(prefix + name);
      if (keys.length >= limit) return;
    }
    if (names.length < left) return;
    last = names.at(-1) ?? "";
  }
}
