// One table describes the fields of a route or a declaration: it parses API bodies leniently (as Vault's clients send
// them), gives the JSON Schema that Git documents are held to strictly, and the TypeScript type of the result.
// Must hold: after parse nothing is checked again; a value that does not fit is an error that names the field, never a guess.

import { parseDuration } from "../lib/duration.ts";
import { hasBackslashName } from "../lib/json.ts";
import { VaultError } from "./errors.ts";

export type FieldType = "string" | "int" | "bool" | "duration" | "strings" | "map" | "object" | "list" | "json";

export interface Options<T> {
  readonly required?: true;
  readonly default?: T;
  /** Never shown, logged or audited in clear. In Git only `from_secret` may stand here; the value becomes state. */
  readonly secret?: true;
  /** What people say to whoever reads the audit: it stands there in clear, of requests that are let through. Never where
   *  a secret may be. */
  readonly clear?: true;
  readonly enum?: readonly string[];
  /** A regular expression (ECMAScript, `u`), anchored by the one who writes it. */
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  /** How many a list may have. */
  readonly most?: number;
  /** The names in this field are documents of that kind (built-ins aside). */
  readonly ref?: string;
  /** The name is a mount path of this class ("auth") or plugin type ("userpass"). */
  readonly mount?: string;
}

export interface Field<T = unknown, Present extends boolean = boolean> extends Options<T> {
  readonly type: FieldType;
  readonly description: string;
  /** Members of an "object", and of each item of a "list". */
  readonly fields?: Fields;
  /** Type only. */
  readonly _present?: Present;
}

export type Fields = Readonly<Record<string, Field>>;
type Present<O> = O extends { required: true } | { default: unknown } ? true : false;
type Value<F> = F extends Field<infer T, infer P> ? (P extends true ? T : T | undefined) : never;
export type Values<F extends Fields> = { readonly [K in keyof F]: Value<F[K]> };

const maker =
  <T>(type: FieldType) =>
  <const O extends Options<T>>(description: string, options?: O): Field<T, Present<O>> => ({
    type,
    description,
    ...options,
  });

export const field = {
  string: maker<string>("string"),
  int: maker<number>("int"),
  bool: maker<boolean>("bool"),
  /** Whole seconds. */
  duration: maker<number>("duration"),
  strings: maker<readonly string[]>("strings"),
  map: maker<Readonly<Record<string, string>>>("map"),
  /** Any JSON. */
  json: maker<unknown>("json"),
  object: <F extends Fields, const O extends Options<Values<F>>>(description: string, fields: F, options?: O) =>
    ({ type: "object", description, fields, ...options }) as Field<Values<F>, Present<O>>,
  list: <F extends Fields, const O extends Options<readonly Values<F>[]>>(
    description: string,
    fields: F,
    options?: O,
  ) => ({ type: "list", description, fields, ...options }) as Field<readonly Values<F>[], Present<O>>,
};

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const wrong = (name: string, wanted: string): VaultError =>
  new VaultError("invalid", `error converting input for field "${name}": expected ${wanted}`);

/** See src/lib/json.ts. */
const withoutBackslash = "a map without a name that is a backslash alone";

function toInt(name: string, input: unknown): number {
  const value = typeof input === "string" && /^-?\d{1,15}$/.test(input.trim()) ? Number(input) : input;
  if (typeof value !== "number" || !Number.isSafeInteger(value)) throw wrong(name, "a whole number");
  return value;
}

function toStrings(name: string, input: unknown): readonly string[] {
  if (input === "" || input === null) return [];
  if (typeof input === "string") {
    return input
      .split(",")
      .map((item) => item.trim())
      .filter(Boolean);
  }
  if (!Array.isArray(input)) throw wrong(name, "a list of strings, or a comma-separated string");
  return input.map((item) => toString(name, item));
}

function toString(name: string, input: unknown): string {
  if (typeof input === "number" || typeof input === "boolean") return String(input);
  if (typeof input !== "string") throw wrong(name, "a string");
  return input;
}

