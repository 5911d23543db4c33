// What opens the root key: identities or a passphrase, read anew each time from a file or a systemd credential.
// Must hold: no error carries a part of a key.
// age-encryption is loaded when it is needed: with its post-quantum parts it would take a good part of a server's start.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseHeader } from "../../lib/age.ts";
import { readSecretFile } from "../../lib/secretFile.ts";
import { VaultError } from "../../sdk/errors.ts";
import { field, type Values } from "../../sdk/fields.ts";

const credential = { pattern: "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}$" } as const;

export const settingFields = {
  recipients: field.strings(
    "age recipients (age1…, age1pq1…) of the root key; those of the identities where left out",
    {
      default: [],
    },
  ),
  identity_file: field.string(
    "File with age identities (AGE-SECRET-KEY-…), one a line, that opens the root key at start",
  ),
  identity_credential: field.string("The same, by its name as a systemd credential (LoadCredential=)", credential),
  passphrase_file: field.string("File with a passphrase that the root key is under, instead of recipients"),
  passphrase_credential: field.string("The same, by its name as a systemd credential", credential),
} as const;
export type Settings = Values<typeof settingFields>;

export type Key =
  | { readonly kind: "identities"; readonly identities: readonly string[] }
  | { readonly kind: "passphrase"; readonly passphrase: string };

const invalid = (text: string): VaultError => new VaultError("invalid", `seal: ${text}`);
const names = ["identity_file", "identity_credential", "passphrase_file", "passphrase_credential"] as const;

/** The one setting that says where the key is. Throws VaultError `invalid`. */
function source(settings: Settings): (typeof names)[number] {
  const [given, ...rest] = names.filter((name) => settings[name] !== undefined);
  if (given === undefined || rest.length > 0) throw invalid(`give exactly one of ${names.join(", ")}`);
  if (given.startsWith("passphrase") && settings.recipients.length > 0) {
    throw invalid("recipients and a passphrase exclude each other: leave one out");
  }
  return given;
}

/** For messages. */
export const sourceOf = (settings: Settings): string => source(settings);

async function read(settings: Settings): Promise<string> {
  const name = source(settings);
  const value = settings[name] ?? "";
  try {
    if (name.endsWith("_file")) return (await readSecretFile(name, value)).toString("utf8");
    const folder = process.env["CREDENTIALS_DIRECTORY"];
    if (folder === undefined) {
      throw new Error(`${name} needs a systemd unit with LoadCredential=${value}:… (CREDENTIALS_DIRECTORY is not set)`);
    }
    // systemd guards the folder; the mode of the file tells nothing there.
    return await readFile(join(folder, value), "utf8").catch((error: NodeJS.ErrnoException) => {
      throw new Error(`${name} cannot be read (${error.code ?? "unknown"})`);
    });
  } catch (error) {
    throw invalid(error instanceof Error ? error.message : `${name} cannot be read`);
  }
}

/** Throws VaultError `invalid` where there is none. */
export async function keyOf(settings: Settings): Promise<Key> {
  const text = await read(settings);
  const name = source(settings);
  if (name.startsWith("passphrase")) {
    const passphrase = text.replace(/\r?\n$/u, "");
    if (passphrase.length < 12) throw invalid(`the passphrase of ${name} must have at least 12 characters`);
    return { kind: "passphrase", passphrase };
  }
  const lines = text.split("\n").map((line) => line.trim());
  const identities = lines.filter((line) => line !== "" && !line.startsWith("#"));
  if (identities.length === 0 || !identities.every((line) => /^AGE-SECRET-KEY-(?:PQ-)?1[0-9A-Z]+$/.test(line))) {
    throw invalid(`${name} must hold age identities (AGE-SECRET-KEY-…), one a line`);
  }
  return { kind: "identities", identities };
}

async function recipientsOf(
  key: Extract<Key, { kind: "identities" }>,
  named: readonly string[],
): Promise<readonly string[]> {
  const { identityToRecipient } = await import("age-encryption");
  return named.length > 0 ? named : Promise.all(key.identities.map((identity) => identityToRecipient(identity)));
}

export async function encryptTo(key: Key, named: readonly string[], rootKey: Uint8Array): Promise<Buffer> {
  const { Encrypter } = await import("age-encryption");
  const encrypter = new Encrypter();
  try {
    if (key.kind === "passphrase") encrypter.setPassphrase(key.passphrase);
    else for (const recipient of await recipientsOf(key, named)) encrypter.addRecipient(recipient);
  } catch {
    throw invalid("one of the recipients or identities is malformed: they look like age1… and AGE-SECRET-KEY-1…");
  }
  const file = await encrypter.encrypt(rootKey);
  return Buffer.from(file.buffer, file.byteOffset, file.length);
}

/** Null where the key does not open the file. The receiver wipes it; the root key itself never passes age-encryption here. */
export async function fileKeyOf(key: Key, file: Buffer): Promise<Uint8Array | null> {
  const { Decrypter } = await import("age-encryption");
  const decrypter = new Decrypter();
  try {
    if (key.kind === "passphrase") decrypter.addPassphrase(key.passphrase);
    else for (const identity of key.identities) decrypter.addIdentity(identity);
    return await decrypter.decryptHeader(file.subarray(0, parseHeader(file).size));
  } catch {
    return null;
  }
}
