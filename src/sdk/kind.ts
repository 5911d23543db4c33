// Documents: what stands in Git. A kind is given by the core (Policy, Entity, Group, SecretEngine, AuthMethod) or by a
// plugin's resource (UserpassUser); gitops knows kinds only through this contract.

import type { Problem } from "./errors.ts";
import type { Fields } from "./fields.ts";
import type { Json } from "./view.ts";

export const apiVersion = "writ/v1";

export interface Metadata {
  readonly name: string;
  readonly owner?: string;
  readonly description?: string;
  /** A commit that removes this document, or drops this mark, is held. */
  readonly protect?: boolean;
  /** Takes over an object that the API made. */
  readonly adopt?: boolean;
  /** No spec: says that an object of this name exists that Git does not manage, so that documents may refer to it. */
  readonly external?: boolean;
}

/** Where a document starts. Line and column count from 1. */
export interface Source {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** A reference to a secret in place of the secret. */
export interface FromSecret {
  readonly from_secret: { readonly path: string; readonly key: string };
}

/** One object as declared, in Git or by the API. An object is (kind, mount, name). */
export interface Declaration {
  readonly kind: string;
  /** The mount it belongs to, as a path without a trailing slash and without "auth/"; null for kinds without a mount. */
  readonly mount: string | null;
  readonly name: string;
  readonly metadata: Metadata;
  /** Parsed by the kind's fields (durations in seconds, defaults filled in), secret fields left out, frozen. */
  readonly spec: Readonly<Record<string, Json | undefined>>;
  /** Secret fields by name: where each is to be read from once. Never a value. */
  readonly secrets: Readonly<Record<string, FromSecret["from_secret"]>>;
  /** Null where the API made it. */
  readonly source: Source | null;
  /** Number of the generation in which it came, for kinds that tokens are traced to. The core's. */
  readonly since?: number;
  /** For kinds whose objects have ids. The core's. */
  readonly made?: Made;
}

/** Which one of its name it is: this stays while declarations change, and who comes after it under that name has another. */
export interface Made {
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly created: number;
  readonly changed: number;
  readonly changes: number;
}

/** (kind, mount, name) as one string; sorts by kind first. */
export const declarationKey = (kind: string, mount: string | null, name: string): string =>
  `${kind}\n${mount ?? ""}\n${name}`;

export interface Kind {
  readonly name: string;
  readonly description: string;
  /** Auth or secret mount that objects of this kind live on (the document has `spec.mount`); null where there is none. */
  readonly mount: { readonly class: "auth" | "secret"; readonly type: string } | null;
  /** Members of `spec`, without `mount`. */
  readonly fields: Fields;
  /** The one spelling of a name; the identity where left out. */
  readonly normalize?: (name: string) => string;
  /** Names that this makes equal are one name, although each is kept as it is spelled. */
  readonly fold?: (name: string) => string;
  /** Names that exist without a document (policies "default" and "root"). */
  readonly builtin?: readonly string[];
  /** Faults that the schema cannot tell, offline. `path` leads to the value below `spec`. Whether the server allows it
   *  (the ceiling) is asked apart. */
  check?(declaration: Declaration): readonly Fault[];
  /** What exceeds what Git may do unless server config opens it: root, sudo on sys paths, Writ's own settings. */
  ceiling?(declaration: Declaration): readonly Fault[];
  /** Faults that only all documents of a commit together show. Asked once no document has another; offline and pure. */
  prove?(declaration: Declaration, all: Documents): readonly Fault[];
  /** Says something about the repository itself: checked with everything else, and never sent to a vault. */
  readonly offline?: true;
}

/** All documents of one commit; one object for each. */
export interface Documents {
  readonly declarations: readonly Declaration[];
  /** Null where it is external, or there is none. */
  get(kind: string, mount: string | null, name: string): Declaration | null;
}

export interface Fault {
  readonly path: readonly (string | number)[];
  readonly message: string;
  /** For `ceiling`: what server config lists under `gitops.allow` to open this; the kind's name where left out. */
  readonly allow?: string;
}

/** What one commit declares. */
export interface Commit {
  /** 40 or 64 lower-case hex. */
  readonly id: string;
  readonly parents: readonly string[];
  readonly author: string;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly subject: string;
}

export interface CommitSet {
  readonly commit: Commit;
  readonly declarations: readonly Declaration[];
  /** Keys of `external: true` documents; each must exist and be the API's. */
  readonly externals: readonly { readonly key: string; readonly source: Source }[];
}

/** What changed between two sets, by declaration key, in order. */
export interface Change {
  readonly action: "create" | "update" | "delete";
  readonly kind: string;
  readonly mount: string | null;
  readonly name: string;
  readonly source: Source | null;
}

/** What the reconciler is given to apply commits to: the core, or a stand-in in its tests. */
export interface Target {
  /** The commit that is live, and what it declares; null before the first. Throws VaultError `sealed`. */
  current(): {
    readonly commit: Commit;
    readonly appliedAt: number;
    readonly declarations: readonly Declaration[];
  } | null;
  /** Makes the set live, whole or not at all; resolves with what changed. Rejected with `ApplyError` where the running
   *  vault cannot take it (an object the API made, a mount path in use): nothing has changed then. */
  apply(set: CommitSet, changes: readonly Change[]): Promise<void>;
  /** Follow-up work (seeding secrets, revoking, dropping data) that is not done yet. */
  pending(): Promise<readonly { readonly task: string; readonly since: number; readonly error: string | null }[]>;
  /** State of one object's secrets and backing: "active", or why not yet. */
  state(declaration: Declaration): string;
  /** A reconcile entry for the audit. Throws VaultError `audit` where no device keeps it. */
  audit(entry: Readonly<Record<string, unknown>>): Promise<void>;
  /** Small durable state of the reconciler's own (held commits, allowances). */
  load(name: string): Promise<Readonly<Record<string, Json>> | null>;
  save(name: string, value: Readonly<Record<string, Json>>): Promise<void>;
}

/** The running vault cannot take a commit: the faults, each at its document. */
export class ApplyError extends Error {
  readonly problems: readonly Problem[];
  override readonly name = "ApplyError";
  constructor(problems: readonly Problem[]) {
    super(
      problems.map((problem) => `${problem.file}:${problem.line}:${problem.column}: ${problem.message}`).join("\n"),
    );
    this.problems = problems;
  }
}