function toMap(name: string, input: unknown): Readonly<Record<string, string>> {
  const source = typeof input === "string" ? pairs(name, input) : Array.isArray(input) ? listed(name, input) : input;
  if (!isObject(source)) throw wrong(name, "a map of strings");
  return Object.fromEntries(Object.entries(source).map(([key, value]) => [key, toString(name, value)]));
}

/** "a=1" of `text`, split at its first "=". */
function pair(name: string, text: string): readonly [string, string] {
  const at = text.indexOf("=");
  if (at < 1) throw wrong(name, "a map of strings");
  const key = text.slice(0, at).trim();
  if (key === "\\") throw wrong(name, withoutBackslash);
  return [key, text.slice(at + 1).trim()];
}

/** ["a=1", "b=2"]: command lines send a field that is given more than once, one pair each time, like that. */
const listed = (name: string, input: readonly unknown[]): unknown =>
  Object.fromEntries(input.map((item) => pair(name, toString(name, item))));

/** "a=1,b=2", or JSON in a string. */
function pairs(name: string, text: string): unknown {
  if (text.trimStart().startsWith("{")) {
    if (hasBackslashName(text)) throw wrong(name, withoutBackslash);
    try {
      return JSON.parse(text) as unknown;
    } catch {
      throw wrong(name, "a map of strings");
    }
  }
  return Object.fromEntries(
    text
      .split(",")
      .filter(Boolean)
      .map((text) => pair(name, text)),
  );
}

function toBool(name: string, input: unknown): boolean {
  if (typeof input === "boolean") return input;
  if (input === "true" || input === "1" || input === 1) return true;
  if (input === "false" || input === "0" || input === 0) return false;
  throw wrong(name, "true or false");
}

function toDuration(name: string, input: unknown): number {
  const seconds = parseDuration(input);
  if (seconds === null) throw wrong(name, 'a duration such as 90, "90s" or "1h30m"');
  return seconds;
}

function toList(name: string, field: Field, input: unknown): unknown {
  if (!Array.isArray(input)) throw wrong(name, "a list");
  return input.map((item: unknown, at) => toObject(`${name}[${at}]`, field, item));
}

function toObject(name: string, field: Field, input: unknown): unknown {
  if (!isObject(input)) throw wrong(name, "an object");
  const { values, unknown } = parse(field.fields ?? {}, input);
  if (unknown.length > 0) throw new VaultError("invalid", `unknown field "${name}.${unknown[0]}"`);
  return values;
}

const convert: Readonly<Record<FieldType, (name: string, input: unknown, field: Field) => unknown>> = {
  string: toString,
  int: toInt,
  bool: toBool,
  duration: toDuration,
  strings: toStrings,
  map: toMap,
  json: (_name, input) => input,
  object: (name, input, field) => toObject(name, field, input),
  list: (name, input, field) => toList(name, field, input),
};

function within(name: string, field: Field, value: unknown): void {
  if (field.most !== undefined && Array.isArray(value) && value.length > field.most) {
    throw new VaultError("invalid", `field "${name}" takes at most ${field.most}, and has ${value.length}`);
  }
  for (const item of Array.isArray(value) ? (value as unknown[]) : [value]) {
    if (field.enum && typeof item === "string" && !field.enum.includes(item)) {
      throw new VaultError("invalid", `field "${name}" must be one of ${field.enum.join(", ")}`);
    }
    if (field.pattern && typeof item === "string" && !new RegExp(field.pattern, "u").test(item)) {
      throw new VaultError("invalid", `field "${name}" does not match ${field.pattern}`);
    }
  }
  if (typeof value !== "number") return;
  if (field.minimum !== undefined && value < field.minimum) throw wrong(name, `at least ${field.minimum}`);
  if (field.maximum !== undefined && value > field.maximum) throw wrong(name, `at most ${field.maximum}`);
}

export interface Parsed<F extends Fields> {
  readonly values: Values<F>;
  /** Names in the input that the table does not have, in order. */
  readonly unknown: readonly string[];
}

