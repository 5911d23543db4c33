// sys/plugins: what is built in, which is all there is; and starting a mount's plugin anew.
// Must hold: no program is ever registered or run.

import { VaultError } from "../../sdk/errors.ts";
import { field } from "../../sdk/fields.ts";
import type { MountPlugin, Route } from "../../sdk/mount.ts";
import { version } from "../../version.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import type { Mounted } from "../mounts.ts";
import { trimmed } from "./sides.ts";

/** A semantic version whose build part is what clients know what is built in by. */
const builtin = `v${version}+builtin.writ`;
const types = ["auth", "database", "secret"] as const;

const pluginsOf = ({ core }: CoreCall, type: string): readonly MountPlugin[] => {
  if (!(types as readonly string[]).includes(type)) {
    throw new VaultError("invalid", `unsupported plugin type "${type}"; there are ${types.join(", ")}`);
  }
  return core.mounts.plugins.filter((plugin) => plugin.class === type).sort((a, b) => (a.type < b.type ? -1 : 1));
};

const namesOf = (call: CoreCall, type: string): readonly string[] => pluginsOf(call, type).map((plugin) => plugin.type);

const shown = ({ type: name, class: type }: MountPlugin) => ({
  type,
  name,
  version: builtin,
  builtin: true,
  deprecation_status: "supported",
});

function one(call: CoreCall): Record<string, unknown> {
  const { type = "", name = "" } = call.params;
  const plugin = pluginsOf(call, type).find((each) => each.type === name);
  if (plugin === undefined) throw new VaultError("not_found", []);
  const { type: _type, ...rest } = shown(plugin);
  return { ...rest, args: null, command: "", sha256: "", oci: false };
}

const refuse = async (): Promise<never> => {
  throw new VaultError("invalid", "plugins are built in: none can be registered or taken out here");
};

function targets(call: CoreCall<typeof reloadFields>): readonly Mounted[] {
  const { plugin = "", mounts = [] } = call.data;
  if (plugin !== "" && mounts.length > 0)
    throw new VaultError("invalid", "plugin and mounts cannot be set at the same time");
  if (plugin === "" && mounts.length === 0) throw new VaultError("invalid", "plugin or mounts must be provided");
  const all = [...call.generation.mounts];
  if (plugin !== "") return all.filter((mounted) => mounted.plugin?.type === plugin);
  return mounts.map((path, at) => {
    const mounted = all.find((each) => each.path === `${trimmed(path)}/`);
    if (mounted?.plugin) return mounted;
    throw new VaultError("invalid", `no plugin is mounted at the path in mounts[${at}]`);
  });
}

const reloadFields = {
  plugin: field.string("All mounts of this type"),
  mounts: field.strings("These mounts, with auth/ before auth methods"),
  scope: field.string("Without meaning: there is one server", { enum: ["", "global"] }),
} as const;

export const pluginRoutes: readonly Route[] = [
  {
    path: "plugins/catalog",
    on: {
      read: coreHandler({
        summary: "All plugins",
        run: async (call) => {
          const names = Object.fromEntries(types.map((type) => [type, namesOf(call, type)]));
          const detailed = types.flatMap((type) => pluginsOf(call, type).map(shown));
          return { data: { ...names, detailed } };
        },
      }),
    },
  },
  {
    path: "plugins/catalog/:type",
    sudo: true,
    on: {
      list: coreHandler({
        summary: "The plugins of a type",
        run: async (call) => ({ data: { keys: namesOf(call, call.params["type"] ?? "") } }),
      }),
    },
  },
  {
    path: "plugins/catalog/:type/:name",
    sudo: true,
    on: {
      read: coreHandler({ summary: "One plugin", run: async (call) => ({ data: one(call) }) }),
      update: coreHandler({ summary: "Refused: plugins are built in", run: refuse }),
      delete: coreHandler({ summary: "Refused: plugins are built in", run: refuse }),
    },
  },
  {
    path: "plugins/reload/backend",
    on: {
      update: coreHandler({
        summary: "Start the plugin of mounts anew; what they store stays",
        fields: reloadFields,
        run: async (call) => {
          const mounts = targets(call);
          await call.core.ledger.edit((table) => {
            // A declaration that is another object has its plugin made anew; its content is the same.
            const put = mounts.flatMap(({ declaration }) => {
              const current = declaration && table.get(declaration.kind, null, declaration.name);
              return current ? [{ ...current }] : [];
            });
            return { put, remove: [] };
          });
          return { data: { reload_id: call.request.id } };
        },
      }),
    },
  },
];
