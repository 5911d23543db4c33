// Reads and validates `writ.yaml`, the server's own configuration.
// Must hold: all faults are reported together, each with file:line:column and what to do; an unknown key is an error; no
// value of the file is repeated in a message (somebody may have written a secret there); secrets are files, never values;
// what comes out is not checked again.
// A field named `path`, `…_path`, `socket`, `…_file`, `…_files` or `…_folders` is a path: a relative one counts from the file's folder.

import { dirname, isAbsolute, resolve } from "node:path";
import type { ErrorObject } from "ajv/dist/2020.js";
import type { Validate } from "./configCheck.ts";
import { type Listener, listenerFault, listenerFields, listenerOf } from "./configListener.ts";
import { type Fault, parseConfigText } from "./configText.ts";
import type { Format, Level } from "./lib/log.ts";
import { nearest } from "./lib/nearest.ts";
import { isVaultError } from "./sdk/errors.ts";
import { field, type Fields, parse, schemaOf, type Values } from "./sdk/fields.ts";

export { ConfigError } from "./configText.ts";

/** The settings that plugins and gitops take, by plugin type. */
export interface Tables<G extends Fields = Fields> {
  readonly storage: Readonly<Record<string, Fields>>;
  readonly seal: Readonly<Record<string, Fields>>;
  readonly audit: Readonly<Record<string, Fields>>;
  readonly gitops: G;
}

export interface Plugged {
  readonly type: string;
  /** By the plugin's table; paths are absolute. */
  readonly settings: Readonly<Record<string, unknown>>;
}

export interface AuditSetting extends Plugged {
  readonly name: string;
  readonly required: boolean;
}

export interface Config<G extends Fields = Fields> {
  readonly storage: Plugged;
  readonly seal: Plugged;
  readonly listeners: readonly Listener[];
  /** At least one; names differ. */
  readonly audit: readonly AuditSetting[];
  /** Where the API may make audit devices; nowhere where empty. */
  readonly auditFolders: readonly string[];
  /** Null where Git is not used. */
  readonly gitops: Values<G> | null;
  /** Folder for what can be made anew, such as the clone of the policy repository; null where nothing needs one. */
  readonly cachePath: string | null;
  readonly log: { readonly level: Level; readonly format: Format };
  /** Seconds. */
  readonly defaultLeaseTtl: number;
  readonly maxLeaseTtl: number;
  readonly keepGenerations: number;
  /** Whether sys/init answers to other machines. */
  readonly allowRemoteInit: boolean;
  /** Of "rekey" and "generate-root". */
  readonly allowUnauthenticated: readonly string[];
  readonly clusterName: string;
}

const days32 = 768 * 3600;
const days400 = 400 * 24 * 3600;
const general = {
  cache_path: field.string("Folder for what can be made anew, such as the clone of the policy repository"),
  audit_folders: field.strings("Folders in which the API may make audit files; without any it makes no audit device", {
    default: [],
  }),
  log: field.object(
    "The server's own log, on standard error",
    {
      level: field.string("The least that is printed", { enum: ["debug", "info", "warn", "error"], default: "info" }),
      format: field.string("A JSON object a line, or text for people", { enum: ["json", "text"], default: "json" }),
    },
    { default: { level: "info", format: "json" } },
  ),
  default_lease_ttl: field.duration("How long tokens and leases last where nothing else says", { default: days32 }),
  max_lease_ttl: field.duration("The longest that tokens and leases last", { default: days32 }),
  keep_generations: field.duration("How long superseded policies and identities are kept; as long as their audit", {
    default: days400,
  }),
  allow_remote_init: field.bool("Lets other machines initialise the vault", { default: false }),
  allow_unauthenticated: field.strings("What callers without a token may do, if they have enough shares", {
    default: [],
    enum: ["rekey", "generate-root"],
  }),
  cluster_name: field.string("A name for this vault, shown by sys/health", {
    default: "writ",
    pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
  }),
} as const;

const device = {
  name: field.string("The device's name in logs and in sys/audit; the type where left out", {
    pattern: "^[a-z0-9][a-z0-9_-]{0,62}$",
  }),
  required: field.bool("Answers wait until this device has kept the entry too", { default: false }),
} as const;

type Schema = Readonly<Record<string, unknown>>;

