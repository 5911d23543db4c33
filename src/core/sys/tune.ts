// sys/mounts/:path/tune and sys/auth/:path/tune: what a mount can be told after it was made.

import { parseDuration } from "../../lib/duration.ts";
import { VaultError } from "../../sdk/errors.ts";
import { field, type Values } from "../../sdk/fields.ts";
import type { Declaration } from "../../sdk/kind.ts";
import type { Route } from "../../sdk/mount.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import { listingVisibilities, lockoutFault, type MountSpec, mountTokenTypes, ttlFault, tuningLists } from "../kinds.ts";
import type { Mounted } from "../mounts.ts";
import { refuseManaged } from "../resources.ts";
import { authSide, mountedAt, pathOf, secretSide, shownConfig, type Side } from "./sides.ts";

const listNames = Object.keys(tuningLists) as (keyof typeof tuningLists)[];
const list = (name: keyof typeof tuningLists) => field.strings(tuningLists[name].description);

const lockoutFields = {
  lockout_threshold: field.int("Failed logins in a row that lock a name; 5 where 0", { minimum: 0 }),
  lockout_duration: field.string("How long a name is locked: a duration, or system for the server's"),
  lockout_counter_reset_duration: field.string("When failures before are forgotten: a duration, or system"),
  lockout_counter_reset: field.string("The same, under its other name"),
  lockout_disable: field.bool("Locks nobody"),
} as const;

/** Beside those of the documents: a TTL may be "system". */
export const tuneFields = {
  default_lease_ttl: field.string("TTL where a mapping names none: a duration, or system for the server's"),
  max_lease_ttl: field.string("The longest TTL here: a duration, or system for the server's"),
  description: field.string("What it is for"),
  listing_visibility: field.string("Kept and shown; hides and opens nothing", { enum: listingVisibilities }),
  options: field.map("Options of the plugin; an empty one is taken away"),
  token_type: field.string("The type of tokens that logins get", { enum: ["", ...mountTokenTypes] }),
  user_lockout_config: field.object("When failed logins lock a name", lockoutFields),
  plugin_version: field.string("Which version of the plugin: there is the one built in"),
  audit_non_hmac_request_keys: list("audit_non_hmac_request_keys"),
  audit_non_hmac_response_keys: list("audit_non_hmac_response_keys"),
  passthrough_request_headers: list("passthrough_request_headers"),
  allowed_response_headers: list("allowed_response_headers"),
} as const;

type Tuning = Values<typeof tuneFields>;

function seconds(name: string, given: string | undefined, before: number): number {
  if (given === undefined || given === "") return before;
  if (given === "system") return 0;
  const parsed = parseDuration(given);
  if (parsed !== null) return parsed;
  throw new VaultError("invalid", `error converting input for field "${name}": expected a duration, or "system"`);
}

function tokenTypeOf(side: Side, given: string | undefined, before: string | undefined): { token_type?: string } {
  if (side.class !== "auth") {
    if (given !== undefined) throw new VaultError("invalid", "'token_type' can only be modified on auth mounts");
    return {};
  }
  return { token_type: given === "" ? "default-service" : (given ?? before ?? "default-service") };
}

function lockoutOf(
  side: Side,
  given: Tuning["user_lockout_config"],
  before: MountSpec["config"]["user_lockout_config"],
) {
  if (given === undefined) return before === undefined ? {} : { user_lockout_config: before };
  if (side.class !== "auth") {
    throw new VaultError("invalid", "'user_lockout_config' can only be modified on auth mounts");
  }
  const reset = given.lockout_counter_reset_duration ?? given.lockout_counter_reset;
  return {
    user_lockout_config: {
      lockout_threshold: given.lockout_threshold ?? before?.lockout_threshold ?? 0,
      lockout_duration: seconds("lockout_duration", given.lockout_duration, before?.lockout_duration ?? 0),
      lockout_counter_reset_duration: seconds(
        "lockout_counter_reset_duration",
        reset,
        before?.lockout_counter_reset_duration ?? 0,
      ),
      lockout_disable: given.lockout_disable ?? before?.lockout_disable ?? false,
    },
  };
}

/** What a mount is tuned to after `given`. */
export function tuned(side: Side, given: Tuning, before: MountSpec["config"]): MountSpec["config"] {
  const config = {
    ...before,
    default_lease_ttl: seconds("default_lease_ttl", given.default_lease_ttl, before.default_lease_ttl),
    max_lease_ttl: seconds("max_lease_ttl", given.max_lease_ttl, before.max_lease_ttl),
    listing_visibility: given.listing_visibility ?? before.listing_visibility,
    ...tokenTypeOf(side, given.token_type, before.token_type),
    ...lockoutOf(side, given.user_lockout_config, before.user_lockout_config),
  };
  return { ...config, ...Object.fromEntries(listNames.map((name) => [name, given[name] ?? before[name] ?? []])) };
}

