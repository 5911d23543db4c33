// How large a secret may be.

import { VaultError } from "./errors.ts";

/** Names and values together, in bytes of UTF-8: as much as Vault's own storage takes. What is larger would cost everybody
 *  many times its size, each time that somebody reads it. */
export const mostSecretBytes = 1024 * 1024;

/** What is left of `room` behind a value, at least; less than 0 where it does not fit. A UTF-16 unit has at most three
 *  bytes: only what may be too long is measured. */
function left(value: unknown, room: number, exact: boolean): number {
  if (room < 0) return room;
  if (typeof value === "string") return room - (exact ? Buffer.byteLength(value) : 3 * value.length);
  if (typeof value !== "object" || value === null) return room - 1;
  let rest = room;
  for (const [name, member] of Object.entries(value)) {
    rest = left(member, Array.isArray(value) ? rest - 1 : left(name, rest, exact), exact);
    if (rest < 0) break;
  }
  return rest;
}

/** Throws VaultError `too_large`. */
export function checkSecretSize(value: unknown): void {
  if (left(value, mostSecretBytes, false) >= 0 || left(value, mostSecretBytes, true) >= 0) return;
  throw new VaultError("too_large", `a secret has at most ${mostSecretBytes} bytes: divide it, or keep it elsewhere`);
}
