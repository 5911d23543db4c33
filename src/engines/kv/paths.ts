// What the routes of a versioned engine share: reading the path and the version numbers out of a call.

import { VaultError } from "../../sdk/errors.ts";
import { field, parse } from "../../sdk/fields.ts";
import type { Call } from "../../sdk/mount.ts";

export const versionField = field.int("Which version; the current one where 0 or left out", { default: 0 });

/** The secret's path. "a/" is no secret: policies were asked about "a/", so that "a" must not answer. Throws VaultError
 *  `not_found`. */
export function pathOf(call: Pick<Call, "params" | "request">): string {
  if (call.request.path.endsWith("/")) {
    throw new VaultError("not_found", `no handler for route "${call.request.path}". route entry not found.`);
  }
  return call.params["path"] ?? "";
}

export const missing = (): VaultError => new VaultError("not_found", []);

const number = { versions: field.int("") };

/** A number, a list, or a comma-separated string. Throws VaultError `invalid`. */
export function versionsOf(input: unknown): readonly number[] {
  const items: readonly unknown[] =
    typeof input === "string" ? input.split(",").filter((item) => item.trim() !== "") : [input ?? []].flat();
  if (items.length === 0) throw new VaultError("invalid", "No version number provided");
  return items.map((versions) => parse(number, { versions }).values.versions ?? 0);
}
