// What a plugin reads of its own objects: one mount's, in one generation.

import { VaultError } from "../sdk/errors.ts";
import type { ResourceReader } from "../sdk/mount.ts";
import type { Generation } from "./generation.ts";
import type { Mounted } from "./mounts.ts";

export function reader<T>(generation: Generation, mounted: Mounted, name: string): ResourceReader<T> {
  const resource = mounted.plugin?.resources.find((one) => one.name === name);
  if (resource === undefined) throw new VaultError("internal", "the plugin asked for a resource that it does not have");
  const shelf = generation.table.shelf(resource.kind, mounted.mount);
  return {
    get: (key) => (shelf.get(key)?.spec as T | undefined) ?? null,
    since: (key) => {
      const declaration = shelf.get(key);
      return declaration === undefined ? null : (declaration.since ?? 0);
    },
    list: () => [...shelf.keys()].sort(),
  };
}

/** Of a mount that is not there any more. */
export const noObjects: ResourceReader<never> = { get: () => null, since: () => null, list: () => [] };
