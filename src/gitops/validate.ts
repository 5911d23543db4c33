// One document: is it what its kind says, and what does it declare? Everything that can be told from the document alone.
// References to other documents are collected here and followed in compile.ts.
// Must hold: a document with a fault yields no declaration; a secret is only ever a reference.

import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { nearest } from "../lib/nearest.ts";
import { isVaultError } from "../sdk/errors.ts";
import { type Field, type Fields, parse, schemaOf } from "../sdk/fields.ts";
import type { Declaration, Fault, FromSecret, Kind, Metadata, Source } from "../sdk/kind.ts";
import { type DocumentFault, label, nameText, schemaFaults } from "./faults.ts";
import { checkKind, documentFields, externalFields, specFields, trimPath } from "./kinds.ts";
import {
  anyReference,
  boundFaults,
  isMembers,
  known,
  type Members,
  type Reference,
  references,
  respell,
} from "./spec.ts";

interface Prepared {
  readonly kind: Kind;
  readonly fields: Fields;
  readonly external: Fields;
  readonly validate: ValidateFunction;
  readonly validateExternal: ValidateFunction;
  /** Whether some field names another object. */
  readonly refers: boolean;
}

/** All kinds, ready to validate. */
export interface Catalog {
  readonly kinds: ReadonlyMap<string, Prepared>;
  readonly names: readonly string[];
  /** Names of all fields of all kinds: what may be shown of a document that cannot be read. */
  readonly words: ReadonlySet<string>;
  readonly unknown: { readonly fields: Fields; readonly validate: ValidateFunction };
}

/** Beyond what Git may do unless server config has `allow` in its list. */
export interface Beyond extends DocumentFault {
  readonly allow: string;
}

export interface Validated {
  readonly faults: readonly DocumentFault[];
  /** Who it is, as far as it says so: also where it has faults. */
  readonly identity: { readonly kind: string; readonly mount: string | null; readonly name: string } | null;
  readonly external: boolean;
  readonly declaration: Declaration | null;
  readonly references: readonly Reference[];
  readonly beyond: readonly Beyond[];
}

function fieldWords(fields: Fields, words: Set<string>): void {
  for (const [name, entry] of Object.entries(fields)) {
    words.add(name);
    fieldWords(entry.fields ?? {}, words);
  }
}

/** Throws where a table of fields is not one that documents can have. */
export function catalogOf(kinds: readonly Kind[]): Catalog {
  const ajv = new Ajv2020({
    strict: true,
    // A duration with bounds is a number or a string.
    strictTypes: false,
    allErrors: true,
    verbose: true,
    // Every schema is made here, from tables; the standard's own schema need not be compiled to check them.
    validateSchema: false,
  });
  const words = new Set(["from_secret", "path", "key"]);
  const prepared = new Map<string, Prepared>();
  for (const kind of kinds) {
    checkKind(kind);
    if (prepared.has(kind.name)) throw new Error(`two kinds are called ${kind.name}`);
    const fields = documentFields(kind);
    const external = externalFields(kind);
    fieldWords(fields, words);
    prepared.set(kind.name, {
      kind,
      fields,
      external,
      validate: ajv.compile(schemaOf(fields)),
      validateExternal: ajv.compile(schemaOf(external)),
      refers: anyReference(specFields(kind)),
    });
  }
  const fields = documentFields(null);
  return {
    kinds: prepared,
    names: [...prepared.keys()],
    words,
    unknown: { fields, validate: ajv.compile(schemaOf(fields)) },
  };
}

const membersOf = (value: unknown, name: string): Members => {
  const member = isMembers(value) ? value[name] : undefined;
  return isMembers(member) ? member : {};
};
const isExternal = (value: unknown): boolean => membersOf(value, "metadata")["external"] === true;

const kindOf = (catalog: Catalog, value: unknown): Prepared | null => {
  const name = isMembers(value) ? value["kind"] : undefined;
  return typeof name === "string" ? (catalog.kinds.get(name) ?? null) : null;
};

