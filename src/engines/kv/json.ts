// JSON values as trees: which is an object, merging a patch into one, and its names without its values.
// Must hold: "__proto__" is a name like any other.

import { VaultError } from "../../sdk/errors.ts";

export type JsonObject = Readonly<Record<string, unknown>>;

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The value if it is an object; throws VaultError `invalid` naming the field. */
export function objectOf(name: string, value: unknown): JsonObject {
  if (isObject(value)) return value;
  throw new VaultError("invalid", `error converting input for field "${name}": expected an object`);
}

/** JSON Merge Patch (RFC 7396 section 2): a new tree, which shares what did not change. */
export function mergePatch(target: unknown, patch: JsonObject): JsonObject {
  const merged = new Map(Object.entries(isObject(target) ? target : {}));
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) merged.delete(name);
    else merged.set(name, isObject(value) ? mergePatch(merged.get(name), value) : value);
  }
  // fromEntries defines properties; assigning "__proto__" would set the prototype.
  return Object.fromEntries(merged);
}

/** The names of a tree, with null where a value or an empty object stands. `depth` levels, all where 0. */
export const subkeys = (value: JsonObject, depth: number): JsonObject =>
  Object.fromEntries(
    Object.entries(value).map(([name, item]) => [
      name,
      isObject(item) && depth !== 1 && Object.keys(item).length > 0 ? subkeys(item, Math.max(0, depth - 1)) : null,
    ]),
  );
