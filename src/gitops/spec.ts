// Walks over a value and its table of fields together: what it refers to, what of it is known, what its bounds are.
// Must hold: none of these throw on any value; a value that does not fit its field is passed over, it has its fault.

import { parseDuration } from "../lib/duration.ts";
import type { Field, Fields } from "../sdk/fields.ts";
import { type DocumentFault, label, type Path } from "./faults.ts";

export type Members = Readonly<Record<string, unknown>>;
export const isMembers = (value: unknown): value is Members =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export interface Reference {
  readonly path: Path;
  /** As written. */
  readonly name: string;
  /** A kind, where a document is meant; a class or type, where a mount is. */
  readonly to: { readonly kind: string } | { readonly mount: string };
}

/** The one spelling of names of a kind. */
export type SpellingOf = (kind: string) => ((name: string) => string) | undefined;

/** Whether some field names another object. */
export const anyReference = (fields: Fields): boolean =>
  Object.values(fields).some(
    (entry: Field) => entry.ref !== undefined || entry.mount !== undefined || anyReference(entry.fields ?? {}),
  );

/** The names that a value gives, whatever else is wrong with it. */
export function references(fields: Fields, value: Members, path: Path, found: Reference[]): void {
  for (const [name, entry] of Object.entries(fields)) {
    const given = value[name];
    const here = [...path, name];
    if (entry.ref !== undefined || entry.mount !== undefined) {
      const to = entry.ref === undefined ? { mount: entry.mount ?? "" } : { kind: entry.ref };
      if (typeof given === "string") found.push({ path: here, name: given, to });
      if (!Array.isArray(given)) continue;
      for (const [at, each] of given.entries()) {
        if (typeof each === "string") found.push({ path: [...here, at], name: each, to });
      }
    } else if (entry.type === "object" && isMembers(given)) references(entry.fields ?? {}, given, here, found);
    else if (entry.type === "list" && Array.isArray(given)) {
      for (const [at, each] of given.entries()) {
        if (isMembers(each)) references(entry.fields ?? {}, each, [...here, at], found);
      }
    }
  }
}

/** A value without what its table does not know, so that the rest can be checked too. */
export function known(fields: Fields, value: Members): Members {
  const result: Record<string, unknown> = {};
  for (const [name, given] of Object.entries(value)) {
    const entry = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (entry === undefined) continue;
    if (entry.type === "object" && isMembers(given)) result[name] = known(entry.fields ?? {}, given);
    else if (entry.type === "list" && Array.isArray(given)) {
      result[name] = given.map((each: unknown) => (isMembers(each) ? known(entry.fields ?? {}, each) : each));
    } else result[name] = given;
  }
  return result;
}

/** References in the one spelling of what they name. */
export function respell(fields: Fields, value: Members, spellingOf: SpellingOf): Members {
  const result: Record<string, unknown> = { ...value };
  for (const [name, entry] of Object.entries(fields)) {
    const given = value[name];
    const normalize = entry.ref === undefined ? undefined : spellingOf(entry.ref);
    if (normalize !== undefined && typeof given === "string") result[name] = normalize(given);
    else if (normalize !== undefined && Array.isArray(given)) {
      result[name] = given.map((each: unknown) => (typeof each === "string" ? normalize(each) : each));
    } else if (entry.type === "object" && isMembers(given))
      result[name] = respell(entry.fields ?? {}, given, spellingOf);
    else if (entry.type === "list" && Array.isArray(given)) {
      result[name] = given.map((each: unknown) =>
        isMembers(each) ? respell(entry.fields ?? {}, each, spellingOf) : each,
      );
    }
  }
  return result;
}

/** Durations outside their bounds, which a schema of numbers and strings cannot tell. */
export function boundFaults(fields: Fields, value: Members, path: Path, found: DocumentFault[]): void {
  for (const [name, entry] of Object.entries(fields)) {
    const given = value[name];
    const here = [...path, name];
    if (entry.type === "duration" && typeof given === "string") {
      const seconds = parseDuration(given);
      const message = seconds === null ? null : outside(entry, seconds);
      if (message !== null) found.push({ path: here, message: `${label(here)} ${message}` });
    } else if (entry.type === "object" && isMembers(given)) boundFaults(entry.fields ?? {}, given, here, found);
    else if (entry.type === "list" && Array.isArray(given)) {
      for (const [at, each] of given.entries()) {
        if (isMembers(each)) boundFaults(entry.fields ?? {}, each, [...here, at], found);
      }
    }
  }
}

function outside({ minimum, maximum }: Field, seconds: number): string | null {
  if (minimum !== undefined && seconds < minimum) return `must be at least ${minimum} seconds`;
  return maximum !== undefined && seconds > maximum ? `must be at most ${maximum} seconds` : null;
}
