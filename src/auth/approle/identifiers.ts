// How ids become names in storage: keyed hashes, so that neither key names nor entries tell an id. Role ids and secret
// ids are random or at least long, so a fast hash is enough.
// Must hold: whoever reads all of storage, decrypted, can log in with nothing of it.

import type { KeyObject } from "node:crypto";
import { hmacOf } from "../../lib/hmac.ts";
import { VaultError } from "../../sdk/errors.ts";

const shortest = 12;
const variety = 6;
export const longestId = 4096;

const hash = (key: KeyObject, ...words: readonly string[]): string => hmacOf(key).hex(words.join("\n"));

/** The folder of a role's secret ids. */
export const roleKey = (key: KeyObject, name: string): string => hash(key, "role", name).slice(0, 32);

export const roleIdKey = (key: KeyObject, roleId: string): string => hash(key, "role-id", roleId);

/** A secret id's accessor, which is its name in storage too: a UUID of version 8 (RFC 9562 section 5.8) that follows from
 *  role and secret id under the mount's key. */
export function accessorOf(key: KeyObject, role: string, secretId: string): string {
  const hex = hash(key, "secret-id", role, secretId);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** Nobody can tell a random id from a bad one; what is refused here could be guessed at a glance. */
export function checkCustom(secretId: string): string {
  if (secretId === "") throw new VaultError("invalid", "missing secret_id");
  if (Buffer.byteLength(secretId) < shortest || new Set(secretId).size < variety) {
    throw new VaultError(
      "invalid",
      `a secret_id of one's own needs at least ${shortest} bytes and ${variety} different characters: draw it at random`,
    );
  }
  if (Buffer.byteLength(secretId) > longestId) {
    throw new VaultError("invalid", `secret_id is longer than maximum of ${longestId} bytes`);
  }
  return secretId;
}