/** Throws where the server, or the mount's own maximum, would never give the default, and where nothing would be locked. */
export function checkTuning(core: CoreCall["core"], side: Side, type: string, config: MountSpec["config"]): void {
  const { default_lease_ttl, max_lease_ttl } = config;
  const unreachable = ttlFault(config);
  const plugin = core.mounts.plugin(side.kind.name, type);
  for (const { message } of plugin === null ? [] : lockoutFault(plugin, config))
    throw new VaultError("invalid", message);
  if (unreachable !== null) throw new VaultError("invalid", unreachable);
  if (max_lease_ttl === 0 && default_lease_ttl > core.maxLeaseTtl) {
    throw new VaultError("invalid", `given default lease TTL greater than system max lease TTL of ${core.maxLeaseTtl}`);
  }
}

export function checkVersion(version: string | undefined): void {
  if (!version) return;
  throw new VaultError("invalid", "no such version of the plugin in the catalog: leave plugin_version out");
}

export function warnOfHeaders(call: Pick<CoreCall, "warn">, given: Tuning): void {
  for (const name of ["passthrough_request_headers", "allowed_response_headers"] as const) {
    if (given[name]?.length) call.warn(`${name} is kept and has no effect: no plugin here takes or gives headers`);
  }
}

function optionsOf(mounted: Mounted, given: Readonly<Record<string, string>> | undefined): Record<string, string> {
  const options: Record<string, string> = { ...mounted.spec?.options };
  for (const [name, value] of Object.entries(given ?? {})) {
    if (value === "" && name !== "version") delete options[name];
    else options[name] = value;
  }
  return options;
}

async function tune(call: CoreCall<typeof tuneFields>, side: Side): Promise<null> {
  const mounted = mountedAt(call, side);
  const path = `${side.prefix}${pathOf(call)}/`;
  if (mounted === null) throw new VaultError("invalid", `tune of path "${path}" failed: no mount entry found`);
  const target = mounted.declaration;
  if (target === null) throw new VaultError("invalid", `cannot tune "${mounted.path}"`);
  const { data } = call;
  checkVersion(data.plugin_version);
  await call.core.ledger.edit((table) => {
    const current = table.get(side.kind.name, null, target.name);
    if (current === null) throw new VaultError("invalid", `tune of path "${path}" failed: no mount entry found`);
    refuseManaged(call.core.generation, current, mounted.path);
    const before = current.spec as unknown as MountSpec;
    const spec: MountSpec = {
      ...before,
      description: data.description ?? before.description,
      options: optionsOf(mounted, data.options),
      config: tuned(side, data, before.config),
    };
    checkTuning(call.core, side, spec.type, spec.config);
    const next: Declaration = { ...current, spec };
    for (const fault of side.kind.check?.(next) ?? []) throw new VaultError("invalid", fault.message);
    return { put: [next], remove: [] };
  });
  warnOfHeaders(call, data);
  const after = call.core.generation.mounts.byAccessor(mounted.accessor);
  if (after === null) return null;
  const { warning } = after.plugin?.change?.(mounted.context.options, after.context.options) ?? {};
  if (warning !== undefined) call.warn(warning);
  return null;
}

function read(call: CoreCall, side: Side) {
  const mounted = mountedAt(call, side);
  if (mounted === null)
    throw new VaultError("invalid", `cannot fetch sysview for path "${side.prefix}${pathOf(call)}/"`);
  const { core } = call;
  const config = mounted.spec?.config;
  const options = mounted.context.options;
  const { user_lockout_config: lockout, ...shown } = shownConfig(mounted);
  const data = {
    ...shown,
    ...(lockout as object | undefined),
    default_lease_ttl: config?.default_lease_ttl || core.defaultLeaseTtl,
    max_lease_ttl: config?.max_lease_ttl || core.maxLeaseTtl,
    description: mounted.description,
    ...(Object.keys(options).length > 0 && { options }),
  };
  return { data, shape: "both" } as const;
}

const routeOf = (path: string, side: Side): Route => ({
  path,
  sudo: side.class === "auth",
  on: {
    read: coreHandler({ summary: "A mount's tuning", run: async (call) => read(call, side) }),
    update: coreHandler({
      summary: "Change a mount's tuning",
      fields: tuneFields,
      run: (call) => tune(call, side),
    }),
  },
});

export const tuneRoutes: readonly Route[] = [
  routeOf("mounts/:path*/tune", secretSide),
  // The same as below sys/auth/, and no easier to get at.
  routeOf("mounts/auth/:path*/tune", authSide),
  routeOf("auth/:path*/tune", authSide),
];
