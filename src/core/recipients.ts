// age files to recipients that an operator names: exports and backups. age-encryption is loaded when one is made: it would
// cost every start 100 ms.

import type { Encrypter } from "age-encryption";
import { VaultError } from "../sdk/errors.ts";

const most = 32;

/** Throws VaultError `invalid` naming the recipient that is none. */
export async function encrypterTo(recipients: readonly string[]): Promise<Encrypter> {
  if (recipients.length === 0) throw new VaultError("invalid", "missing recipients: name at least one, age1…");
  if (recipients.length > most) throw new VaultError("invalid", `there are at most ${most} recipients`);
  const age = await import("age-encryption");
  const encrypter = new age.Encrypter();
  for (const [at, recipient] of recipients.entries()) {
    try {
      encrypter.addRecipient(recipient);
    } catch {
      // Not repeated: somebody may have given an identity.
      throw new VaultError("invalid", `recipient ${at + 1} is no age recipient: it must begin with age1 and be whole`);
    }
  }
  return encrypter;
}

/** An age file as text (C2SP age.md, "ASCII armor"). */
export const armored = async (file: Uint8Array): Promise<string> => (await import("age-encryption")).armor.encode(file);
