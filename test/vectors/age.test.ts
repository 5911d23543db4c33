// The age format against third parties: the CCTV vectors (C2SP), and `age-encryption` in both directions.

import { createHash, randomBytes } from "node:crypto";
import { inflateSync } from "node:zlib";
import { armor, Decrypter, Encrypter, type Stanza as ForeignStanza } from "age-encryption";
import * as cctv from "cctv-age";
import { describe, expect, test } from "vitest";
import {
  AgeError,
  checkHeader,
  decryptFile,
  encryptFile,
  openPayload,
  parseHeader,
  stanzaKey,
} from "../../src/lib/age.ts";
import { decryptBound, encryptBound } from "../../src/lib/bound.ts";
import { SymmetricIdentity, SymmetricRecipient } from "../../src/lib/symmetric.ts";

interface Vector {
  readonly fields: ReadonlyMap<string, readonly string[]>;
  readonly file: Buffer;
}

function vectorOf(bytes: Uint8Array): Vector {
  const all = Buffer.from(bytes);
  const end = all.indexOf("\n\n");
  const fields = new Map<string, string[]>();
  for (const line of all.toString("latin1", 0, end).split("\n")) {
    const at = line.indexOf(": ");
    const name = line.slice(0, at);
    fields.set(name, [...(fields.get(name) ?? []), line.slice(at + 2)]);
  }
  const file = all.subarray(end + 2);
  return { fields, file: fields.get("compressed")?.[0] === "zlib" ? inflateSync(file) : file };
}

/** `age-encryption` unwraps the foreign stanzas, this project's code does everything else. */
async function unwrap(
  vector: Vector,
  stanzas: readonly { args: readonly string[]; body: Uint8Array }[],
): Promise<Uint8Array | null> {
  const decrypter = new Decrypter();
  for (const identity of vector.fields.get("identity") ?? []) decrypter.addIdentity(identity);
  for (const passphrase of vector.fields.get("passphrase") ?? []) decrypter.addPassphrase(passphrase);
  // Private in its types: its public calls would parse the header themselves, and that is what is tested here.
  const inside = decrypter as unknown as { unwrapFileKey(list: readonly ForeignStanza[]): Promise<Uint8Array | null> };
  const copies = stanzas.map(({ args, body }) => ({ args: [...args], body: Uint8Array.from(body) }));
  return inside.unwrapFileKey(copies).catch(() => {
    throw new AgeError("header");
  });
}

/** Armor is `age-encryption`'s, too: storage keeps the binary form. */
function dearmored(vector: Vector): Buffer {
  if (!vector.fields.has("armored")) return vector.file;
  try {
    return Buffer.from(armor.decode(vector.file.toString("latin1")));
  } catch {
    throw new ArmorError();
  }
}

class ArmorError extends Error {
  readonly part = "armor";
}

async function decrypt(vector: Vector): Promise<Buffer> {
  const file = dearmored(vector);
  const header = parseHeader(file);
  const fileKey = await unwrap(vector, header.stanzas);
  if (fileKey === null) throw new AgeError("match");
  checkHeader(header, fileKey);
  return openPayload(fileKey, file.subarray(header.size));
}

const parts: Readonly<Record<string, string>> = {
  "armor failure": "armor",
  "header failure": "header",
  "no match": "match",
  "HMAC failure": "mac",
  "payload failure": "payload",
};

describe("CCTV vectors", () => {
  const vectors = Object.entries(cctv)
    .filter((entry): entry is [string, Uint8Array] => entry[1] instanceof Uint8Array)
    .map(([name, bytes]) => [name, vectorOf(bytes)] as const);

  test("are all there, and expect something that is known here", () => {
    expect(vectors).toHaveLength(143);
    for (const [name, { fields }] of vectors)
      expect(["success", ...Object.keys(parts)], name).toContain(fields.get("expect")?.[0]);
  });

  test.each(vectors)("%s", async (_name, vector) => {
    const wanted = vector.fields.get("expect")?.[0] ?? "";
    const outcome = await decrypt(vector).then(
      (plain) => createHash("sha256").update(plain).digest("hex"),
      (error: unknown) => (error instanceof AgeError || error instanceof ArmorError ? error.part : error),
    );
    expect(outcome).toBe(wanted === "success" ? vector.fields.get("payload")?.[0] : parts[wanted]);
  });
});

describe.each(["keys", "entries"] as const)("age-encryption, and keys to %s", (purpose) => {
  const raw = randomBytes(32);
  const name = "writ-keyring 7";
  const key = stanzaKey(name, raw, purpose);
  const find = (wanted: string): typeof key | null => (wanted === name ? key : null);
  const sizes = [0, 1, 400, 65_535, 65_536, 65_537, 131_072, 200_001];

  test.each(sizes)("reads what the fast path wrote: %i bytes", async (size) => {
    const plain = randomBytes(size);
    const decrypter = new Decrypter();
    decrypter.addIdentity(new SymmetricIdentity(name, raw));
    expect(Buffer.from(await decrypter.decrypt(encryptFile(key, plain))).equals(plain)).toBe(true);
  });

  test.each(sizes)("writes what the fast path reads: %i bytes", async (size) => {
    const plain = randomBytes(size);
    const encrypter = new Encrypter();
    encrypter.addRecipient(new SymmetricRecipient(name, raw));
    expect(decryptFile(find, await encrypter.encrypt(plain)).equals(plain)).toBe(true);
  });

  test("does not open a file of another term or key", async () => {
    const file = encryptFile(key, Buffer.from("x"));
    for (const identity of [
      new SymmetricIdentity("writ-keyring 8", raw),
      new SymmetricIdentity(name, randomBytes(32)),
    ]) {
      const decrypter = new Decrypter();
      decrypter.addIdentity(identity);
      await expect(decrypter.decrypt(file)).rejects.toThrow(Error);
    }
    expect(() => decryptFile(() => null, file)).toThrow(AgeError);
    expect(() => decryptFile(() => stanzaKey(name, randomBytes(32)), file)).toThrow(AgeError);
  });

  test("no changed, missing or added byte is taken", () => {
    const file = encryptBound(key, "a/b", 5, Buffer.from("a secret of some length"));
    expect(decryptBound(find, "a/b", 5, file).toString()).toBe("a secret of some length");
    for (let at = 0; at < file.length; at++) {
      for (const bit of [1, 0x20, 0x80]) {
        const changed = Buffer.from(file);
        changed[at] = (changed[at] ?? 0) ^ bit;
        expect(() => decryptBound(find, "a/b", 5, changed), `byte ${at}`).toThrow(AgeError);
      }
      expect(() => decryptBound(find, "a/b", 5, file.subarray(0, at)), `cut at ${at}`).toThrow(AgeError);
    }
    expect(() => decryptBound(find, "a/b", 5, Buffer.concat([file, Buffer.from([0])]))).toThrow(AgeError);
  });

  test("a bound file opens under its path and version only", () => {
    const file = encryptBound(key, "a/b", 5, Buffer.from("x"));
    for (const [path, version] of [
      ["a/c", 5],
      ["a/b", 6],
      ["a/bx", 5],
      ["a/", 5],
      ["a/b", 5 + 2 ** 32],
    ] as const) {
      expect(() => decryptBound(find, path, version, file)).toThrow(AgeError);
    }
    expect(decryptBound(find, "ä", 2 ** 53 - 1, encryptBound(key, "ä", 2 ** 53 - 1, Buffer.alloc(0)))).toHaveLength(0);
  });
});
