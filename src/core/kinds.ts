// The kinds of the core itself: what is mounted where, and who is who. Policy comes from the policy folder, the rest
// from plugins. One table serves the Git schema and the API.

import { passwordPolicyKind } from "../policy/password.ts";
import { field, type Values } from "../sdk/fields.ts";
import type { Declaration, Fault, Kind } from "../sdk/kind.ts";
import type { MountPlugin } from "../sdk/mount.ts";
import { rootFaults } from "../sdk/resourceKind.ts";
import { proveEntity, proveGroup } from "./identity/proofs.ts";
import { tokenRoleKind } from "./tokens/roles.ts";

const mountPath = "^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*/?$";

/** Parts of a mount's tuning that are lists. Mounts made before there were any have none. */
export const tuningLists = {
  audit_non_hmac_request_keys: field.strings(
    "Fields of requests that stand in the audit in clear; no name of a password, token or key",
    { default: [] },
  ),
  audit_non_hmac_response_keys: field.strings("The same for fields of answers", { default: [] }),
  passthrough_request_headers: field.strings("Kept as it is sent and shown again: no plugin here asks for headers", {
    default: [],
  }),
  allowed_response_headers: field.strings("Kept as it is sent and shown again: no plugin here answers with headers", {
    default: [],
  }),
} as const;

export const listingVisibilities = ["", "hidden", "unauth"] as const;

const tuning = {
  default_lease_ttl: field.duration("TTL where a mapping names none; the server's where 0", { default: 0 }),
  max_lease_ttl: field.duration("The longest TTL at this mount; the server's where 0", { default: 0 }),
  listing_visibility: field.string("Kept as it is sent and shown again; what is listed follows from the token", {
    enum: listingVisibilities,
    default: "",
  }),
  ...tuningLists,
} as const;

export const untuned = {
  default_lease_ttl: 0,
  max_lease_ttl: 0,
  listing_visibility: "",
  audit_non_hmac_request_keys: [],
  audit_non_hmac_response_keys: [],
  passthrough_request_headers: [],
  allowed_response_headers: [],
} as const;

/** Of Vault's mounts. Clients that sent one make the mount anew where they do not read it again. */
export const keptFlags = {
  local: field.bool("Kept and shown, without meaning: there is no replication"),
  seal_wrap: field.bool("Kept and shown, without meaning: everything is encrypted"),
  external_entropy_access: field.bool("Kept and shown, without meaning"),
} as const;

export const mountFields = {
  path: field.string("Where it is mounted; the name where left out", { pattern: mountPath }),
  type: field.string("Which plugin, such as kv or userpass", { required: true }),
  description: field.string("What it is for", { default: "" }),
  options: field.map("Options of the plugin, such as version", { default: {} }),
  config: field.object("Tuning", tuning, { default: untuned }),
  ...keptFlags,
  on_remove: field.string(
    "What becomes of the data when the document goes: it is kept unless an earlier commit said delete",
    {
      enum: ["retain", "delete"],
      default: "retain",
    },
  ),
} as const;

const lockoutFields = {
  lockout_threshold: field.int("Failed logins in a row that lock a name; 5 where 0", { default: 0, minimum: 0 }),
  lockout_duration: field.duration("How long a name is locked; 15 minutes where 0", { default: 0 }),
  lockout_counter_reset_duration: field.duration("When failures before are forgotten; 15 minutes where 0", {
    default: 0,
  }),
  lockout_disable: field.bool("Locks nobody", { default: false }),
} as const;

/** Whose tokens a login gets: as its mapping says where it begins with "default-". */
export const mountTokenTypes = ["default-service", "default-batch", "service", "batch"] as const;

export const authFields = {
  ...mountFields,
  config: field.object(
    "Tuning",
    {
      ...tuning,
      token_type: field.string("The type of tokens; default-… where the mapping may say otherwise", {
        enum: mountTokenTypes,
        default: "default-service",
      }),
      user_lockout_config: field.object("When failed logins lock a name, where logins have passwords", lockoutFields),
    },
    { default: { ...untuned, token_type: "default-service", user_lockout_config: undefined } },
  ),
} as const;

/** Of either class: secret engines have no token type, and auth methods older than it have none either. */
export type MountSpec = Omit<Values<typeof mountFields>, "config"> & {
  readonly config: Omit<Values<typeof tuning>, keyof typeof tuningLists> &
    Partial<Values<typeof tuningLists>> & {
      readonly token_type?: string;
      readonly user_lockout_config?: Values<typeof lockoutFields>;
    };
};

/** Without slashes at its ends. */
export const mountPathOf = (name: string, spec: { readonly path?: string | undefined }): string =>
  (spec.path ?? name).replace(/\/+$/, "");

/** What a field that holds a secret is called, whatever else stands in its name. */
const secretName = /token|secret|passw|passphrase|credential|accessor|private|(?:^|[_-])(?:keys?|otp|pin|pwd)$/i;

function clearFaults(config: Partial<MountSpec["config"]>): readonly Fault[] {
  return (["audit_non_hmac_request_keys", "audit_non_hmac_response_keys"] as const).flatMap((list) =>
    (config[list] ?? [])
      .filter((name) => secretName.test(name))
      .map((name) => ({
        path: ["config", list],
        message: `${list}: "${name}" is the name of a secret, which never stands in the audit in clear`,
      })),
  );
}

/** First segments that belong to the core. */
const reserved = new Set(["sys", "auth", "identity", "cubbyhole"]);

/** A default that the maximum would never let anybody have. */
export function ttlFault({
  default_lease_ttl: usual = 0,
  max_lease_ttl: max = 0,
}: Partial<MountSpec["config"]>): string | null {
  if (max === 0 || usual <= max) return null;
  return `backend max lease TTL of ${max} would be less than backend default lease TTL of ${usual}`;
}