/** An object whose `type` says which table the rest follows. */
function plugged(description: string, tables: Readonly<Record<string, Fields>>, common: Fields = {}): Schema {
  return {
    type: "object",
    description,
    required: ["type"],
    properties: { type: { type: "string", enum: Object.keys(tables), description: "Which plugin" } },
    allOf: Object.entries(tables).map(([type, fields]) => {
      for (const [name, entry] of Object.entries(fields)) {
        if (entry.secret) throw new Error(`config table ${type}.${name}: a secret must be a file here`);
      }
      const schema = schemaOf({ ...common, ...fields });
      const properties = { type: true, ...(schema["properties"] as Schema) };
      // A `type` that is missing is one fault, not one for each plugin.
      const when = { type: "object", required: ["type"], properties: { type: { const: type } } };
      // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
      return { if: when, then: { ...schema, properties } };
    }),
  };
}

/** JSON Schema (2020-12) of `writ.yaml`, for editors too. */
export function configSchema(tables: Tables): Schema {
  const { properties } = schemaOf(general) as { properties: Schema };
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Writ server configuration",
    type: "object",
    additionalProperties: false,
    required: ["storage", "seal", "listeners", "audit"],
    properties: {
      storage: plugged("Where the encrypted entries are kept", tables.storage),
      seal: plugged("What turns the operators' input into the root key", tables.seal),
      listeners: {
        type: "array",
        minItems: 1,
        items: schemaOf(listenerFields),
        description: "Where requests are taken",
      },
      audit: {
        type: "array",
        minItems: 1,
        items: plugged("One audit device", tables.audit, device),
        description: "Where every access is recorded; at least one device",
      },
      gitops: { ...schemaOf(tables.gitops), description: "The policy repository" },
      ...properties,
    },
  };
}

const place = (at: Fault["at"]): string =>
  at.reduce<string>((before, step) => {
    if (typeof step === "number") return `${before}[${step}]`;
    return before === "" ? step : `${before}.${step}`;
  }, "");

/** What the schema knows at one place, for suggestions. */
function knownKeys(parent: unknown): readonly string[] {
  const { properties } = parent as { properties?: Schema };
  return Object.keys(properties ?? {});
}

const explanations: Readonly<Record<string, (error: ErrorObject) => Omit<Fault, "at">>> = {
  additionalProperties: ({ params, parentSchema }) => {
    const name = String(params["additionalProperty"]);
    const known = knownKeys(parentSchema);
    const near = nearest(name, known);
    const hint = near === null ? `known here: ${known.join(", ")}` : `did you mean "${near}"?`;
    return { key: name, message: `unknown key "${name}"; ${hint}` };
  },
  required: ({ params, parentSchema }) => {
    const name = String(params["missingProperty"]);
    const { properties } = parentSchema as { properties?: Readonly<Record<string, { description?: string }>> };
    const about = properties?.[name]?.description;
    return { message: `"${name}" is missing${about === undefined ? "" : `: ${about}`}` };
  },
  enum: ({ params }) => ({ message: `must be one of: ${(params["allowedValues"] as unknown[]).join(", ")}` }),
  type: ({ params }) => ({ message: `must be ${article(String(params["type"]))}` }),
  anyOf: () => ({ message: "must be a duration such as 90s, 1h30m or 7d" }),
  minItems: () => ({ message: "must have at least one entry" }),
  pattern: ({ params }) => ({ message: `must match ${String(params["pattern"])}` }),
};
const article = (type: string): string =>
  ({ array: "a list", object: "a map of keys and values", integer: "a whole number", boolean: "true or false" })[
    type
  ] ?? `a ${type}`;

function schemaFaults(validate: Validate, value: unknown): readonly Fault[] {
  if (validate(value)) return [];
  const errors = validate.errors ?? [];
  const choices = errors.filter(({ keyword }) => keyword === "anyOf").map(({ schemaPath }) => `${schemaPath}/`);
  return errors
    .filter(({ keyword, schemaPath }) => keyword !== "if" && !choices.some((choice) => schemaPath.startsWith(choice)))
    .map((error) => {
      const at = error.instancePath
        .split("/")
        .slice(1)
        .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"))
        .map((step) => (/^\d+$/.test(step) ? Number(step) : step));
      const fault = explanations[error.keyword]?.(error) ?? { message: error.message ?? "is not valid" };
      const where = place(at);
      return { ...fault, at, message: where === "" ? fault.message : `${where}: ${fault.message}` };
    });
}

