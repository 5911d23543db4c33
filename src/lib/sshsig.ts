// SSH signatures (OpenSSH PROTOCOL.sshsig) with Ed25519 keys, as `ssh-keygen -Y verify` and `git verify-commit` read them.

import { createPublicKey, hash, type KeyObject, sign, verify } from "node:crypto";

const magic = Buffer.from("SSHSIG");
const keyType = "ssh-ed25519";
const digest = "sha512";
const begin = "-----BEGIN SSH SIGNATURE-----";
const end = "-----END SSH SIGNATURE-----";

/** RFC 4251 section 5: a length in four bytes, then the bytes. */
function string(bytes: Uint8Array | string): Buffer {
  const body = Buffer.from(bytes);
  const out = Buffer.alloc(4 + body.length);
  out.writeUInt32BE(body.length);
  body.copy(out, 4);
  return out;
}

function strings(bytes: Buffer, count: number): Buffer[] | null {
  const found: Buffer[] = [];
  let at = 0;
  for (let left = count; left > 0; left--) {
    if (at + 4 > bytes.length) return null;
    const size = bytes.readUInt32BE(at);
    if (at + 4 + size > bytes.length) return null;
    found.push(bytes.subarray(at + 4, at + 4 + size));
    at += 4 + size;
  }
  return at === bytes.length ? found : null;
}

/** RFC 8709 section 4. */
const publicBlob = (raw: Uint8Array): Buffer => Buffer.concat([string(keyType), string(raw)]);

const rawOf = (key: KeyObject): Buffer => Buffer.from(key.export({ format: "jwk" }).x ?? "", "base64url");

const covered = (namespace: string, message: Uint8Array): Buffer =>
  Buffer.concat([magic, string(namespace), string(""), string(digest), string(hash(digest, message, "buffer"))]);

/** "ssh-ed25519 AAAA…", the public half of an Ed25519 key, as in an authorized_keys file. */
export function publicLine(key: KeyObject): string {
  const raw = rawOf(key.type === "private" ? createPublicKey(key) : key);
  return `${keyType} ${publicBlob(raw).toString("base64")}`;
}

/** The key of a line such as "ssh-ed25519 AAAA… comment", of an allowed_signers line too; null where there is none. */
export function parsePublicLine(line: string): KeyObject | null {
  const match = /(?:^|\s)ssh-ed25519\s+([A-Za-z0-9+/]{68})(?:\s|$)/.exec(line);
  const parts = strings(Buffer.from(match?.[1] ?? "", "base64"), 2);
  const [type, raw] = parts ?? [];
  if (type?.toString() !== keyType || raw?.length !== 32) return null;
  return createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: raw.toString("base64url") }, format: "jwk" });
}

/** The armored signature, its last line without a newline. */
export function signSsh(key: KeyObject, namespace: string, message: Uint8Array): string {
  const version = Buffer.from([0, 0, 0, 1]);
  const signature = Buffer.concat([string(keyType), string(sign(null, covered(namespace, message), key))]);
  const blob = Buffer.concat([
    magic,
    version,
    string(publicBlob(rawOf(createPublicKey(key)))),
    string(namespace),
    string(""),
    string(digest),
    string(signature),
  ]);
  return [begin, ...(blob.toString("base64").match(/.{1,70}/g) ?? []), end].join("\n");
}

/** Whether `key` signed `message` in `namespace`. Takes Ed25519 and SHA-512 only. */
export function verifySsh(key: KeyObject, namespace: string, message: Uint8Array, armored: string): boolean {
  const lines = armored.trim().split("\n");
  if (lines[0] !== begin || lines.at(-1) !== end) return false;
  const blob = Buffer.from(lines.slice(1, -1).join(""), "base64");
  if (!blob.subarray(0, 10).equals(Buffer.concat([magic, Buffer.from([0, 0, 0, 1])]))) return false;
  const [from, space, reserved, algorithm, signature] = strings(blob.subarray(10), 5) ?? [];
  const [type, value] = (signature && strings(signature, 2)) ?? [];
  if (from === undefined || value?.length !== 64 || type?.toString() !== keyType) return false;
  if (!from.equals(publicBlob(rawOf(key))) || space?.toString() !== namespace) return false;
  if (reserved?.length !== 0 || algorithm?.toString() !== digest) return false;
  return verify(null, covered(namespace, message), key, value);
}