/** The members that a document may have: what of it is known, and so may be shown. */
export function fieldsOf(catalog: Catalog, value: unknown): Fields {
  const prepared = kindOf(catalog, value);
  if (prepared !== null) return prepared.fields;
  // Of a kind that is not known, every field of the spec is unknown.
  const { apiVersion, kind, metadata } = catalog.unknown.fields as Record<"apiVersion" | "kind" | "metadata", Field>;
  return { apiVersion, kind, metadata };
}

function freeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  for (const member of Object.values(value)) freeze(member);
  return Object.freeze(value);
}

interface Read {
  readonly identity: NonNullable<Validated["identity"]>;
  readonly metadata: Metadata;
  readonly source: Source;
}

/** The declaration, or null with why where its fields cannot be read. */
function declare(prepared: Prepared, spec: Members, read: Read, catalog: Catalog): Declaration | DocumentFault {
  const { kind } = prepared;
  const secretNames = Object.keys(kind.fields).filter((name) => kind.fields[name]?.secret === true);
  const open = Object.fromEntries(Object.entries(kind.fields).filter(([, entry]) => entry.secret !== true));
  const secrets: Record<string, FromSecret["from_secret"]> = {};
  for (const name of secretNames) {
    const given = membersOf(spec[name], "from_secret");
    const { path, key } = given;
    if (typeof path === "string" && typeof key === "string") secrets[name] = { path: trimPath(path), key };
  }
  try {
    const { values } = parse(open, known(open, spec));
    const parsed = prepared.refers ? respell(open, values, (name) => catalog.kinds.get(name)?.kind.normalize) : values;
    const { identity, metadata, source } = read;
    return freeze({ ...identity, metadata, spec: parsed as Declaration["spec"], secrets, source });
  } catch (error) {
    if (isVaultError(error, "invalid")) return { path: ["spec"], message: error.message };
    throw error;
  }
}

/** Faults below a spec, seen from the document. */
export const below = (faults: readonly Fault[], kind: Kind): readonly DocumentFault[] =>
  faults.map(({ path, message }) =>
    // A fault of the whole is one of the document, mostly of its name.
    path.length === 0
      ? { path: ["metadata", "name"], message: `${kind.name}: ${message}` }
      : { path: ["spec", ...path], message: `${label(["spec", ...path])}: ${message}` },
  );

function identityOf({ kind }: Prepared, value: Members): Validated["identity"] {
  const { name } = membersOf(value, "metadata");
  const { mount } = membersOf(value, "spec");
  if (typeof name !== "string" || (kind.mount !== null && typeof mount !== "string")) return null;
  const path = typeof mount === "string" && kind.mount !== null ? trimPath(mount) : null;
  return { kind: kind.name, mount: path, name: kind.normalize?.(name) ?? name };
}

const nothing: Omit<Validated, "faults"> = {
  identity: null,
  external: false,
  declaration: null,
  references: [],
  beyond: [],
};

function unknownKind(catalog: Catalog, value: Members): Validated {
  const faults = validateBy(catalog.unknown.validate, value, catalog.unknown.fields);
  const name = value["kind"];
  if (typeof name !== "string") return { ...nothing, faults };
  const near = nearest(name, catalog.names);
  const then = near === null ? `there are ${catalog.names.join(", ")}` : `did you mean "${near}"?`;
  return {
    ...nothing,
    faults: [...faults, { path: ["kind"], message: `no kind is called ${nameText(name)}; ${then}` }],
  };
}

function validateBy(validate: ValidateFunction, value: unknown, fields: Fields): readonly DocumentFault[] {
  return validate(value) ? [] : schemaFaults(validate.errors ?? [], fields);
}

/** Neither word of a document: some other program's file. */
const isForeign = (value: Members): boolean =>
  !Object.hasOwn(value, "apiVersion") || (!Object.hasOwn(value, "kind") && !Object.hasOwn(value, "spec"));

