// Facts that people write beside an entity, a token or a secret id. They stand in the audit, in clear, with each request of whom
// they belong to.
// Must hold: whatever takes such facts from a request checks them here, before it keeps them.

import { VaultError } from "./errors.ts";

const mostPairs = 64;
const longestKey = 128;
const longestValue = 512;

/** Throws VaultError `invalid`, which names the field. */
export function checkMetadata(field: string, metadata: Readonly<Record<string, string>>): void {
  const pairs = Object.entries(metadata);
  if (pairs.length > mostPairs) {
    throw new VaultError("invalid", `${field} cannot contain more than ${mostPairs} key/value pairs`);
  }
  for (const [key, value] of pairs) {
    if (key !== "" && Buffer.byteLength(key) <= longestKey && Buffer.byteLength(value) <= longestValue) continue;
    throw new VaultError("invalid", `${field}: a key has 1 to ${longestKey} bytes, a value at most ${longestValue}`);
  }
}
