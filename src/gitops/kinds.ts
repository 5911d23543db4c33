// What every document has around its spec, and what the compiler has to know of kinds beyond their contract: that two of
// them are mounts, which others refer to by path.

import { field, type Field, type Fields, schemaOf } from "../sdk/fields.ts";
import { apiVersion, type Declaration, type Kind } from "../sdk/kind.ts";

const visible = "[^\\p{Cc}\\p{Cf}\\p{Zl}\\p{Zp}]";

export const metadataFields = {
  name: field.string("Its name: 1 to 255 characters, no blanks at the ends, nothing invisible", {
    required: true,
    pattern: `^(?!\\s)${visible}{1,255}(?<!\\s)$`,
  }),
  owner: field.string("Who answers for it, such as a team"),
  description: field.string("What it is for"),
  protect: field.bool("A commit that removes this document, or drops this mark, is held"),
  adopt: field.bool("Takes over an object of this name that the API made"),
  external: field.bool("It exists but Git does not manage it: others may refer to it, and there is no spec"),
} as const;

const head = (kind: string | null): Fields => ({
  apiVersion: field.string("The version of the document format", { required: true, enum: [apiVersion] }),
  kind: field.string("What the document declares", { required: true, ...(kind !== null && { enum: [kind] }) }),
  metadata: field.object("Name and marks", metadataFields, { required: true }),
});

/** The path of the mount that an object is on. */
const mountField = ({ mount }: Kind): Fields =>
  mount === null
    ? {}
    : { mount: field.string(`Path of the ${mount.type} mount it is on`, { required: true, mount: mount.type }) };

/** Members of `spec` as they stand in a document. */
export const specFields = (kind: Kind): Fields => ({ ...mountField(kind), ...kind.fields });

/** A whole document of a kind; of a kind that nobody knows where null. */
export function documentFields(kind: Kind | null): Fields {
  if (kind === null) return { ...head(null), spec: field.json("The object") };
  return { ...head(kind.name), spec: field.object(kind.description, specFields(kind), { required: true }) };
}

/** A document that only says that an object is there. */
export function externalFields(kind: Kind): Fields {
  const mount = mountField(kind);
  if (Object.keys(mount).length === 0) return head(kind.name);
  return { ...head(kind.name), spec: field.object("Where it is", mount, { required: true }) };
}

/** JSON Schema (2020-12) of one kind's documents, for editors. */
export function documentSchema(kind: Kind): Record<string, unknown> {
  const whole = schemaOf(documentFields(kind));
  const external = schemaOf(externalFields(kind));
  return {
    title: kind.name,
    description: kind.description,
    type: "object",
    if: {
      type: "object",
      properties: { metadata: { type: "object", properties: { external: { const: true } }, required: ["external"] } },
      required: ["metadata"],
    },
    // oxlint-disable-next-line unicorn/no-thenable -- a JSON Schema keyword; nobody awaits a schema
    then: external,
    else: whole,
  };
}

export interface MountPoint {
  readonly class: "auth" | "secret";
  /** Without slashes at its ends. */
  readonly path: string;
  /** Null where Git does not say: an external mount. */
  readonly type: string | null;
}

const mountKinds: Readonly<Record<string, MountPoint["class"]>> = { SecretEngine: "secret", AuthMethod: "auth" };

export const mountKindOf = (mountClass: MountPoint["class"]): string =>
  mountClass === "auth" ? "AuthMethod" : "SecretEngine";

export const trimPath = (path: string): string => path.replace(/^\/+|\/+$/g, "");

/** Where a declaration mounts something; null where it is no mount. */
export function mountOf(kind: string, name: string, spec: Declaration["spec"] | null): MountPoint | null {
  const mountClass = Object.hasOwn(mountKinds, kind) ? mountKinds[kind] : undefined;
  if (mountClass === undefined) return null;
  const { path, type } = spec ?? {};
  return {
    class: mountClass,
    path: trimPath(typeof path === "string" ? path : name),
    type: typeof type === "string" ? type : null,
  };
}

/** Throws where a table asks for what documents do not have: a secret below the top of a spec, a member called `mount`
 *  beside a mount. That is a fault of the program, not of a document. */
export function checkKind(kind: Kind): void {
  const nested = (fields: Fields): boolean =>
    Object.values(fields).some((entry: Field) => entry.secret === true || nested(entry.fields ?? {}));
  for (const [name, entry] of Object.entries(kind.fields)) {
    if (nested(entry.fields ?? {})) throw new Error(`kind ${kind.name}: ${name} holds a secret field below the top`);
  }
  if (kind.mount !== null && Object.hasOwn(kind.fields, "mount")) {
    throw new Error(`kind ${kind.name}: "mount" is the document's own field`);
  }
}
