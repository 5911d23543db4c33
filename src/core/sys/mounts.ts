// sys/mounts and sys/auth: what is mounted where. A mount is a declaration like any other: the API's stand beside Git's,
// and Git's are shown here but changed there.

import { VaultError } from "../../sdk/errors.ts";
import { field, parse } from "../../sdk/fields.ts";
import type { Declaration } from "../../sdk/kind.ts";
import type { Route } from "../../sdk/mount.ts";
import type { Json } from "../../sdk/view.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import { authMethodKind, mountPathOf, type MountSpec, mountTokenTypes, secretEngineKind } from "../kinds.ts";
import type { Mounted } from "../mounts.ts";
import { refuseManaged } from "../resources.ts";

interface Side {
  readonly class: "secret" | "auth";
  readonly kind: typeof secretEngineKind;
  /** Below sys/. */
  readonly folder: string;
  readonly prefix: string;
  readonly missing: string;
}

const secretSide: Side = {
  class: "secret",
  kind: secretEngineKind,
  folder: "mounts",
  prefix: "",
  missing: "No secret engine mount at",
};
const authSide: Side = {
  class: "auth",
  kind: authMethodKind,
  folder: "auth",
  prefix: "auth/",
  missing: "No auth engine at",
};

const enableFields = {
  type: field.string("Plugin type"),
  plugin_name: field.string("The same, under its old name"),
  description: field.string("What it is for", { default: "" }),
  config: field.json("Tuning: default_lease_ttl, max_lease_ttl, listing_visibility, options"),
  options: field.map("Options of the plugin", { default: {} }),
  local: field.bool("Accepted and without meaning: there is no replication", { default: false }),
  seal_wrap: field.bool("Accepted and without meaning: everything is encrypted", { default: false }),
  external_entropy_access: field.bool("Accepted and without meaning", { default: false }),
} as const;

const tuneFields = {
  default_lease_ttl: field.duration("TTL where a mapping names none"),
  max_lease_ttl: field.duration("The longest TTL here"),
  description: field.string("What it is for"),
  listing_visibility: field.string("Kept and shown; hides and opens nothing", { enum: ["", "hidden", "unauth"] }),
  options: field.map("Options of the plugin"),
  token_type: field.string("The type of tokens that logins get", { enum: mountTokenTypes }),
} as const;

const configOf = (mounted: Mounted): Record<string, unknown> => {
  const config = mounted.spec?.config;
  return {
    default_lease_ttl: config?.default_lease_ttl ?? 0,
    force_no_cache: false,
    max_lease_ttl: config?.max_lease_ttl ?? 0,
    ...(config?.listing_visibility && { listing_visibility: config.listing_visibility }),
    ...(mounted.class === "auth" && { token_type: config?.token_type ?? "default-service" }),
  };
};

export function shownMount(mounted: Mounted): Record<string, unknown> {
  const options = mounted.context.options;
  return {
    accessor: mounted.accessor,
    config: configOf(mounted),
    deprecation_status: "supported",
    description: mounted.description,
    external_entropy_access: false,
    local: false,
    options: Object.keys(options).length === 0 ? null : options,
    plugin_version: "",
    running_plugin_version: "",
    running_sha256: "",
    seal_wrap: false,
    type: mounted.type,
    uuid: mounted.uuid,
  };
}

const belongs = (side: Side, mounted: Mounted): boolean =>
  side.class === "auth" ? mounted.path.startsWith("auth/") : !mounted.path.startsWith("auth/");

export const shownPath = (side: "auth" | "secret", mounted: Mounted): string =>
  side === "auth" ? mounted.path.slice("auth/".length) : mounted.path;

const pathOf = (call: CoreCall): string => (call.params["path"] ?? "").replace(/^\/+|\/+$/g, "");

const mountedAt = (call: CoreCall, side: Side): Mounted | null => {
  const mounted = call.generation.mounts.at(`${side.prefix}${pathOf(call)}`);
  return mounted !== null && belongs(side, mounted) ? mounted : null;
};

function found(call: CoreCall, side: Side): Mounted {
  const mounted = mountedAt(call, side);
  if (mounted === null) throw new VaultError("invalid", `${side.missing} ${pathOf(call)}/`);
  return mounted;
}

/** Vault's spellings of a type that carry an option. */
function typeOf(
  type: string,
  options: Readonly<Record<string, string>>,
): { type: string; options: Record<string, string> } {
  const version = /^kv-v([12])$/.exec(type)?.[1];
  return version === undefined ? { type, options: { ...options } } : { type: "kv", options: { version, ...options } };
}

function tokenTypeOf(side: Side, type: string | undefined): { readonly token_type?: string } {
  if (type !== undefined && side.class !== "auth") {
    throw new VaultError("invalid", "'token_type' can only be modified on auth mounts");
  }
  return type === undefined ? {} : { token_type: type };
}

