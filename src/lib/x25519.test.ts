import { randomBytes, webcrypto } from "node:crypto";
import { Decrypter, Encrypter, identityToRecipient } from "age-encryption";
import { expect, test } from "vitest";
import { toBase64 } from "./age.ts";
import { decryptX25519, encryptToX25519, x25519Identity } from "./x25519.ts";

const part = (name: string): unknown => expect.objectContaining({ name: "AgeError", part: name }) as unknown;

async function otherIdentity(scalar: Uint8Array): Promise<webcrypto.CryptoKey> {
  const der = Buffer.concat([Buffer.from("302e020100300506032b656e04220420", "hex"), scalar]);
  return webcrypto.subtle.importKey("pkcs8", der, { name: "X25519" }, false, ["deriveBits"]);
}

test.each([0, 1, 300, 64 * 1024, 200_000])(
  "age-encryption and this module read each other's files: %i bytes",
  async (size) => {
    const scalar = randomBytes(32);
    const content = randomBytes(size);
    const identity = x25519Identity(scalar);
    const other = await otherIdentity(scalar);
    const decrypter = new Decrypter();
    decrypter.addIdentity(other);
    expect(content.equals(await decrypter.decrypt(encryptToX25519(identity.recipient, content)))).toBe(true);
    const encrypter = new Encrypter();
    encrypter.addRecipient(await identityToRecipient(await otherIdentity(randomBytes(32))));
    encrypter.addRecipient(await identityToRecipient(other));
    expect(decryptX25519(identity, await encrypter.encrypt(content)).equals(content)).toBe(true);
  },
);

test("what another key made, what was changed, and points without a secret are refused", () => {
  const identity = x25519Identity(randomBytes(32));
  const file = encryptToX25519(identity.recipient, Buffer.from("content"));
  expect(() => decryptX25519(x25519Identity(randomBytes(32)), file)).toThrow(part("match"));
  for (let at = 0; at < file.length; at++) {
    const changed = Buffer.from(file);
    changed[at] = (changed[at] ?? 0) ^ 1;
    expect(() => decryptX25519(identity, changed), `byte ${at}`).toThrow(expect.objectContaining({ name: "AgeError" }));
  }
  const text = file.toString("latin1");
  const share = / X25519 (\S+)\n/.exec(text)?.[1] ?? "";
  const low = Buffer.from(text.replace(share, toBase64(Buffer.alloc(32))), "latin1");
  expect(() => decryptX25519(identity, low)).toThrow(part("match"));
  expect(() => encryptToX25519(Buffer.alloc(32), Buffer.from("content"))).toThrow(TypeError);
});
