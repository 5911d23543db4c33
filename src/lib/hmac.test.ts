import { createHmac, createSecretKey, randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { forgetHmac, Hmac, hmacOf } from "./hmac.ts";

const rawKey = randomBytes(32);
const key = createSecretKey(rawKey);
const expected = (data: string | Uint8Array): string => createHmac("sha256", rawKey).update(data).digest("hex");

test("is node's HMAC, of texts and bytes of all lengths, in any order", () => {
  const mac = new Hmac(key);
  for (const length of [0, 1, 64, 300, 4095, 4096, 4097, 20_000, 63, 2]) {
    const bytes = randomBytes(length);
    const text = "ä€𝄞x".repeat(length).slice(0, length);
    expect(mac.hex(bytes), `${length} bytes`).toBe(expected(bytes));
    expect(mac.hex(text), `${length} units`).toBe(expected(text));
  }
});

test("of texts one behind the other, as of one", () => {
  const texts = ["ä€", "", "x".repeat(2_000_000), "𝄞"];
  expect(new Hmac(key).hexOf(texts)).toBe(expected(texts.join("")));
  expect(new Hmac(key).hex(texts.join(""))).toBe(expected(texts.join("")));
});

test("writes the same bytes where it is told to", () => {
  const out = Buffer.alloc(40, 0xff);
  hmacOf(key).write("x", out, 4);
  expect(out.toString("hex", 4, 36)).toBe(expected("x"));
  expect(out.subarray(0, 4)).toEqual(Buffer.alloc(4, 0xff));
  expect(out.subarray(36)).toEqual(Buffer.alloc(4, 0xff));
});

test("is prepared once, and anew after it was forgotten", () => {
  const first = hmacOf(key);
  expect(hmacOf(key)).toBe(first);
  forgetHmac(key);
  expect(first.hex("x")).not.toBe(expected("x"));
  expect(hmacOf(key).hex("x")).toBe(expected("x"));
});

test("takes keys of one block and no longer ones", () => {
  const block = randomBytes(64);
  expect(new Hmac(createSecretKey(block)).hex("x")).toBe(createHmac("sha256", block).update("x").digest("hex"));
  expect(() => new Hmac(createSecretKey(randomBytes(65)))).toThrow(/longer than one block/);
});