function enabled(call: CoreCall<typeof enableFields>, side: Side): Declaration {
  const path = pathOf(call);
  const named = call.data.type || call.data.plugin_name;
  if (!named) throw new VaultError("invalid", "backend type must be specified as a string");
  const config = (call.data.config ?? {}) as Record<string, unknown>;
  const { options: more, ...tuning } = config;
  const { type, options } = typeOf(named, {
    ...parse({ options: enableFields.options }, { options: more ?? {} }).values.options,
    ...call.data.options,
  });
  if (side.class === "secret" && type === "kv" && options["version"] === undefined) options["version"] = "1";
  if (call.core.mounts.plugin(side.kind.name, type) === null)
    throw new VaultError("invalid", `plugin not found in the catalog: ${type}`);
  const tuned = parse(tuneFields, tuning).values;
  const input = {
    type,
    path,
    description: call.data.description,
    options,
    config: {
      default_lease_ttl: tuned.default_lease_ttl ?? 0,
      max_lease_ttl: tuned.max_lease_ttl ?? 0,
      listing_visibility: tuned.listing_visibility ?? "",
      ...tokenTypeOf(side, tuned.token_type),
    },
    on_remove: "delete",
  };
  const spec = parse(side.kind.fields, input).values as unknown as Record<string, Json>;
  return { kind: side.kind.name, mount: null, name: path, metadata: { name: path }, spec, secrets: {}, source: null };
}

function enable(side: Side): Route {
  return {
    path: `${side.folder}/:path*`,
    sudo: side.class === "auth",
    on: {
      read: coreHandler({
        summary: "One mount",
        run: async (call) => ({ data: shownMount(found(call, side)), shape: "both" }),
      }),
      update: coreHandler({
        summary: "Mount a plugin",
        fields: enableFields,
        run: async (call) => {
          const declaration = enabled(call, side);
          const path = pathOf(call);
          for (const fault of side.kind.check?.(declaration) ?? []) throw new VaultError("invalid", fault.message);
          await call.core.ledger.edit((table) => {
            const clash = [...table.shelf(side.kind.name, null).values()].find(
              (one) => mountPathOf(one.name, one.spec as unknown as MountSpec) === path,
            );
            if (clash !== undefined) throw new VaultError("invalid", `path is already in use at ${path}/`);
            if (table.get(side.kind.name, null, declaration.name) !== null)
              throw new VaultError("invalid", `the name ${path} is in use by another mount`);
            return { put: [declaration], remove: [] };
          });
          return null;
        },
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

async function tune(call: CoreCall<typeof tuneFields>, side: Side): Promise<null> {
  const mounted = found(call, side);
  const target = mounted.declaration;
  if (target === null) throw new VaultError("invalid", `cannot tune "${mounted.path}"`);
  await call.core.ledger.edit((table) => {
    const current = table.get(side.kind.name, null, target.name);
    if (current === null) throw new VaultError("invalid", `${side.missing} ${mounted.path}`);
    refuseManaged(call.core.generation, current, mounted.path);
    const before = current.spec as unknown as MountSpec;
    const { data } = call;
    const spec: MountSpec = {
      ...before,
      description: data.description ?? before.description,
      options: { ...before.options, ...data.options },
      config: {
        default_lease_ttl: data.default_lease_ttl ?? before.config.default_lease_ttl,
        max_lease_ttl: data.max_lease_ttl ?? before.config.max_lease_ttl,
        listing_visibility: data.listing_visibility ?? before.config.listing_visibility,
        ...tokenTypeOf(side, data.token_type ?? before.config.token_type),
      },
    };
    return { put: [{ ...current, spec: spec }], remove: [] };
  });
  const after = call.core.generation.mounts.byAccessor(mounted.accessor);
  if (after === null) return null;
  const { warning } = after.plugin?.change?.(mounted.context.options, after.context.options) ?? {};
  if (warning !== undefined) call.warn(warning);
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
    enable(side),
  ];
}

/** Vault's tune paths end in "/tune" behind a path of any length, which a rest parameter cannot say: the handler of
 *  `:path*` would swallow it. So tune stands at one and two segments, which is what mounts in use have. */
function tuneRoutes(side: Side): Route[] {
  return [`${side.folder}/:path/tune`, `${side.folder}/:path/:second/tune`].map((path) => ({
    path,
    sudo: side.class === "auth",
    on: {
      read: coreHandler({
        summary: "A mount's tuning",
        run: async (call) => {
          const mounted = found(withPath(call), side);
          const { core } = call;
          const config = mounted.spec?.config;
          const options = mounted.context.options;
          const data = {
            ...configOf(mounted),
            default_lease_ttl: config?.default_lease_ttl || core.defaultLeaseTtl,
            max_lease_ttl: config?.max_lease_ttl || core.maxLeaseTtl,
            description: mounted.description,
            ...(Object.keys(options).length > 0 && { options }),
          };
          return { data, shape: "both" };
        },
      }),
      update: coreHandler({
        summary: "Change a mount's tuning",
        fields: tuneFields,
        run: (call) => tune(withPath(call), side),
      }),
    },
  }));
}

function withPath<C extends { readonly params: Readonly<Record<string, string>> }>(call: C): C {
  const { path, second } = call.params;
  return second === undefined ? call : { ...call, params: { path: `${path ?? ""}/${second}` } };
}

export const mountRoutes: readonly Route[] = [...routesOf(secretSide), ...tuneRoutes(secretSide)];
export const authRoutes: readonly Route[] = [...routesOf(authSide), ...tuneRoutes(authSide)];
