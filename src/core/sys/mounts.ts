// sys/mounts and sys/auth: what is mounted where. A mount is a declaration like any other: the API's stand beside Git's,
// and Git's are shown here but changed there.

import { VaultError } from "../../sdk/errors.ts";
import { field, parse } from "../../sdk/fields.ts";
import type { Declaration } from "../../sdk/kind.ts";
import type { Route } from "../../sdk/mount.ts";
import type { Json } from "../../sdk/view.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import { keptFlags, mountPathOf, type MountSpec, untuned } from "../kinds.ts";
import { refuseManaged } from "../resources.ts";
import type { Table } from "../table.ts";
import { authSide, belongs, found, mountedAt, pathOf, secretSide, shownMount, shownPath, type Side } from "./sides.ts";
import { checkTuning, checkVersion, tuned, tuneFields, tuneRoutes, warnOfHeaders } from "./tune.ts";

const enableFields = {
  type: field.string("Plugin type"),
  plugin_name: field.string("The same, under its old name"),
  description: field.string("What it is for", { default: "" }),
  config: field.json("Tuning, as sys/mounts/:path/tune takes it"),
  plugin_version: field.string("Which version of the plugin: there is the one built in"),
  options: field.map("Options of the plugin", { default: {} }),
  ...keptFlags,
} as const;

/** Vault's spellings of a type that carry an option. */
function typeOf(
  type: string,
  options: Readonly<Record<string, string>>,
): { type: string; options: Record<string, string> } {
  const version = /^kv-v([12])$/.exec(type)?.[1];
  return version === undefined ? { type, options: { ...options } } : { type: "kv", options: { version, ...options } };
}

const catalog = ({ core }: Pick<CoreCall, "core">, side: Side): string =>
  `there are ${core.mounts.plugins.flatMap((plugin) => (plugin.class === side.class ? [plugin.type] : [])).join(", ")}`;

/** Those that are set: what is declared without them stays the object that it is. */
const flagsOf = (data: Readonly<Partial<Record<keyof typeof keptFlags, boolean | undefined>>>) =>
  Object.fromEntries(
    Object.keys(keptFlags).flatMap((name) => (data[name as keyof typeof keptFlags] ? [[name, true]] : [])),
  );

function wanted(call: CoreCall<typeof enableFields>, side: Side): Declaration["spec"] {
  const { data } = call;
  const config = (data.config ?? {}) as Record<string, unknown>;
  const tuning = parse(tuneFields, config).values;
  const named = data.type && data.type !== "plugin" ? data.type : (data.plugin_name ?? config["plugin_name"]);
  if (typeof named !== "string" || named === "") {
    throw new VaultError("invalid", "backend type must be specified as a string");
  }
  const { type, options } = typeOf(named, { ...tuning.options, ...data.options });
  if (side.class === "secret" && type === "kv" && options["version"] === undefined) options["version"] = "1";
  if (call.core.mounts.plugin(side.kind.name, type) === null)
    throw new VaultError("invalid", `plugin not found in the catalog: ${catalog(call, side)}`);
  checkVersion(data.plugin_version ?? tuning.plugin_version);
  const input = {
    type,
    path: pathOf(call),
    description: data.description,
    options,
    config: tuned(side, tuning, untuned),
    ...flagsOf(data),
    on_remove: "delete",
  };
  checkTuning(call.core, side, type, input.config);
  warnOfHeaders(call, tuning);
  return parse(side.kind.fields, input).values as unknown as Record<string, Json>;
}

/** The path, unless that is the name of a mount that was moved away from it, or of what one left. */
function freeName(call: CoreCall, table: Table, side: Side, declaration: Declaration): string {
  const taken = (name: string): boolean =>
    table.get(side.kind.name, null, name) !== null ||
    (name !== declaration.name && call.core.mounts.state({ ...declaration, name }) !== null);
  let name = declaration.name;
  for (let at = 2; taken(name); at++) name = `${declaration.name}-${at}`;
  return name;
}

async function enable(call: CoreCall<typeof enableFields>, side: Side): Promise<null> {
  const path = pathOf(call);
  const spec = wanted(call, side);
  const kind = side.kind.name;
  const declaration: Declaration = {
    kind,
    mount: null,
    name: path,
    metadata: { name: path },
    spec,
    secrets: {},
    source: null,
  };
  for (const fault of side.kind.check?.(declaration) ?? []) throw new VaultError("invalid", fault.message);
  await call.core.ledger.edit((table) => {
    const clash = [...table.shelf(kind, null).values()].find(
      (one) => mountPathOf(one.name, one.spec as unknown as MountSpec) === path,
    );
    if (clash !== undefined) throw new VaultError("invalid", `path is already in use at ${path}/`);
    const name = freeName(call, table, side, declaration);
    return { put: [{ ...declaration, name, metadata: { name } }], remove: [] };
  });
  return null;
}

function oneRoute(side: Side): Route {
  return {
    path: `${side.folder}/:path*`,
    sudo: side.class === "auth",
    on: {
      read: coreHandler({
        summary: "One mount",
        // Newer clients ask for an auth method as sys/mounts/auth/:path, as they tune it.
        run: async (call) => ({ data: shownMount(found(call, side)), shape: "both" }),
      }),
      update: coreHandler({
        summary: "Mount a plugin",
        fields: enableFields,
        run: (call) => enable(call, side),
      }),
      delete: coreHandler({ summary: "Unmount, with its data, tokens and leases", run: (call) => disable(call, side) }),
    },
  };
}

async function disable(call: CoreCall, side: Side): Promise<null> {
  const mounted = mountedAt(call, side);
  if (mounted === null) return null;
  if (mounted.declaration === null) throw new VaultError("invalid", `cannot unmount "${mounted.path}"`);
  const target = mounted.declaration;
  refuseManaged(call.generation, target, mounted.path);
  await call.core.ledger.edit((table) => {
    const current = table.get(side.kind.name, null, target.name);
    if (current === null) return { put: [], remove: [] };
    refuseManaged(call.core.generation, current, mounted.path);
    const inside = (mounted.plugin?.resources ?? []).flatMap((resource) => [
      ...table.shelf(resource.kind, mounted.mount).values(),
    ]);
    const managed = inside.find((declaration) => declaration.source !== null);
    refuseManaged(
      call.core.generation,
      managed ?? null,
      `${managed?.kind ?? ""} ${managed?.name ?? ""} at ${mounted.path}`,
    );
    return { put: [], remove: [...inside, current] };
  });
  return null;
}

function routesOf(side: Side): Route[] {
  return [
    {
      path: side.folder,
      on: {
        read: coreHandler({
          summary: "All mounts",
          run: async (call) => {
            const mounts = [...call.generation.mounts].filter((mounted) => belongs(side, mounted));
            const data = Object.fromEntries(
              mounts.map((mounted) => [shownPath(side.class, mounted), shownMount(mounted)]).sort(),
            );
            return { data, shape: "both" };
          },
        }),
      },
    },
    oneRoute(side),
  ];
}

export const mountRoutes: readonly Route[] = [...routesOf(secretSide), ...routesOf(authSide), ...tuneRoutes];
