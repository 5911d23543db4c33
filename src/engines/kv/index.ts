// Key/value secrets. Version 2 keeps several versions of each secret, version 1 the last value alone.
// Known gap: whether POST needs `create` or `update` is asked before the write; a secret that another client creates in
// between is written although the token may have `create` only, as in Vault.

import type { MountPlugin } from "../../sdk/mount.ts";
import { dataRoutes } from "./data.ts";
import { invalidRoute } from "./invalid.ts";
import { metadataRoutes } from "./metadata.ts";
import { plainRoutes } from "./plain.ts";
import { Store } from "./store.ts";

export const plugin: MountPlugin = {
  type: "kv",
  class: "secret",
  description: "Key/value secrets, with versions where options.version is 2",
  options: {
    version: {
      description: "2 keeps several versions of each secret, 1 the last alone",
      enum: ["1", "2"],
      default: "1",
    },
  },
  resources: [],
  mount: (context) => {
    if (context.options["version"] !== "2") return { routes: plainRoutes(context) };
    const store = new Store(context);
    return { routes: [...dataRoutes(store, context), ...metadataRoutes(store, context), invalidRoute] };
  },
  change: (before, after) => {
    const [from = "", to = ""] = [before["version"], after["version"]];
    if (from === to) return {};
    // Versions would be lost.
    if (from === "2") return { refused: `cannot downgrade mount from version ${from}` };
    return {
      warning: `Upgrading mount from version ${from} to version ${to}. This mount will be unavailable for a brief period and will resume service shortly.`,
    };
  },
};

/** The name `kv-v2` that clients mount version 2 by: the same engine with other defaults. */
export const versioned: MountPlugin = {
  ...plugin,
  type: "kv-v2",
  description: "Key/value secrets with versions",
  options: { version: { description: "Always 2", enum: ["2"], default: "2" } },
};
