// The plugin's side of the protocol, line by line (C2SP age-plugin.md).

import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { encryptFile, parseHeader, stanzaKey, toBase64 } from "../lib/age.ts";
import { encodeIdentity } from "../sdk/keyring.ts";
import { unwrapFileKeys } from "./agePlugin.ts";

/** What the plugin says to these lines; every stanza of its own is answered with ok. */
async function saysTo(stanzas: readonly (readonly string[])[]): Promise<string[]> {
  const queue = stanzas.flat();
  const said: string[] = [];
  await unwrapFileKeys({
    line: async () => {
      const line = queue.shift();
      if (line === undefined) throw new Error("the end");
      return line;
    },
    write: (text) => {
      said.push(...text.split("\n").slice(0, -1));
      if (!text.startsWith("-> done")) queue.push("-> ok", "");
    },
  });
  return said;
}

const terms = [1, 70_000].map((id) => ({ id, key: randomBytes(32) }));
const identity = encodeIdentity(terms);

/** The recipient-stanza of a file that this key wrote. */
function stanzaOf(file: number, term: number, key: Uint8Array): string[] {
  const { stanzas } = parseHeader(encryptFile(stanzaKey(`writ-keyring ${term}`, key), randomBytes(5)));
  const [stanza] = stanzas;
  return [`-> recipient-stanza ${file} ${stanza?.args.join(" ")}`, toBase64(stanza?.body ?? Buffer.alloc(0))];
}

test("gives one file key a file, of any term, and leaves other stanzas alone", async () => {
  const said = await saysTo([
    [`-> add-identity ${identity}`, ""],
    ["-> grease-x y", "AAAA".repeat(16), ""],
    ["-> recipient-stanza 0 X25519 abc", "AAAA"],
    stanzaOf(0, 70_000, terms[1]?.key ?? randomBytes(32)),
    stanzaOf(0, 1, terms[0]?.key ?? randomBytes(32)),
    stanzaOf(1, 1, terms[0]?.key ?? randomBytes(32)),
    stanzaOf(2, 2, randomBytes(32)),
    ["-> done", ""],
  ]);
  expect(said.filter((line) => line.startsWith("-> "))).toEqual(["-> file-key 0", "-> file-key 1", "-> done"]);
  expect(said[1]).toMatch(/^[A-Za-z0-9+/]{22}$/);
});

test("tells of an identity that is none, and of a stanza that should open and does not", async () => {
  const said = await saysTo([
    ["-> add-identity AGE-PLUGIN-WRIT-1QQQQQQQ", ""],
    [`-> add-identity ${identity}`, ""],
    ["-> recipient-stanza 3 X25519 abc", "AAAA"],
    stanzaOf(3, 1, randomBytes(32)),
    ["-> done", ""],
  ]);
  expect(said.filter((line) => line.startsWith("-> "))).toEqual([
    "-> error identity 0",
    "-> error stanza 3 1",
    "-> done",
  ]);
});

test("ends where age says what is no protocol", async () => {
  await expect(saysTo([["hello"]])).rejects.toThrow("no stanza");
  await expect(saysTo([["-> add-identity x", "not base64!"]])).rejects.toThrow("well-formed");
  await expect(saysTo([[`-> add-identity ${identity}`, ""]])).rejects.toThrow("the end");
});
