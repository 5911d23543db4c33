// age files to one X25519 recipient (C2SP age.md, "The X25519 recipient type") on node:crypto, for keys that must leave no
// copy behind: `age-encryption`, which reads and writes the same files, works on copies that nobody overwrites.
// Must hold: the private key exists as a key object only; what was derived from it is overwritten before this returns.

import { createPrivateKey, createPublicKey, diffieHellman, generateKeyPairSync, type KeyObject } from "node:crypto";
import { AgeError, checkHeader, encryptWith, fromBase64, hkdf, openPayload, parseHeader } from "./age.ts";
import { toBase64, unwrapFileKey } from "./age.ts";
import { zero } from "./bytes.ts";

export interface X25519Identity {
  readonly privateKey: KeyObject;
  /** 32 bytes, public. */
  readonly recipient: Buffer;
}

// RFC 8410: the DER in front of the 32 bytes of a private and of a public key.
const privatePrefix = Buffer.from("302e020100300506032b656e04220420", "hex");
const publicPrefix = Buffer.from("302a300506032b656e032100", "hex");
const info = "age-encryption.org/v1/X25519";
const type = "X25519";
const keySize = 32;

const rawPublic = (key: KeyObject): Buffer => key.export({ format: "der", type: "spki" }).subarray(-keySize);

/** `scalar` is 32 bytes and stays the caller's to wipe. */
export function x25519Identity(scalar: Uint8Array): X25519Identity {
  const key = Buffer.concat([privatePrefix, scalar]);
  try {
    const privateKey = createPrivateKey({ key, format: "der", type: "pkcs8" });
    return { privateKey, recipient: rawPublic(createPublicKey(privateKey)) };
  } finally {
    zero(key);
  }
}

/** Null where `point` is not a point that gives a secret. */
function wrappingKey(
  privateKey: KeyObject,
  point: Uint8Array,
  share: Uint8Array,
  recipient: Uint8Array,
): Buffer | null {
  let secret: Buffer;
  try {
    const publicKey = createPublicKey({ key: Buffer.concat([publicPrefix, point]), format: "der", type: "spki" });
    secret = diffieHellman({ privateKey, publicKey });
  } catch {
    return null;
  }
  const key = hkdf(secret, Buffer.concat([share, recipient]), info);
  zero(secret);
  return key;
}

/** A whole age file that the holder of `recipient`'s private key opens. */
export function encryptToX25519(recipient: Uint8Array, plaintext: Uint8Array): Buffer {
  return encryptWith(() => {
    const { privateKey, publicKey } = generateKeyPairSync("x25519");
    const share = rawPublic(publicKey);
    const wrapping = wrappingKey(privateKey, recipient, share, recipient);
    if (wrapping === null) throw new TypeError("the recipient is not a point of the curve");
    return { args: [type, toBase64(share)], wrapping };
  }, plaintext);
}

/** The content of an age file in memory of its own. Throws AgeError. */
export function decryptX25519({ privateKey, recipient }: X25519Identity, file: Uint8Array): Buffer {
  const header = parseHeader(file);
  for (const { args, body } of header.stanzas) {
    if (args[0] !== type) continue;
    const share = fromBase64(args[1] ?? "");
    if (args.length !== 2 || share?.length !== keySize) throw new AgeError("header");
    const wrapping = wrappingKey(privateKey, share, share, recipient);
    const fileKey = wrapping === null ? null : unwrapFileKey(wrapping, body);
    zero(wrapping);
    if (fileKey === null) continue;
    try {
      checkHeader(header, fileKey);
      return openPayload(fileKey, file.subarray(header.size));
    } finally {
      zero(fileKey);
    }
  }
  throw new AgeError("match");
}
