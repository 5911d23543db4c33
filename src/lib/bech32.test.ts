import { randomBytes } from "node:crypto";
import { generateX25519Identity } from "age-encryption";
import { expect, test } from "vitest";
import { decodeBech32, encodeBech32 } from "./bech32.ts";

// BIP 173, "Test vectors"; the one of 84 characters and the like are longer than a byte string can make.
const valid = [
  "A12UEL5L",
  "a12uel5l",
  "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
  "?1ezyfcl",
];
const invalid = [
  "pzry9x0s0muk",
  "1pzry9x0s0muk",
  "x1b4n0q5v",
  "li1dgmt3",
  "A1G7SGD8",
  "10a06t8",
  "1qzzfhee",
  "A12uEL5L",
  "a12uel5m",
  "",
];

test.each(valid)("takes %s", (text) => {
  const decoded = decodeBech32(text);
  expect(encodeBech32(decoded?.prefix ?? "", decoded?.bytes ?? Buffer.alloc(0))).toBe(text.toLowerCase());
});

test.each(invalid)("refuses %j", (text) => expect(decodeBech32(text)).toBeNull());

test("gives back bytes of any length, and no text with a changed character", () => {
  for (const size of [0, 1, 2, 5, 32, 36, 1000]) {
    const bytes = randomBytes(size);
    const text = encodeBech32("age-plugin-writ-", bytes);
    expect(decodeBech32(text.toUpperCase())).toEqual({ prefix: "age-plugin-writ-", bytes });
    const at = text.length - 1 - (size % 5);
    const other = text[at] === "q" ? "p" : "q";
    expect(decodeBech32(text.slice(0, at) + other + text.slice(at + 1))).toBeNull();
  }
});

test("reads what age-encryption writes", async () => {
  const identity = await generateX25519Identity();
  const decoded = decodeBech32(identity);
  expect([decoded?.prefix, decoded?.bytes.length]).toEqual(["age-secret-key-", 32]);
  expect(encodeBech32("age-secret-key-", decoded?.bytes ?? Buffer.alloc(0)).toUpperCase()).toBe(identity);
});
