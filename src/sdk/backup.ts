// What is inside the age file of a backup: frames of one byte of kind, four of length, and content.
//   H, first: JSON, what the backup is of
//   E: an entry: length of its key (2), key, version (8), the value as storage has it
//   T, last: JSON, how many entries came
// Numbers are big-endian. The age file around it says whether it is whole.
// Must hold: whoever has the recipient can write such a file: what comes out of one is trusted by nobody before it opens
// under the vault's own keys.

import type { Head } from "./audit.ts";
import { VaultError } from "./errors.ts";
import type { Stored } from "./storage.ts";

export interface BackupHeader {
  readonly backup: 1;
  /** Of the storage. */
  readonly format: number;
  /** RFC 3339. */
  readonly created: string;
  /** The newest line of the audit that a device had kept: what came later is not in the backup. */
  readonly audit: Head | null;
}

export interface BackupEntry {
  readonly key: string;
  readonly stored: Stored;
}

export type BackupFrame =
  | { readonly kind: "header"; readonly header: BackupHeader }
  | { readonly kind: "entry"; readonly entry: BackupEntry }
  | { readonly kind: "trailer"; readonly entries: number };

const [headerKind, entryKind, trailerKind] = [0x48, 0x45, 0x54];
const prefixSize = 5;
const mostFrame = 64 * 1024 * 1024;

function framed(kind: number, content: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(prefixSize + content.length);
  bytes.writeUInt8(kind, 0);
  bytes.writeUInt32BE(content.length, 1);
  bytes.set(content, prefixSize);
  return bytes;
}

const json = (kind: number, value: object): Buffer => framed(kind, Buffer.from(JSON.stringify(value)));

export const headerFrame = (header: BackupHeader): Buffer => json(headerKind, header);
export const trailerFrame = (entries: number): Buffer => json(trailerKind, { entries });

export function entryFrame({ key, stored }: BackupEntry): Buffer {
  const name = Buffer.from(key);
  const head = Buffer.alloc(2 + name.length + 8);
  head.writeUInt16BE(name.length, 0);
  name.copy(head, 2);
  head.writeBigUInt64BE(BigInt(stored.version), 2 + name.length);
  return framed(entryKind, Buffer.concat([head, stored.value]));
}

const wrong = (): VaultError => new VaultError("invalid", "this is no backup of a Writ vault, or it is damaged");

function entryOf(content: Buffer): BackupEntry {
  const length = content.length < 10 ? 0 : content.readUInt16BE(0);
  if (length === 0 || content.length < 10 + length) throw wrong();
  const version = Number(content.readBigUInt64BE(2 + length));
  return { key: content.toString("utf8", 2, 2 + length), stored: { version, value: content.subarray(10 + length) } };
}

function frameOf(kind: number, content: Buffer): BackupFrame {
  if (kind === entryKind) return { kind: "entry", entry: entryOf(content) };
  let value: unknown;
  try {
    value = JSON.parse(content.toString("utf8"));
  } catch {
    throw wrong();
  }
  if (typeof value !== "object" || value === null) throw wrong();
  if (kind === headerKind) return { kind: "header", header: value as BackupHeader };
  if (kind === trailerKind) return { kind: "trailer", entries: Number((value as { entries?: unknown }).entries) };
  throw wrong();
}

/** The frames in a stream of bytes. Throws VaultError `invalid` where it is cut or malformed. */
export async function* readFrames(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<BackupFrame> {
  const parts: Uint8Array[] = [];
  let size = 0;
  let needed = prefixSize;
  for await (const chunk of chunks) {
    parts.push(chunk);
    size += chunk.length;
    if (size < needed) continue;
    const held = Buffer.concat(parts.splice(0));
    let at = 0;
    for (;;) {
      needed = prefixSize;
      if (held.length - at < needed) break;
      const length = held.readUInt32BE(at + 1);
      if (length > mostFrame) throw wrong();
      needed += length;
      if (held.length - at < needed) break;
      yield frameOf(held[at] ?? 0, held.subarray(at + prefixSize, at + needed));
      at += needed;
    }
    parts.push(held.subarray(at));
    size = held.length - at;
  }
  if (size > 0) throw wrong();
}
