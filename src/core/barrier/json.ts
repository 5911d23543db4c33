// Objects as the barrier keeps them: plain JSON data, frozen all the way down, so that one object may be shared by
// everybody who reads the entry.

import { VaultError } from "../../sdk/errors.ts";

const wrong = (what: string): VaultError =>
  new VaultError("internal", `storage: ${what} cannot be stored: it would not be read back as it was written`);

/** Freezes parsed JSON. */
export function deepFreeze(value: unknown): void {
  if (typeof value !== "object" || value === null) return;
  for (const member of Object.values(value)) deepFreeze(member);
  Object.freeze(value);
}

/** Freezes what is about to be stored. Throws VaultError `internal` at anything that JSON would change or lose;
 *  members that are undefined are left out of the stored text as JSON does, and read as undefined either way. */
export function freezePlain(value: unknown): void {
  if (value === null || typeof value === "string" || typeof value === "boolean" || value === undefined) return;
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw wrong("a number that is not finite");
    return;
  }
  if (typeof value !== "object") throw wrong(`a ${typeof value}`);
  if (Array.isArray(value)) {
    for (const item of value as unknown[]) {
      if (item === undefined) throw wrong("a list with an undefined item");
      freezePlain(item);
    }
  } else {
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null) throw wrong("an object of a class");
    // Parsed back, it would make JSON.parse of current Node versions misread names of other objects (see api/body.ts).
    if (Object.hasOwn(value, "\\")) throw new VaultError("invalid", "a field's name must not be a backslash alone");
    for (const member of Object.values(value)) freezePlain(member);
  }
  Object.freeze(value);
}