const clearNames = new WeakMap<Fields, ReadonlySet<string> | null>();

/** Names of fields that the audit has in clear; null where there are none. */
export function clearOf(fields: Fields): ReadonlySet<string> | null {
  let names = clearNames.get(fields);
  if (names === undefined) {
    const found = Object.keys(fields).filter((name) => fields[name]?.clear && !fields[name].secret);
    clearNames.set(fields, (names = found.length === 0 ? null : new Set(found)));
  }
  return names;
}

/** Reads `input` by the table. With `partial`, required fields may be missing and defaults are not filled in.
 *  Throws VaultError `invalid` naming the field, never its value. */
export function parse<F extends Fields>(
  fields: F,
  input: Readonly<Record<string, unknown>>,
  options: { readonly partial?: boolean } = {},
): Parsed<F> {
  const values: Record<string, unknown> = {};
  for (const [name, entry] of Object.entries(fields)) {
    const given = Object.hasOwn(input, name) ? input[name] : undefined;
    if (given === undefined || (given === null && entry.type !== "json")) {
      if (options.partial) continue;
      if (entry.required) throw new VaultError("invalid", `missing required field "${name}"`);
      if (entry.default !== undefined) values[name] = entry.default;
      continue;
    }
    const value = convert[entry.type](name, given, entry);
    within(name, entry, value);
    values[name] = value;
  }
  const unknown = Object.keys(input).filter((name) => !Object.hasOwn(fields, name));
  return { values: values as Values<F>, unknown };
}

const duration = {
  anyOf: [
    { type: "integer", minimum: 0 },
    { type: "string", pattern: "^(\\d+|(\\d+(\\.\\d+)?(ns|us|µs|ms|s|m|h|d))+)$" },
  ],
};
const fromSecret = {
  type: "object",
  additionalProperties: false,
  required: ["from_secret"],
  properties: {
    from_secret: {
      type: "object",
      additionalProperties: false,
      required: ["path", "key"],
      properties: {
        path: {
          type: "string",
          minLength: 1,
          description: "A path that server config opens, such as secret/data/team/db",
        },
        key: { type: "string", minLength: 1, description: "The key inside that secret" },
      },
    },
  },
};

const schemas: Readonly<Record<FieldType, (field: Field) => Record<string, unknown>>> = {
  string: () => ({ type: "string" }),
  int: () => ({ type: "integer" }),
  bool: () => ({ type: "boolean" }),
  duration: () => duration,
  strings: (field) => ({
    type: "array",
    items: { type: "string", ...limits(field) },
    ...(field.most !== undefined && { maxItems: field.most }),
  }),
  map: () => ({ type: "object", additionalProperties: { type: "string" } }),
  json: () => ({}),
  object: (field) => schemaOf(field.fields ?? {}),
  list: (field) => ({ type: "array", items: schemaOf(field.fields ?? {}) }),
};

function limits(field: Field): Record<string, unknown> {
  return {
    ...(field.enum && { enum: field.enum }),
    ...(field.pattern && { pattern: field.pattern }),
    ...(field.minimum !== undefined && { minimum: field.minimum }),
    ...(field.maximum !== undefined && { maximum: field.maximum }),
  };
}

/** JSON Schema (2020-12) of a spec: unknown members refused, secrets only by reference. */
export function schemaOf(fields: Fields): Record<string, unknown> {
  const properties = Object.entries(fields).map(([name, entry]) => [
    name,
    {
      ...(entry.secret ? fromSecret : schemas[entry.type](entry)),
      ...(entry.type === "strings" || entry.secret ? {} : limits(entry)),
      description: entry.description,
      ...(entry.default !== undefined && { default: entry.default }),
    },
  ]);
  const required = Object.entries(fields)
    .filter(([, entry]) => entry.required)
    .map(([name]) => name);
  return {
    type: "object",
    additionalProperties: false,
    ...(required.length > 0 && { required }),
    properties: Object.fromEntries(properties) as Record<string, unknown>,
  };
}
