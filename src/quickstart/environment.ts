// quickstart.env: where the vault is, its root token and its unseal key, as shell assignments.
// Must hold: 0600; on disk whole and durable before anything depends on it; the unseal key is bytes here, never a string.
// Known gap: whoever reads this file has the vault. That is what makes the quickstart one command, and unfit for anything
// but trying things out.

import { constants } from "node:fs";
import { open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { zero } from "../lib/bytes.ts";

const digits = Buffer.from("0123456789abcdef");

function toHex(bytes: Uint8Array): Buffer {
  const out = Buffer.alloc(bytes.length * 2);
  for (const [at, byte] of bytes.entries()) {
    out[at * 2] = digits[byte >> 4] ?? 0;
    out[at * 2 + 1] = digits[byte & 15] ?? 0;
  }
  return out;
}

function fromHex(text: Uint8Array): Buffer | null {
  if (text.length === 0 || text.length % 2 === 1) return null;
  const out = Buffer.alloc(text.length / 2);
  for (let at = 0; at < out.length; at++) {
    const high = digits.indexOf(text[at * 2] ?? 0);
    const low = digits.indexOf(text[at * 2 + 1] ?? 0);
    if (high < 0 || low < 0) {
      zero(out);
      return null;
    }
    out[at] = high * 16 + low;
  }
  return out;
}

/** A file's name is durable once its folder is synced. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Whole and durable, or not at all. */
export async function writeDurable(file: string, content: Uint8Array, mode = 0o600): Promise<void> {
  const fresh = `${file}.new`;
  const handle = await open(fresh, "w", 0o600);
  try {
    await handle.chmod(mode);
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(fresh, file);
  await syncFolder(dirname(file));
}

/** Renames within a folder, durably. */
export async function renameDurable(from: string, to: string): Promise<void> {
  await rename(from, to);
  await syncFolder(dirname(to));
}

export interface Environment {
  readonly address: string;
  readonly token: string;
  readonly alicePassword: string;
  /** The reader overwrites it. */
  readonly share: Uint8Array;
}

export async function writeEnvironment(file: string, environment: Environment): Promise<void> {
  const { address, token, alicePassword, share } = environment;
  const hex = toHex(share);
  const content = Buffer.concat([
    Buffer.from("# Written by the quickstart. Whoever reads this file has the vault: keep it to yourself.\n"),
    Buffer.from(`VAULT_ADDR=${address}\nVAULT_TOKEN=${token}\nALICE_PASSWORD=${alicePassword}\nUNSEAL_KEY=`),
    hex,
    Buffer.from("\n"),
  ]);
  try {
    await writeDurable(file, content);
  } finally {
    zero(hex, content);
  }
}

/** Null where there is no file. Throws Error where it does not hold what it should. */
export async function readEnvironment(file: string): Promise<Environment | null> {
  const content = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
  if (content === null) return null;
  const valueOf = (name: string): Buffer | null => {
    const prefix = Buffer.from(`${name}=`);
    for (let at = 0; at < content.length;) {
      const newline = content.indexOf(10, at);
      const end = newline < 0 ? content.length : newline;
      if (content.subarray(at, at + prefix.length).equals(prefix)) return content.subarray(at + prefix.length, end);
      at = end + 1;
    }
    return null;
  };
  try {
    const text = (name: string): string => valueOf(name)?.toString("utf8").trim() ?? "";
    const share = fromHex(valueOf("UNSEAL_KEY") ?? new Uint8Array());
    const found = { address: text("VAULT_ADDR"), token: text("VAULT_TOKEN"), alicePassword: text("ALICE_PASSWORD") };
    if (share === null || found.token === "" || found.alicePassword === "") {
      throw new Error("quickstart.env is damaged: VAULT_TOKEN, ALICE_PASSWORD or UNSEAL_KEY is missing or misspelt");
    }
    return { ...found, share };
  } finally {
    zero(content);
  }
}