/** What a schema does not say. */
function ruleFaults(config: Config, listeners: readonly Values<typeof listenerFields>[]): readonly Fault[] {
  const faults: Fault[] = [];
  for (const [index, each] of listeners.entries()) {
    const message = listenerFault(each);
    if (message !== null) faults.push({ at: ["listeners", index], message: `listeners[${index}]: ${message}` });
  }
  if (!config.listeners.some(({ serves }) => serves === "api")) {
    faults.push({ at: ["listeners"], message: "listeners: one of them must serve the api" });
  }
  for (const [list, names] of [
    ["listeners", config.listeners.map(({ address }) => address)],
    ["audit", config.audit.map(({ name }) => name)],
  ] as const) {
    for (const [index, name] of names.entries()) {
      const first = names.indexOf(name);
      if (first === index || name === "") continue;
      const what = list === "audit" ? "name (give this one a `name` of its own)" : "address";
      faults.push({ at: [list, index], message: `${list}[${index}]: has the same ${what} as ${list}[${first}]` });
    }
  }
  if (config.gitops !== null && config.cachePath === null) {
    faults.push({ at: ["gitops"], message: 'gitops: needs "cache_path" beside it: a folder for the clone' });
  }
  if (config.defaultLeaseTtl > config.maxLeaseTtl) {
    faults.push({ at: ["default_lease_ttl"], message: "default_lease_ttl: must not exceed max_lease_ttl" });
  }
  return faults;
}

const isPathName = (name: string): boolean => /^(?:path|socket)$|_(?:path|file|files|folders)$/.test(name);

/** The values with every path made absolute. */
function absolute<T>(value: T, fields: Fields, folder: string): T {
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([name, each]: [string, unknown]) => {
    const entry = fields[name];
    if (entry?.type === "object") return [name, absolute(each, entry.fields ?? {}, folder)];
    if (!isPathName(name)) return [name, each];
    return [
      name,
      Array.isArray(each) ? each.map((one) => resolve(folder, String(one))) : resolve(folder, String(each)),
    ];
  });
  return Object.fromEntries(entries) as T;
}

type Input = Readonly<Record<string, unknown>>;

function build<G extends Fields>(input: Input, tables: Tables<G>, folder: string) {
  const take = <F extends Fields>(fields: F, given: unknown): Values<F> =>
    absolute(parse(fields, given as Input).values, fields, folder);
  const plug = (from: Readonly<Record<string, Fields>>, given: unknown): Plugged => {
    const type = String((given as Input)["type"]);
    return { type, settings: take(from[type] ?? {}, given) };
  };
  const values = take(general, input);
  const listeners = (input["listeners"] as readonly unknown[]).map((each) => take(listenerFields, each));
  const config: Config<G> = {
    storage: plug(tables.storage, input["storage"]),
    seal: plug(tables.seal, input["seal"]),
    listeners: listeners.map(listenerOf),
    audit: (input["audit"] as readonly unknown[]).map((each) => {
      const { name, required } = take(device, each);
      const { type, settings } = plug(tables.audit, each);
      return { type, name: name ?? type, required, settings };
    }),
    auditFolders: values.audit_folders,
    gitops: input["gitops"] === undefined ? null : take(tables.gitops, input["gitops"]),
    cachePath: values.cache_path ?? null,
    log: { level: values.log.level as Level, format: values.log.format as Format },
    defaultLeaseTtl: values.default_lease_ttl,
    maxLeaseTtl: values.max_lease_ttl,
    keepGenerations: values.keep_generations,
    allowRemoteInit: values.allow_remote_init,
    allowUnauthenticated: values.allow_unauthenticated,
    clusterName: values.cluster_name,
  };
  return { config, listeners };
}

/** Reads the text of `file` (an absolute path; it names the file in errors and is where relative paths count from).
 *  `validate` is that of the tables' schema. Throws ConfigError with everything that is wrong. */
export function readConfig<G extends Fields>(
  text: string,
  file: string,
  tables: Tables<G>,
  validate: Validate,
): Config<G> {
  if (!isAbsolute(file)) throw new Error("readConfig needs an absolute path");
  const source = parseConfigText(text, file);
  const faults = schemaFaults(validate, source.value);
  if (faults.length > 0) throw source.error(faults);
  try {
    const { config, listeners } = build(source.value as Input, tables, dirname(file));
    const rest = ruleFaults(config, listeners);
    if (rest.length > 0) throw source.error(rest);
    return config;
  } catch (error) {
    if (isVaultError(error, "invalid")) throw source.error([{ at: [], message: error.message }]);
    throw error;
  }
}
