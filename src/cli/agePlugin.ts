// `age-plugin-writ`, run by the age command for identities that begin with AGE-PLUGIN-WRIT-1 (C2SP age-plugin.md, state
// machine identity-v1): opens what a vault's keyring has wrapped. What is inside a stored value is said in SECURITY.md.
// Must hold: nothing but the protocol goes to standard output; a stanza of another kind is left alone, one of a term that
// the identity has must open.

import { AgeError, fromBase64, openStanza, type Stanza, type StanzaKey, toBase64 } from "../lib/age.ts";
import { zero } from "../lib/bytes.ts";
import { decodeIdentity } from "../sdk/keyring.ts";

/** Lines of age, answers back. */
export interface Peer {
  /** Rejects at the end of the input. */
  line(): Promise<string>;
  write(text: string): void;
}

interface Ask extends Stanza {
  /** Numbers of the file and of the stanza in it. */
  readonly file: number;
  readonly at: number;
}

const columns = 64;

async function read(peer: Peer): Promise<Stanza> {
  const first = await peer.line();
  if (!first.startsWith("-> ")) throw new Error("age said what is no stanza");
  const parts: Buffer[] = [];
  for (;;) {
    const text = await peer.line();
    const part = fromBase64(text);
    if (part === null || text.length > columns) throw new Error("age said a stanza that is not well-formed");
    parts.push(part);
    if (text.length < columns) return { args: first.slice(3).split(" "), body: Buffer.concat(parts) };
  }
}

/** Says one stanza, and gives what kind of answer came. */
async function say(peer: Peer, args: readonly (string | number)[], body: Buffer): Promise<string> {
  const text = toBase64(body);
  // The last line is shorter than the others, empty if need be.
  const lines = Array.from({ length: Math.floor(text.length / columns) + 1 }, (_, at) =>
    text.slice(at * columns, (at + 1) * columns),
  );
  peer.write(`-> ${args.join(" ")}\n${lines.join("\n")}\n`);
  return (await read(peer)).args[0] ?? "";
}

/** Runs identity-v1 to its end. */
export async function unwrapFileKeys(peer: Peer): Promise<void> {
  const identities: string[] = [];
  const asks: Ask[] = [];
  const counts = new Map<number, number>();
  for (let stanza = await read(peer); stanza.args[0] !== "done"; stanza = await read(peer)) {
    const [kind, first = "", ...args] = stanza.args;
    if (kind === "add-identity") identities.push(first);
    if (kind !== "recipient-stanza") continue;
    const file = Number(first);
    const at = counts.get(file) ?? 0;
    counts.set(file, at + 1);
    asks.push({ file, at, args, body: stanza.body });
  }
  const keys = new Map<string, StanzaKey>();
  for (const [at, identity] of identities.entries()) {
    const decoded = decodeIdentity(identity);
    if (decoded === null) await say(peer, ["error", "identity", at], Buffer.from("this is no keyring of a Writ vault"));
    else for (const [name, key] of decoded) keys.set(name, key);
  }
  const opened = new Set<number>();
  for (const ask of asks) {
    if (opened.has(ask.file)) continue;
    try {
      const fileKey = openStanza((name) => keys.get(name) ?? null, ask);
      if (fileKey === null) continue;
      opened.add(ask.file);
      await say(peer, ["file-key", ask.file], fileKey);
      zero(fileKey);
    } catch (error) {
      if (!(error instanceof AgeError)) throw error;
      await say(peer, ["error", "stanza", ask.file, ask.at], Buffer.from("the stanza does not open with this keyring"));
    }
  }
  peer.write("-> done\n\n");
}