function ttlFaults(config: Partial<MountSpec["config"]>): readonly Fault[] {
  const message = ttlFault(config);
  return message === null ? [] : [{ path: ["config", "default_lease_ttl"], message }];
}

const configOf = ({ spec }: Declaration): Partial<MountSpec["config"]> => (spec as unknown as MountSpec).config;

function checkSecret(declaration: Declaration): readonly Fault[] {
  const path = mountPathOf(declaration.name, declaration.spec);
  const first = path.split("/")[0] ?? "";
  const taken = { path: ["path"], message: `"${first}/" belongs to the vault itself; choose another path` };
  const config = configOf(declaration);
  return [...(reserved.has(first) ? [taken] : []), ...clearFaults(config), ...ttlFaults(config)];
}

function checkAuth(declaration: Declaration): readonly Fault[] {
  const path = mountPathOf(declaration.name, declaration.spec);
  const taken = { path: ["path"], message: '"auth/token/" belongs to the vault itself; choose another path' };
  const config = configOf(declaration);
  const isTaken = path === "token" || path.startsWith("token/");
  return [...(isTaken ? [taken] : []), ...clearFaults(config), ...ttlFaults(config)];
}

const trimSlash = (name: string): string => name.replace(/^\/+|\/+$/g, "");

export const secretEngineKind: Kind = {
  name: "SecretEngine",
  description: "A secret engine mounted at a path",
  mount: null,
  fields: mountFields,
  normalize: trimSlash,
  check: checkSecret,
};

export const authMethodKind: Kind = {
  name: "AuthMethod",
  description: "An auth method mounted below auth/",
  mount: null,
  fields: authFields,
  normalize: trimSlash,
  check: checkAuth,
};

export const entityFields = {
  aliases: field.list(
    "The login names that are this person or service",
    {
      mount: field.string("Path of the auth method, without auth/", { required: true, mount: "auth" }),
      name: field.string("The login name there", { required: true }),
    },
    { default: [] },
  ),
  policies: field.strings("Policies it has wherever it logs in", { default: [], ref: "Policy" }),
  metadata: field.map("Facts for templated policies", { default: {} }),
  disabled: field.bool("Denies every request of its tokens", { default: false }),
} as const;

export type EntitySpec = Values<typeof entityFields>;

export const groupFields = {
  policies: field.strings("Policies of its members", { default: [], ref: "Policy" }),
  member_entities: field.strings("Names of entities", { default: [], ref: "Entity" }),
  member_groups: field.strings("Names of groups whose members are members here", { default: [], ref: "Group" }),
  metadata: field.map("Facts for templated policies", { default: {} }),
} as const;

export type GroupSpec = Values<typeof groupFields>;

/** One person is one entity, whatever the case of the name. */
const inAnyCase = (name: string): string => name.toLowerCase();

export const entityKind: Kind = {
  name: "Entity",
  description: "A person or a service, with the login names that are it",
  mount: null,
  fields: entityFields,
  fold: inAnyCase,
  check: ({ spec }) => rootFaults(entityFields, spec),
};

export const groupKind: Kind = {
  name: "Group",
  description: "Entities that share policies",
  mount: null,
  fields: groupFields,
  fold: inAnyCase,
  check: ({ spec }) => rootFaults(groupFields, spec),
  prove: proveGroup,
};

/** Tuned to lock names where no login is by what may be guessed at. */
export function lockoutFault(plugin: MountPlugin, config: MountSpec["config"]): readonly Fault[] {
  if (config.user_lockout_config === undefined || plugin.guessed !== undefined) return [];
  const message = `tuning of user lockout configuration for auth type "${plugin.type}" not allowed: nothing is guessed there`;
  return [{ path: ["config", "user_lockout_config"], message }];
}

/** Types and options as the plugins know them, so that `writ check` finds what a mount would refuse. */
function pluginFaults(mountClass: MountPlugin["class"], plugins: readonly MountPlugin[]) {
  const known = plugins.filter((plugin) => plugin.class === mountClass);
  return (declaration: Declaration): readonly Fault[] => {
    const spec = declaration.spec as unknown as MountSpec;
    const plugin = known.find((each) => each.type === spec.type);
    if (plugin === undefined) {
      const types = known.map((each) => each.type).join(", ");
      return [{ path: ["type"], message: `there is no ${mountClass} plugin of this type; there are: ${types}` }];
    }
    const wrong = Object.entries(spec.options).flatMap(([name, value]): readonly Fault[] => {
      const option = plugin.options[name];
      const path = ["options", name];
      if (option === undefined) {
        return [
          { path, message: `${plugin.type} takes no such option; it takes: ${Object.keys(plugin.options).join(", ")}` },
        ];
      }
      if (!option.enum || option.enum.includes(value)) return [];
      return [{ path, message: `must be one of: ${option.enum.join(", ")}` }];
    });
    return [...lockoutFault(plugin, spec.config), ...wrong];
  };
}

/** The core's kinds for a program with these plugins. */
export function coreKinds(plugins: readonly MountPlugin[]): readonly Kind[] {
  const secretFaults = pluginFaults("secret", plugins);
  const authFaults = pluginFaults("auth", plugins);
  return [
    { ...secretEngineKind, check: (declaration) => [...checkSecret(declaration), ...secretFaults(declaration)] },
    { ...authMethodKind, check: (declaration) => [...checkAuth(declaration), ...authFaults(declaration)] },
    { ...entityKind, prove: proveEntity(plugins) },
    groupKind,
    tokenRoleKind,
    passwordPolicyKind,
  ];
}