/** Checks one readable document. `source` is where it starts. */
export function validate(catalog: Catalog, value: unknown, source: Source): Validated {
  if (!isMembers(value) || (isForeign(value) && kindOf(catalog, value) === null)) {
    const message =
      "this is no Writ document: it needs apiVersion, kind, metadata and spec. Leave other YAML files out in .writ/config.yaml";
    return { ...nothing, faults: [{ path: [], message }] };
  }
  const prepared = kindOf(catalog, value);
  if (prepared === null) return unknownKind(catalog, value);
  const external = isExternal(value);
  const faults = [
    ...(external
      ? validateBy(prepared.validateExternal, value, prepared.external).map(externalFault)
      : validateBy(prepared.validate, value, prepared.fields)),
  ];
  const identity = identityOf(prepared, value);
  const spec = membersOf(value, "spec");
  const found: Reference[] = [];
  if (prepared.refers) references(external ? {} : specFields(prepared.kind), spec, ["spec"], found);
  if (!external) boundFaults(specFields(prepared.kind), spec, ["spec"], faults);
  if (external && prepared.kind.offline === true) {
    faults.push({
      path: ["metadata", "external"],
      message: `a ${prepared.kind.name} is no object of a vault: remove this`,
    });
  }
  const base = { ...nothing, faults, identity, external, references: found };
  if (identity === null || external || base.faults.some(({ path }) => path[0] === "metadata")) return base;
  const metadata = freeze({ ...(value["metadata"] as Metadata) });
  const declared = declare(prepared, spec, { identity, metadata, source }, catalog);
  if (!("message" in declared)) return judged(base, prepared.kind, declared);
  // What the schema has named already is not named again.
  if (base.faults.length === 0) return { ...base, faults: [declared] };
  const rest = whole(spec, base.faults);
  if (rest === null) return base;
  const part = declare(prepared, rest.spec, { identity, metadata, source }, catalog);
  if ("message" in part) return base;
  const more = (prepared.kind.check?.(part) ?? []).map((fault) => ({ ...fault, path: rest.placeOf(fault.path) }));
  return { ...base, faults: [...base.faults, ...below(more, prepared.kind)] };
}

/** The spec without the items of its lists that have faults, so that the kind can say what is wrong with the others too; null
 *  where a fault is of anything but an item, or no item is left: what is left out then might be what others are judged by. */
function whole(spec: Members, faults: readonly DocumentFault[]) {
  const broken = new Map<string, Set<number>>();
  for (const {
    path: [top, name, at],
  } of faults) {
    if (top !== "spec" || typeof name !== "string" || typeof at !== "number") return null;
    const items = broken.get(name) ?? new Set();
    broken.set(name, items.add(at));
  }
  const kept = new Map<string, readonly number[]>();
  const rest: Record<string, unknown> = { ...spec };
  for (const [name, items] of broken) {
    const list: unknown = spec[name];
    if (!Array.isArray(list) || items.size >= list.length) return null;
    const places = [...list.keys()].filter((at) => !items.has(at));
    kept.set(name, places);
    rest[name] = places.map((at): unknown => list[at]);
  }
  const placeOf = (path: Fault["path"]): Fault["path"] =>
    path.map((step, depth) =>
      depth === 1 && typeof step === "number" ? (kept.get(String(path[0]))?.[step] ?? step) : step,
    );
  return { spec: rest, placeOf };
}

/** The one unknown field that such a document is likely to have. */
const externalFault = (fault: DocumentFault): DocumentFault =>
  fault.path.length === 0 && fault.key === "spec"
    ? {
        ...fault,
        message: "external: true says that Git does not manage this object, so there is no spec; remove one of the two",
      }
    : fault;

/** What the kind itself has to say. */
function judged(base: Validated, kind: Kind, declaration: Declaration): Validated {
  const faults = [...base.faults, ...below(kind.check?.(declaration) ?? [], kind)];
  const ceiling = kind.ceiling?.(declaration) ?? [];
  const beyond = below(ceiling, kind).map((fault, at) => ({ ...fault, allow: ceiling[at]?.allow ?? kind.name }));
  return { ...base, faults, beyond, declaration: faults.length === 0 ? declaration : null };
}
