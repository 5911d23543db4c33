// A block: who or what gets nothing any more until somebody lifts it. It is a declaration of the generation that only the
// API makes, so that one compare-and-swap makes it live, no commit knows of it, and every backup has it.

import type { Declaration } from "../../sdk/kind.ts";

/** Of no document: Git cannot write it. */
export const blockKind = "Block";

export const blockTypes = ["person", "mapping", "mount", "address"] as const;
export type BlockType = (typeof blockTypes)[number];

/** A login name, and the path of its mount, without auth/, when that was last seen. */
export interface Place {
  readonly accessor: string;
  readonly name: string;
  readonly mount: string;
}

/** What it is about, and all that this was ever known as since it was blocked: a person has several entities and logins, and a
 *  mount that is gone may be back beside what took its place. */
export type About =
  | { readonly type: "person"; readonly ids: readonly string[]; readonly logins: readonly Place[] }
  | { readonly type: "mapping"; readonly kind: string; readonly places: readonly Place[] }
  | { readonly type: "mount"; readonly mounts: readonly { readonly accessor: string; readonly path: string }[] }
  /** `keeps`: what was got from there stays good elsewhere. */
  | { readonly type: "address"; readonly range: string; readonly keeps?: true };

export interface BlockSpec {
  readonly about: About;
  /** Of what is recorded of its revocation. */
  readonly id: string;
  /** As whoever made it called it. */
  readonly name: string;
  readonly reason: string;
  readonly by: { readonly display_name: string; readonly entity_id: string };
  /** Milliseconds since 1970. */
  readonly since: number;
  /** When it was lifted: what was got before that stays dead, also a batch token, of which nothing is stored. */
  readonly lifted?: { readonly at: number; readonly until: number };
}

/** What tells it from others of its type: the same thing is blocked once. */
export function keyOf(about: About): string {
  if (about.type === "person") return about.ids[0] ?? "";
  if (about.type === "mapping") return `${about.places[0]?.accessor}/${about.kind}/${about.places[0]?.name}`;
  return about.type === "mount" ? (about.mounts[0]?.accessor ?? "") : about.range;
}

export const specOf = ({ spec }: Declaration): BlockSpec => spec as unknown as BlockSpec;

const nameOf = ({ about, id, lifted }: BlockSpec): string =>
  lifted === undefined ? `${about.type}/${keyOf(about)}` : `lifted/${id}`;

/** `name` is that of the declaration: it stays while a person turns out to be more than was known. */
export function declarationOf(spec: BlockSpec, name = nameOf(spec)): Declaration {
  const body = spec as unknown as Declaration["spec"];
  return { kind: blockKind, mount: null, name, metadata: { name }, spec: body, secrets: {}, source: null };
}
