// The symmetric stanza as `age-encryption` takes it: whoever holds the raw key reads and writes a vault's files with that
// package, or with anything else that offers HKDF and ChaCha20-Poly1305. Slow, and made from other parts than age.ts, so
// that the two can be held against each other.

import { createCipheriv, createDecipheriv, hkdfSync } from "node:crypto";
import { Stanza, type Identity, type Recipient } from "age-encryption";
import { randomBuffer } from "./bytes.ts";

const tagSize = 16;
const nonce = Buffer.alloc(12);

function wrappingKey(name: string, key: Uint8Array, salt: Uint8Array): Buffer {
  const info = Buffer.concat([Buffer.from(`${name} `), salt]);
  return Buffer.from(hkdfSync("sha256", key, Buffer.alloc(0), info, 32));
}

/** `name` is the stanza's arguments but for the salt, as in `writ-keyring 1`; `key` its 32 bytes. */
export class SymmetricRecipient implements Recipient {
  readonly #name: string;
  readonly #key: Uint8Array;

  constructor(name: string, key: Uint8Array) {
    this.#name = name;
    this.#key = key;
  }

  wrapFileKey(fileKey: Uint8Array): Stanza[] {
    const salt = randomBuffer(16);
    const cipher = createCipheriv("chacha20-poly1305", wrappingKey(this.#name, this.#key, salt), nonce, {
      authTagLength: tagSize,
    });
    const body = Buffer.concat([cipher.update(fileKey), cipher.final(), cipher.getAuthTag()]);
    return [new Stanza([...this.#name.split(" "), salt.toString("base64").replaceAll("=", "")], body)];
  }
}

export class SymmetricIdentity implements Identity {
  readonly #name: string;
  readonly #key: Uint8Array;

  constructor(name: string, key: Uint8Array) {
    this.#name = name;
    this.#key = key;
  }

  /** Null where no stanza has the name; throws where one has and does not open. */
  unwrapFileKey(stanzas: Stanza[]): Uint8Array | null {
    const stanza = stanzas.find((each) => each.args.slice(0, -1).join(" ") === this.#name);
    if (stanza === undefined) return null;
    if (stanza.body.length !== 16 + tagSize) throw new Error(`invalid ${this.#name} stanza`);
    const salt = Buffer.from(stanza.args.at(-1) ?? "", "base64");
    const decipher = createDecipheriv("chacha20-poly1305", wrappingKey(this.#name, this.#key, salt), nonce, {
      authTagLength: tagSize,
    });
    decipher.setAuthTag(stanza.body.subarray(16));
    return Buffer.concat([decipher.update(stanza.body.subarray(0, 16)), decipher.final()]);
  }
}
