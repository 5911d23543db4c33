// What sys/mounts and sys/auth have in common: which mounts each shows, how, and how one is found.

import { VaultError } from "../../sdk/errors.ts";
import type { CoreCall } from "../call.ts";
import { authMethodKind, secretEngineKind, tuningLists } from "../kinds.ts";
import type { Mounted } from "../mounts.ts";

export interface Side {
  readonly class: "secret" | "auth";
  readonly kind: typeof secretEngineKind;
  /** Below sys/. */
  readonly folder: string;
  readonly prefix: string;
  readonly missing: string;
}

export const secretSide: Side = {
  class: "secret",
  kind: secretEngineKind,
  folder: "mounts",
  prefix: "",
  missing: "No secret engine mount at",
};
export const authSide: Side = {
  class: "auth",
  kind: authMethodKind,
  folder: "auth",
  prefix: "auth/",
  missing: "No auth engine at",
};

/** What a mount is tuned to. TTLs are 0 where the server's hold. */
export function shownConfig({ spec, path }: Mounted): Record<string, unknown> {
  const config = spec?.config;
  const lockout = config?.user_lockout_config;
  const lists = (Object.keys(tuningLists) as (keyof typeof tuningLists)[]).flatMap((name) =>
    config?.[name]?.length ? [[name, config[name]] as const] : [],
  );
  return {
    default_lease_ttl: config?.default_lease_ttl ?? 0,
    force_no_cache: false,
    max_lease_ttl: config?.max_lease_ttl ?? 0,
    ...Object.fromEntries(lists),
    ...(config?.listing_visibility && { listing_visibility: config.listing_visibility }),
    ...(path.startsWith("auth/") && { token_type: config?.token_type ?? "default-service" }),
    ...(lockout && {
      user_lockout_config: {
        user_lockout_counter_reset_duration: lockout.lockout_counter_reset_duration,
        user_lockout_disable: lockout.lockout_disable,
        user_lockout_duration: lockout.lockout_duration,
        user_lockout_threshold: lockout.lockout_threshold,
      },
    }),
  };
}

export function shownMount(mounted: Mounted): Record<string, unknown> {
  const { spec, context } = mounted;
  const { options } = context;
  return {
    accessor: mounted.accessor,
    config: shownConfig(mounted),
    deprecation_status: "supported",
    description: mounted.description,
    external_entropy_access: spec?.external_entropy_access ?? false,
    local: spec?.local ?? false,
    options: Object.keys(options).length === 0 ? null : options,
    plugin_version: "",
    running_plugin_version: "",
    running_sha256: "",
    seal_wrap: spec?.seal_wrap ?? false,
    type: mounted.type,
    uuid: mounted.uuid,
  };
}

export const belongs = (side: Side, mounted: Mounted): boolean =>
  side.class === "auth" ? mounted.path.startsWith("auth/") : !mounted.path.startsWith("auth/");

export const shownPath = (side: "auth" | "secret", mounted: Mounted): string =>
  side === "auth" ? mounted.path.slice("auth/".length) : mounted.path;

export const trimmed = (path: string): string => path.replace(/^\/+|\/+$/g, "");

export const pathOf = (call: Pick<CoreCall, "params">): string => trimmed(call.params["path"] ?? "");

export function mountedAt(call: CoreCall, side: Side): Mounted | null {
  const mounted = call.generation.mounts.at(`${side.prefix}${pathOf(call)}`);
  return mounted !== null && belongs(side, mounted) ? mounted : null;
}

/** The mount that a path below sys/mounts or sys/auth names: an auth method is asked for below both. */
export function found(call: CoreCall, side: Side): Mounted {
  const mounted = call.generation.mounts.at(`${side.prefix}${pathOf(call)}`);
  if (mounted === null) throw new VaultError("invalid", `${side.missing} ${pathOf(call)}/`);
  return mounted;
}
